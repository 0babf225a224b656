"""From files to arrays: the ids of photos, their shards, and what is measured of each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common.errors import InputError, one_line
from stages.common.params import Ingest
from stages.common.photos import Unusable
from stages.common.shard_map import Task, map_shards
from stages.common.shards import cut_shards, part_name
from stages.ingest.develop_shard import develop_shard
from stages.ingest.labelled import Photo
from stages.ingest.pixel_tables import PixelRow
from stages.ingest.sources import Rejected, Source, image_ids, in_order


@dataclass(frozen=True)
class Identified:
    """Photos whose bytes can be read.

    Attributes:
        photos: In the order of their names.
        ids: Of each; copies of one file have ids of their own.
        originals: Of each the id of the first copy.
    """

    photos: list[Photo]
    ids: list[str]
    originals: list[str]


@dataclass(frozen=True)
class Developed:
    """The n usable photos, in the order of their names.

    Attributes:
        table: A row for each, with `id`, `original`, `source`, `label`, `given_split`, `part`,
            `row`, `width`, `height` (of the upright photo, pixels) and `exact`, the digest of its
            pixels.
        given_groups: What each belongs to, as in `Photo`.
        fingerprints: uint8 (n, 192), by which repeats are found.
        measures: float32 (n, k), by which its quality is judged.
        shards: The file of each shard in the local cache, and its name.
    """

    table: pd.DataFrame
    given_groups: list[tuple[str, ...]]
    fingerprints: np.ndarray
    measures: np.ndarray
    shards: list[tuple[Path, str]]


def identify(photos: Iterable[Photo]) -> tuple[Identified, list[Rejected]]:
    """Read every photo once to give it its id, and list those that cannot be read."""
    readable, rejected = [], []

    def contents() -> Iterator[bytes]:
        ordered = sorted(photos, key=lambda photo: photo.source.name)
        shown = tqdm(ordered, desc="ingest: reading", unit="file", mininterval=1)
        read = in_order(_read_or_reject, (photo.source for photo in ordered))
        for photo, content in zip(shown, read, strict=True):
            if isinstance(content, Rejected):
                rejected.append(content)
            else:
                readable.append(photo)
                yield content

    return Identified(readable, *image_ids(contents())), rejected


def _read_or_reject(source: Source | PixelRow) -> bytes | Rejected:
    try:
        return source.read()
    except InputError:  # of a store, which says nothing about the photo
        raise
    except Unusable as error:
        return Rejected(source.name, error.reason, error.detail)
    except Exception as error:  # members of archives fail in many ways: password, CRC, ...
        return Rejected(source.name, "unreadable", f"{type(error).__name__}: {one_line(error)}")


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
    sources = [photo.source for photo in found.photos]
    tasks = [Task((sources[cut], found.originals[cut]), tuple(found.ids[cut])) for cut in cuts]
    shards, rejected = [], []
    for cut, folder in zip(cuts, map_shards(develop_shard, tasks, settings, "ingest"), strict=True):
        why = dict(zip(range(len(found.ids))[cut], np.load(folder / "rejected.npy"), strict=True))
        rejected += [
            Rejected(sources[one].name, str(reason), str(detail))
            for one, (reason, detail) in why.items()
            if reason
        ]
        usable = [one for one, (reason, _) in why.items() if not reason]
        if usable:
            shards.append(_Shard(folder, part_name([found.ids[one] for one in usable]), usable))
    return (_read(shards, found) if shards else None), rejected


class _Shard(NamedTuple):
    """What became of a shard of photos: where its arrays lie, its name, and the usable photos."""

    folder: Path
    part: str
    usable: list[int]


def _read(shards: Sequence[_Shard], found: Identified) -> Developed:
    facts = np.concatenate([np.load(shard.folder / "facts.npy") for shard in shards])
    usable = [one for shard in shards for one in shard.usable]
    photos = [found.photos[one] for one in usable]
    table = pd.DataFrame(
        {
            "id": [found.ids[one] for one in usable],
            "original": [found.originals[one] for one in usable],
            "source": [photo.source.name for photo in photos],
            "label": [photo.label for photo in photos],
            "given_split": [photo.split for photo in photos],
            "part": [shard.part for shard in shards for _ in shard.usable],
            "row": [row for shard in shards for row in range(len(shard.usable))],
            "width": facts["width"],
            "height": facts["height"],
            "exact": facts["exact"],
        }
    )
    return Developed(
        table,
        [photo.groups for photo in photos],
        facts["fingerprint"],
        facts["quality"],
        [(shard.folder / "images.npy", shard.part) for shard in shards],
    )
