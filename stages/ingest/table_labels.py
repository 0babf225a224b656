"""Labels that stand in tables, beside the paths of photos."""

import itertools
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from stages.common.errors import InputError
from stages.common.params import Encode, Ingest
from stages.common.photos import Unusable
from stages.ingest.columns import (
    APPLIES,
    APPLIES_NOT,
    Columns,
    describe,
    find_columns,
    find_path_column,
    refuse_unclear,
)
from stages.ingest.folder_labels import label_by_folders
from stages.ingest.folders import read_sides
from stages.ingest.labelled import (
    UNRELATED,
    Labelled,
    Photo,
    reject_empty,
    sides_of_tables,
    stem,
    without_lone_side,
)
from stages.ingest.matching import Photos
from stages.ingest.pixel_tables import PixelRow
from stages.ingest.scratch import ScratchList
from stages.ingest.sides import to_side
from stages.ingest.sources import Source
from stages.ingest.tables import TextTable, open_tables

LOOKED_AT = 200
"""Rows of a table that tell what its columns hold."""


def label_by_tables(
    photos: Sequence[Source], files: Sequence[Source], ingest: Ingest, encode: Encode
) -> Labelled:
    by_path = Photos(photos if files else ())
    found, chosen = _choose_tables(files, by_path, ingest)
    sides = sides_of_tables(table for table, _ in chosen)
    named: dict[str, list[Photo]] = {}
    for table, columns in chosen:
        found.layout.append(f"{table.name}: {describe(table.header, columns)}")
        _read_table(table, columns, by_path, encode, sides.get(table.name, ""), named, found)
    agreed = ScratchList(filter(None, (_agree(rows, found) for rows in named.values())))
    scope = _Scope([table.folder for table, _ in chosen], named)
    labelled = reject_empty(Labelled(), agreed, encode, "an empty cell in its row")
    tables = ", ".join(table.name for table, _ in chosen)
    outside = ScratchList[Source]()
    for photo in photos:
        if photo.name in named:
            continue
        if photo.name in scope or ingest.layout == "table":
            found.reject(photo.name, "no_label", f"no row of {tables} names it")
        if photo.name not in scope:
            outside.append(photo)
    labelled = _add_sides_of_folders(labelled, photos)
    return (
        found
        + labelled
        + (Labelled() if ingest.layout == "table" else label_by_folders(outside, ingest))
    )


def _choose_tables(
    files: Iterable[Source], photos: Photos, ingest: Ingest
) -> tuple[Labelled, list[tuple[TextTable, Columns]]]:
    """The tables that label photos, with their columns; the others are rejected."""
    found, chosen, unclear = Labelled(), [], []
    for file in files:
        try:
            tables = open_tables(file, ingest.limits)
        except Unusable as error:
            found.reject(file.name, error.reason, error.detail)
            continue
        for table in tables:
            path = find_path_column(table, ingest.table.path, _names_photo(table, photos))
            head = [cells for _, cells in itertools.islice(table.rows(), LOOKED_AT)]
            columns = path is not None and find_columns(table.header, head, ingest.table, path)
            if columns:
                chosen.append((table, columns))
            elif path is not None or _any_cell(head, _names_photo(table, photos)):
                unclear.append(table)
            else:
                detail = "no column of paths of photos that there are"
                found.reject(table.name, UNRELATED, detail)
    if unclear and not chosen:
        raise refuse_unclear(unclear[0].name, unclear[0].header, ingest.table)
    for table in unclear:
        found.reject(table.name, UNRELATED, "names photos, but has no plain column of labels")
    if not chosen and (ingest.table.path or ingest.table.label):
        raise InputError(
            f"ingest.table: expected a table in {ingest.source} that names photos in the column "
            f"{ingest.table.path or 'of paths'!r}, found none among "
            f"{[one.source for one in found.rejected if one.reason == UNRELATED]}"
        )
    return found, chosen


def _names_photo(table: TextTable, photos: Photos) -> Callable[[str], bool]:
    return lambda cell: bool(photos.find(cell, table.folder, stem(table.name)))


def _any_cell(rows: Iterable[Sequence[str]], names_photo: Callable[[str], bool]) -> bool:
    """Whether any cell names a photo with its extension: a number may be a photo's name, too."""
    return any(names_photo(cell) for cells in rows for cell in cells if posixpath.splitext(cell)[1])


def _read_table(
    table: TextTable,
    columns: Columns,
    photos: Photos,
    encode: Encode,
    side: str,
    named: dict[str, list[Photo]],
    found: Labelled,
) -> None:
    """Add what each row says of a photo to `named`, and rows without one to `found.rejected`."""
    assert columns.path is not None
    for line, cells in table.rows():
        where = f"line {line} of {table.name}"
        if any(cells[len(table.header) :]):
            detail = (
                f"expected {len(table.header)} cells, found {len(cells)}; put a cell that holds"
            )
            found.reject(
                f"{table.name}/{line}", "bad_row", f"{detail} the delimiter between quotes"
            )
            continue
        cells = [*cells, *[""] * (len(table.header) - len(cells))]
        meant = photos.find(cells[columns.path], table.folder, stem(table.name))
        if len(meant) == 1:
            row = read_row(meant[0], cells, table.header, columns, encode, table.name, side)
            named.setdefault(meant[0].name, []).append(row)
        else:
            detail = f"{where}: expected one file, found {len(meant)}"
            found.reject(cells[columns.path] or f"{table.name}/{line}", "missing_file", detail)


def read_row(
    source: Source | PixelRow,
    cells: Sequence[str] | dict[int, str],
    header: Sequence[str],
    columns: Columns,
    encode: Encode,
    table: str,
    side: str,
) -> Photo:
    labels = [cells[number] for number in columns.labels]
    if len(columns.labels) > 1:
        names = [header[number] for number in columns.labels]
        labels = list(_labels_of_flags(labels, names))
    groups = tuple(
        f"{header[number]}={cells[number]}" for number in columns.groups if cells[number]
    )
    if columns.split is not None and cells[columns.split]:
        side = to_side(cells[columns.split])
        if not side:
            raise InputError(
                f"{table}: expected train, validation or test in the column "
                f"{header[columns.split]!r} (ingest.table.split), found {cells[columns.split]!r}"
            )
    return Photo(source, encode.separator.join(labels), side, groups)


def _labels_of_flags(cells: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """The names of the columns whose cells say yes; a cell that says neither is a label itself."""
    for cell, name in zip(cells, names, strict=True):
        if cell.lower() in APPLIES:
            yield name
        elif cell.lower() not in APPLIES_NOT:
            yield cell


def _agree(rows_of_one: list[Photo], found: Labelled) -> Photo | None:
    """What the rows of one photo say of it, unless they contradict each other."""
    first = rows_of_one[0]
    for what in ("label", "split"):
        said = sorted({getattr(row, what) for row in rows_of_one})
        if len(said) > 1:
            detail = f"expected one {what} in its rows, found {said[0]!r} and {said[1]!r}"
            found.reject(first.source.name, "conflicting_rows", detail)
            return None
    groups = dict.fromkeys(group for row in rows_of_one for group in row.groups)
    return replace(first, groups=tuple(groups))


def _add_sides_of_folders(labelled: Labelled, photos: Sequence[Source]) -> Labelled:
    """Photos whose table gives no split stand where their folders say."""
    if not labelled.photos or any(photo.split for photo in labelled.photos):
        return labelled
    names = [photo.name for photo in photos]
    sides = dict(zip(names, read_sides(names), strict=True))
    sided = ScratchList(replace(photo, split=sides[photo.source.name]) for photo in labelled.photos)
    return without_lone_side(replace(labelled, photos=sided))


class _Scope:
    """Where photos should stand in a table: below one, or beside a photo that stands in one."""

    def __init__(self, folders: Iterable[str], named: Iterable[str]):
        self._below = set(folders)
        self._beside = {posixpath.dirname(name) for name in named}

    def __contains__(self, name: str) -> bool:
        folder = posixpath.dirname(name)
        if folder in self._beside:
            return True
        steps = folder.split("/") if folder else []
        above = {"/".join(steps[:depth]) for depth in range(len(steps) + 1)}
        return bool(above & self._below)
