"""From files to arrays: the ids of photos, their shards, and what is measured of each."""

import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common.errors import InputError, one_line
from stages.common.params import Ingest
from stages.common.photos import Unusable, content_digest
from stages.common.randomness import digest
from stages.common.shard_map import Task, map_shards
from stages.common.shards import cut_shards, part_name
from stages.ingest.develop_shard import FACTS, develop_shard
from stages.ingest.labelled import Photo
from stages.ingest.pixel_tables import PixelRow
from stages.ingest.scratch import Part, ScratchList, ScratchTexts, scratch_array
from stages.ingest.sources import Rejected, Source, image_ids

# Photos that one thread reads one after the other, and threads: disks and stores answer many
# questions at a time, but not one at once.
_READ_AT_ONCE = 32
_THREADS = 16


_Read = tuple[Photo, bytes | Rejected]
"""A photo with the digest of its bytes, or why it cannot be read."""


@dataclass
class Said:
    """What is said of each of n images: lists of texts, of which all that are equal are one.

    Attributes:
        labels, splits, groups: As in `Photo`.
    """

    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[tuple[str, ...]] = field(default_factory=list)
    _seen: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def add(self, photo: Photo) -> None:
        self.labels.append(sys.intern(photo.label))
        self.splits.append(sys.intern(photo.split))
        self.groups.append(self._seen.setdefault(photo.groups, photo.groups))

    def take(self, images: np.ndarray) -> "Said":
        if len(images) == len(self.labels):
            return self
        return Said(*([column[one] for one in images] for column in self._columns()))

    def _columns(self) -> tuple[list, list, list]:
        return self.labels, self.splits, self.groups


@dataclass(frozen=True)
class Identified:
    """n photos whose bytes can be read, in the order of their names.

    Attributes:
        sources: Of each.
        said: Of each.
        ids: (n,) texts of 16 bytes; copies of one file have ids of their own.
        originals: (n,) the id of the first copy of each.
    """

    sources: ScratchList[Source | PixelRow]
    said: Said
    ids: np.ndarray
    originals: np.ndarray


@dataclass(frozen=True)
class Developed:
    """The n usable photos, in the order of their names.

    Attributes:
        ids, originals: As in `Identified`.
        names: Of the sources.
        said: Of each.
        parts: The names of the shards.
        part_of, row_of: (n,) in which shard each lies, and in which of its rows.
        facts: (n,) what is measured of each, with the fields of `FACTS`.
        files: Of each shard, in the local cache.
    """

    ids: np.ndarray
    originals: np.ndarray
    names: ScratchTexts
    said: Said
    parts: list[str]
    part_of: np.ndarray
    row_of: np.ndarray
    facts: np.ndarray
    files: list[Path]

    def __len__(self) -> int:
        return len(self.ids)

    def table(self, images: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
        """What is known of some images, for a table of them.

        Args:
            images: Their positions.
            labels: (n,) of all images.
        """
        facts = self.facts[images]
        return pd.DataFrame(
            {
                "id": self.ids[images].astype(str),
                "source": self.names.take(images),
                "label": labels[images],
                "given_split": [self.said.splits[one] for one in images],
                "given_group": [", ".join(self.said.groups[one]) for one in images],
                "part": [self.parts[one] for one in self.part_of[images]],
                "row": self.row_of[images],
                "width": facts["width"],
                "height": facts["height"],
                "exact": facts["exact"].astype(str),
            },
            index=images,
        )


def identify(photos: ScratchList[Photo]) -> tuple[Identified, list[Rejected]]:
    """Read every photo once to give it its id, and list those that cannot be read."""
    photos = photos.sorted(key=lambda photo: photo.source.name)
    sources: ScratchList[Source | PixelRow] = ScratchList()
    said, rejected = Said(), []
    digests = scratch_array((len(photos), 32), np.uint8)
    progress = tqdm(photos, desc="ingest: reading", unit="file", mininterval=1)
    for some in _read_all(_batches(progress, _READ_AT_ONCE)):
        for photo, read in some:
            if isinstance(read, Rejected):
                rejected.append(read)
                continue
            digests[len(sources)] = np.frombuffer(read, np.uint8)
            sources.append(photo.source)
            said.add(photo)
    ids, originals = image_ids(digests[: len(sources)])
    return Identified(sources, said, ids, originals), rejected


def _read_all(batches: Iterable[list[Photo]]) -> Iterator[list[_Read]]:
    """Read photos in threads; in their order, and with few of them waiting.

    What lies in one packed stream is read by one thread, for each would unpack all of it.
    """
    waiting: deque[Future[list[_Read]]] = deque()
    with ThreadPoolExecutor(_THREADS) as threads, ThreadPoolExecutor(1) as one_thread:
        for photos in batches:
            in_stream = any(photo.source.in_stream for photo in photos)
            waiting.append((one_thread if in_stream else threads).submit(_read_some, photos))
            if len(waiting) > 2 * _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read_some(photos: Sequence[Photo]) -> list[_Read]:
    return [(photo, _read(photo.source)) for photo in photos]


def _read(source: Source | PixelRow) -> bytes | Rejected:
    try:
        return content_digest(source.read())
    except InputError:  # of a store, which says nothing about the photo
        raise
    except Unusable as error:
        return Rejected(source.name, error.reason, error.detail)
    except Exception as error:  # members of archives fail in many ways: password, checksum, ...
        return Rejected(source.name, "unreadable", f"{type(error).__name__}: {one_line(error)}")


def _batches(photos: Iterable[Photo], size: int) -> Iterator[list[Photo]]:
    remaining = iter(photos)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def develop_all(found: Identified, ingest: Ingest) -> tuple[Developed | None, list[Rejected]]:
    """Develop photos, and list those that cannot be; None if none can."""
    settings = {
        "size": list(ingest.size),
        "color": ingest.color,
        "fit": ingest.fit,
        "background": list(ingest.background),
        "min_side": ingest.min_side,
        "megapixels": ingest.limits.megapixels,
    }
    cuts = cut_shards(found.ids, ingest.shard_images)
    tasks = [
        Task(
            (Part(found.sources, cut), Part(found.originals, cut)),
            (digest(*found.ids[cut].astype(str)).hex(),),
        )
        for cut in cuts
    ]
    folders = map_shards(develop_shard, tasks, settings, "ingest")
    usable, rejected = _usable(found, cuts, folders)
    return (_gather(found, cuts, folders, usable) if usable.any() else None), rejected


def _usable(
    found: Identified, cuts: Sequence[slice], folders: Sequence[Path]
) -> tuple[np.ndarray, list[Rejected]]:
    """Whether each photo could be developed, and why not."""
    usable = np.ones(len(found.ids), bool)
    rejected = []
    for cut, folder in zip(cuts, folders, strict=True):
        why = np.load(folder / "rejected.npy")
        lost = np.flatnonzero(why[:, 0] != "")
        usable[cut.start + lost] = False
        rejected += [
            Rejected(found.sources[cut.start + one].name, *map(str, why[one])) for one in lost
        ]
    return usable, rejected


def _gather(
    found: Identified, cuts: Sequence[slice], folders: Sequence[Path], usable: np.ndarray
) -> Developed:
    images = np.flatnonzero(usable)
    facts = scratch_array(len(images), FACTS)
    part_of, row_of = np.empty((2, len(images)), np.int32)
    parts, files, end = [], [], 0
    for cut, folder in zip(cuts, folders, strict=True):
        ids = found.ids[cut][usable[cut]]
        if len(ids):
            here = slice(end, end := end + len(ids))
            facts[here] = np.load(folder / "facts.npy")
            part_of[here], row_of[here] = len(parts), range(len(ids))
            parts.append(part_name(ids.astype(str).tolist()))
            files.append(folder / "images.npy")
    names = (one.name for one, is_usable in zip(found.sources, usable, strict=True) if is_usable)
    return Developed(
        _some(found.ids, images),
        _some(found.originals, images),
        ScratchTexts(names, len(images)),
        found.said.take(images),
        parts,
        part_of,
        row_of,
        facts,
        files,
    )


def _some(column: np.ndarray, images: np.ndarray) -> np.ndarray:
    if len(images) == len(column):
        return column
    some = scratch_array(len(images), column.dtype)
    some[:] = column[images]
    return some
