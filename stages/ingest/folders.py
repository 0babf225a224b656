"""What the folders around photos say: the class of each, and the side of a given split.

Folders that hold everything (wrappers) say nothing. A level of folders that are all called train,
validation or test is a given split. What is left is the class, if only one level of it can be;
where several can, nobody but the user knows.
"""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.common.errors import InputError
from stages.ingest.find_sources import ARCHIVE_SUFFIXES
from stages.ingest.sides import are_sides, to_side

Parts = tuple[str, ...]

_SHOWN = 5


@dataclass(frozen=True)
class Folders:
    """What the folders say of each photo.

    Attributes:
        labels: The class; None for a photo in no folder that could be one.
        sides: train, validation or test; empty where no split is given.
        level: Which folder is the class, in words for the log.
    """

    labels: list[str | None]
    sides: list[str]
    level: str


def read_folders(
    names: Iterable[str], class_folder: Literal["auto", "first", "last"] = "auto"
) -> Folders:
    """Read the classes and the given split off the paths of photos.

    Args:
        names: Paths below the raw folder, with `/`; archives are folders with a suffix.
        class_folder: Which of the folders that are left is the class.

    Raises:
        InputError: With `auto`, several levels of folders could be the classes.
    """
    folders, folder_of = _distinct_folders(names)
    rows, sides = strip_folders(folders)
    sides = [sides[folder] for folder in folder_of]
    chosen = _find_level(rows) if class_folder == "auto" else class_folder
    if isinstance(chosen, int):
        labels = [row[chosen] if len(row) > chosen else None for row in rows]
        level = "the only folders that differ"
    else:
        number = 0 if chosen == "first" else -1
        labels = [row[number] if row else None for row in rows]
        level = f"the {chosen} folder of each path"
    return Folders([labels[folder] for folder in folder_of], sides, level)


def read_sides(names: Iterable[str]) -> list[str]:
    """The sides of a given split alone, whatever else the folders say; as in `Folders`."""
    folders, folder_of = _distinct_folders(names)
    sides = strip_folders(folders)[1]
    return [sides[folder] for folder in folder_of]


def _distinct_folders(names: Iterable[str]) -> tuple[list[Parts], np.ndarray]:
    """The folders around photos, each once, and the number of that of each photo."""
    numbers: dict[str, int] = {}
    around: list[Parts] = []

    def number(name: str) -> int:
        folder = posixpath.dirname(name)
        if folder not in numbers:
            numbers[folder] = len(around)
            around.append(folder_parts(name))
        return numbers[folder]

    folder_of = np.fromiter(map(number, names), np.int32)
    return around, folder_of


def folder_parts(name: str) -> Parts:
    """The folders around a photo.

    An archive is none, but for photos that lie in no other: those of `cats.zip` are cats.
    """
    *folders, _ = name.split("/")
    parts = tuple(part for part in folders if not part.lower().endswith(ARCHIVE_SUFFIXES))
    if parts or not folders:
        return parts
    archive = folders[0]
    suffix = next(one for one in ARCHIVE_SUFFIXES if archive.lower().endswith(one))
    return (archive[: -len(suffix)],)


def strip_folders(rows: list[Parts]) -> tuple[list[Parts], list[str]]:
    """The folders without wrappers and without those of a given split, and the side of each photo.

    A photo that lies beside the wrappers keeps no folder.
    """
    sides = [""] * len(rows)
    stripped: list[Parts] = []
    while stripped != rows:
        stripped = rows
        inside = [row for row in rows if row]
        if len({row[0] for row in inside}) == 1 and any(len(row) > 1 for row in inside):
            rows = [row[1:] for row in rows]
        level = _find_sides(inside)
        if rows == stripped and level is not None:
            sides = [
                to_side(row[level]) if row else side for row, side in zip(rows, sides, strict=True)
            ]
            rows = [row[:level] + row[level + 1 :] for row in rows]
    return rows, sides


def _find_sides(rows: list[Parts]) -> int | None:
    """The first level whose folders are the sides of a split for every photo."""
    for level in range(min(map(len, rows), default=0)):
        if are_sides(to_side(row[level]) for row in rows):
            return level
    return None


def _find_level(rows: list[Parts]) -> int | Literal["first", "last"]:
    """Which folder is the class, if that is certain."""
    inside = sorted({row for row in rows if row})
    depths = {len(row) for row in inside}
    if depths <= {1}:
        return "first"
    first, last = {row[0] for row in inside}, {row[-1] for row in inside}
    # The same photos are together, whichever it is.
    if len({(row[0], row[-1]) for row in inside}) == len(first) == len(last):
        return "last"
    if len(depths) == 1:
        differing = [
            level for level, names in enumerate(zip(*inside, strict=True)) if len(set(names)) > 1
        ]
        if len(differing) == 1:
            return differing[0]
    elif not _any_in_another(inside) and not any(map(_has_digit, last)):
        # At different depths; a folder of photos holds no other, and no name looks like a number.
        return "last"
    raise InputError(
        "ingest.class_folder: expected one level of folders that can be the classes, found two: "
        f"first ({_listed(first)}) and last ({_listed(last)}); set it to the right one, or label "
        "the photos by a table"
    )


def _any_in_another(folders: list[Parts]) -> bool:
    whole = set(folders)
    return any(folder[:depth] in whole for folder in folders for depth in range(1, len(folder)))


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))


def _listed(names: set[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} names: {', '.join(sorted(names)[:_SHOWN])}{more}"
