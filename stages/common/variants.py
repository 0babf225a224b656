"""The variants of the images: kept in `data/augmented`, and computed again where they are missing.

They are large and can be computed again bit for bit, so DVC tracks only the table of their digests
and never sends them. What lies in `data/augmented` may thus be of another revision: a file is used
if it has the digest of the table, and no other.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from stages.common.augment_shard import augment_shard, variant_name
from stages.common.errors import InputError
from stages.common.features import ORIGINAL, shards_in
from stages.common.files import naming_full_disk
from stages.common.machine import cache_folder
from stages.common.params import Augment
from stages.common.paths import AUGMENTED, DIGESTS, IMAGES, INDEX
from stages.common.shard_map import Task, file_digests, map_shards
from stages.common.tables import read_pieces, read_table


def image_shards(augment: Augment | None) -> dict[str, dict[str, Path]]:
    """The shards of the images by name, under `ORIGINAL`, and then those of their variants.

    Args:
        augment: The options, or None for the images alone.

    Raises:
        InputError: As for `variant_shards`.
    """
    return {ORIGINAL: shards_in(IMAGES)} | ({} if augment is None else variant_shards(augment))


def variant_shards(augment: Augment) -> dict[str, dict[str, Path]]:
    """The shards of each variant by name, all in `data/augmented`.

    Args:
        augment: The options, by which what is missing there is computed and put back.

    Raises:
        InputError: The stage `augment` has not run, or not with these images, options and code;
            or the disk is full.
    """
    table = read_table(DIGESTS)
    names = map(Path, table["variant"], table["part"])
    digests = dict(zip(names, table["digest"], strict=True))
    missing = _without_digest({name: AUGMENTED / name for name in digests}, digests)
    computed = compute_variants(augment, missing)
    wrong = [name for name in missing if name not in computed]
    wrong += _without_digest(computed, digests)
    if wrong:
        raise InputError(
            f"{DIGESTS}: expected the digest of {wrong[0]}, which the images and params do not "
            f"give; run dvc repro; if that changes nothing, delete {cache_folder()} and run "
            "dvc repro --force augment"
        )
    keep_variants(computed, among=digests)
    found: dict[str, dict[str, Path]] = {}
    for name in digests:
        found.setdefault(name.parent.name, {})[name.name] = AUGMENTED / name
    return found


def compute_variants(augment: Augment, names: Iterable[Path]) -> dict[Path, Path]:
    """Files of variants in the local cache, computed if they are missing there.

    Args:
        augment: The options.
        names: `<variant>/<part>` of each file. Those of no such variant or part are left out.

    Returns:
        The file of each name.
    """
    names = set(names)
    ids = _ids_by_part() if names else {}
    # How many variants there are changes none of them.
    options = augment.model_dump(mode="json", exclude={"variants"})
    found = {}
    for number in range(1, augment.variants + 1):
        variant = variant_name(number)
        wanted = {part: of_part for part, of_part in ids.items() if Path(variant, part) in names}
        # The name of a part stands for the ids in it.
        tasks = [
            Task((IMAGES / part, of_part), (IMAGES / part, part))
            for part, of_part in wanted.items()
        ]
        if tasks:
            settings = {"number": number, **options}
            folders = map_shards(augment_shard, tasks, settings, f"augment {variant}")
            for part, folder in zip(wanted, folders, strict=True):
                found[Path(variant, part)] = folder / "images.npy"
    return found


def _ids_by_part() -> dict[str, np.ndarray]:
    """The ids in each shard of images in the order of its rows, as texts of 16 bytes."""
    numbers: dict[str, int] = {}
    pieces = [
        (
            piece["part"].map(lambda part: numbers.setdefault(part, len(numbers))).to_numpy(),
            piece["row"].to_numpy(),
            piece["id"].to_numpy().astype("S16"),
        )
        for piece in read_pieces(INDEX)
    ]
    parts, rows, ids = (np.concatenate(column) for column in zip(*pieces, strict=True))
    ids = ids[np.lexsort((rows, parts))]
    ends = np.bincount(parts, minlength=len(numbers)).cumsum()
    of_part = dict(zip(numbers, np.split(ids, ends[:-1]), strict=True))
    return {part: of_part[part] for part in sorted(of_part)}


def keep_variants(files: Mapping[Path, Path], among: Iterable[Path]) -> None:
    """Put files into `data/augmented`, read-only, and remove what does not belong there.

    Args:
        files: Of the local cache, by `<variant>/<part>`.
        among: The names of all that belong there.

    Raises:
        InputError: The disk is full.
    """
    belongs = {AUGMENTED / name for name in among}
    belongs |= {path.parent for path in belongs}
    for path in AUGMENTED.glob("*"):
        if path not in belongs:
            _remove(path)
    for path in AUGMENTED.glob("*/*"):
        # With a dot in front it is what another process is about to put there.
        if path not in belongs and not path.name.startswith("."):
            _remove(path)
    with naming_full_disk(AUGMENTED):
        for name, file in files.items():
            _place(file, AUGMENTED / name)


def _without_digest(files: Mapping[Path, Path], digests: Mapping[Path, str]) -> list[Path]:
    """The names of those files that are missing or have another digest than they should."""
    there = [file for file in files.values() if file.is_file()]
    received = file_digests(there, "augment: looking up")
    return [name for name, file in files.items() if received.get(file) != digests[name]]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _place(source: Path, target: Path) -> None:
    """Let `target` be the same file as `source`, or a copy where that cannot be.

    Both are read-only then: who writes into the one would change the other.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Another process may do the same, or read what stands there.
    fresh = target.with_name(f".{target.name}-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        _link_or_copy(source, fresh)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)  # it stays if `target` was the same file already


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        source.chmod(0o444)
        os.link(source, target)
    except OSError:  # it lies on another disk, or belongs to another user
        shutil.copyfile(source, target)
        target.chmod(0o444)
