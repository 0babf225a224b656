"""The label, given side and groups of each photo: from tables, names of files, or folders.

A table, in a folder or in an archive, holds pixels, or it labels the photos that its column of
paths names; any other is unrelated and changes nothing. Photos that lie below a table that labels
photos, or beside one that it names, and that no row names, have no label; all others are labelled
by their folders. So sources of several kinds can lie side by side.
"""

import itertools
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from stages.common.containers import picture_format
from stages.common.errors import InputError
from stages.common.params import Encode, Ingest
from stages.common.paths import RAW
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
from stages.ingest.folders import read_folders, read_sides
from stages.ingest.matching import Photos
from stages.ingest.pixel_layouts import find_layout
from stages.ingest.pixel_tables import PixelLayout, PixelRow, rows
from stages.ingest.sides import are_sides, to_side
from stages.ingest.sources import Rejected, Source
from stages.ingest.tables import TextTable, is_table, open_tables

UNRELATED = "unrelated_table"

# What lies beside photos in data sets: listed, but no lost photo, and its folder is no class.
_DOCUMENTS = (
    *(".txt", ".md", ".rst", ".pdf", ".doc", ".docx", ".html", ".json", ".jsonl", ".xml", ".yaml"),
    *(".yml", ".py", ".ipynb", ".log", ".bib", ".npy", ".npz", ".mat", ".h5", ".pkl"),
)
_LOOKED_AT = 200
_SIGNATURE = 64


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and what is said of it.

    Attributes:
        source: Where its bytes are.
        label: A class, several with the separator between them, or a number.
        split: The given side: train, validation, test, or empty.
        groups: What it belongs to and must not be divided, such as "patient_id=7".
    """

    source: Source | PixelRow
    label: str
    split: str = ""
    groups: tuple[str, ...] = ()


@dataclass
class Labelled:
    """The photos that have a label, the files and rows that have none, and how they came to it.

    Attributes:
        layout: Where the labels stand, in words for the log.
        folder_classes: The labels that come from folders.
    """

    photos: list[Photo] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    layout: list[str] = field(default_factory=list)
    folder_classes: set[str] = field(default_factory=set)

    def reject(self, source: str, reason: str, detail: str) -> None:
        self.rejected.append(Rejected(source, reason, detail))

    def __add__(self, other: "Labelled") -> "Labelled":
        return Labelled(
            self.photos + other.photos,
            self.rejected + other.rejected,
            self.layout + other.layout,
            self.folder_classes | other.folder_classes,
        )


def is_document(name: str) -> bool:
    """Whether a file is called like no photo that anybody would miss."""
    return name.lower().endswith(_DOCUMENTS)


def _looks_like_photo(file: Source) -> bool:
    try:
        with file.open() as stream:
            return picture_format(stream.read(_SIGNATURE)) is not None
    except Exception:  # members of archives fail in many ways: password, checksum, ...
        return False


def label_photos(files: Sequence[Source], ingest: Ingest, encode: Encode) -> Labelled:
    """Give each photo its label.

    Args:
        files: Photos and tables.
        ingest: The params.
        encode: Its task and separator tell whether a photo may have no label or several.

    Raises:
        InputError: What labels the photos is not certain, or not what the params say.
    """
    tables = [file for file in files if is_table(file.name)]
    found, photos = Labelled(), []
    for file in files:
        if is_document(file.name) and not _looks_like_photo(file):
            found.reject(file.name, "not_an_image", "a document, by its name")
        elif not is_table(file.name):
            photos.append(file)
    if ingest.layout in ("auto", "pixels"):
        pixels, tables = _read_pixels(tables, ingest, encode)
        found += pixels
    if ingest.layout == "pixels":
        found += _leave_all([*tables, *photos], "ingest.layout is pixels")
    elif ingest.layout == "names" or (ingest.layout == "auto" and "label" in ingest.pattern_parts):
        found += _label_by_names(photos, ingest)
        found += _leave_all(tables, "ingest.pattern finds the labels")
    elif ingest.layout == "folders":
        found += _label_by_folders(photos, ingest)
        found += _leave_all(tables, "ingest.layout is folders")
    else:
        found += _label_by_tables(photos, tables, ingest, encode)
    _refuse_missing_layout(found, ingest)
    return replace(found, photos=[_add_pattern(photo, ingest) for photo in found.photos])


def _leave_all(files: Iterable[Source], why: str) -> Labelled:
    found = Labelled()
    for file in files:
        found.reject(file.name, UNRELATED if is_table(file.name) else "no_label", why)
    return found


def _refuse_missing_layout(found: Labelled, ingest: Ingest) -> None:
    if ingest.layout in ("table", "pixels") and not found.layout:
        what = {"table": "a table that names photos", "pixels": "a table of pixels"}[ingest.layout]
        raise InputError(
            f"ingest.layout: expected {what} in {RAW} with layout {ingest.layout}, found none; add "
            "it, name its columns in ingest.table, or set ingest.layout: auto"
        )


# Folders and names of files


def _label_by_folders(photos: Sequence[Source], ingest: Ingest) -> Labelled:
    found = Labelled()
    if not photos:
        return found
    folders = read_folders([photo.name for photo in photos], ingest.class_folder)
    for photo, label, side in zip(photos, folders.labels, folders.sides, strict=True):
        if label is None:
            detail = "put it into a folder named after its class, or name it in a table of labels"
            found.reject(photo.name, "no_label", detail)
        else:
            found.photos.append(Photo(photo, label, side))
            found.folder_classes.add(label)
    if found.photos:
        found.layout.append(f"folders ({folders.level})")
    return _without_lone_side(found)


def _without_lone_side(found: Labelled) -> Labelled:
    """No given split if only one side has labels: a train folder beside an unlabelled test."""
    if are_sides(photo.split for photo in found.photos if photo.split):
        return found
    return replace(found, photos=[replace(photo, split="") for photo in found.photos])


def _label_by_names(photos: Sequence[Source], ingest: Ingest) -> Labelled:
    found = Labelled(layout=[f"names of files ({ingest.pattern})"] if photos else [])
    sides = read_sides([photo.name for photo in photos])
    for photo, side in zip(photos, sides, strict=True):
        label = find_in_name(photo.name, ingest).get("label")
        if label:
            found.photos.append(Photo(photo, label, side))
        else:
            found.reject(photo.name, "no_label", "ingest.pattern finds none in its name")
    return _without_lone_side(found)


def find_in_name(name: str, ingest: Ingest) -> dict[str, str]:
    """What `ingest.pattern` finds in the name of a file, or in its path if it has a slash."""
    if ingest.pattern is None:
        return {}
    match = re.search(ingest.pattern, name if "/" in ingest.pattern else posixpath.basename(name))
    if match is None:
        return {}
    return {part: match[number] or "" for part, number in ingest.pattern_parts.items()}


def _add_pattern(photo: Photo, ingest: Ingest) -> Photo:
    """A photo with the side and group that the pattern finds in its name."""
    parts = find_in_name(photo.source.name, ingest)
    if not parts:
        return photo
    groups = (f"name={parts['group']}",) if parts.get("group") else ()
    side = to_side(parts.get("split", "")) or photo.split
    return replace(photo, split=side, groups=photo.groups + groups)


# Tables of pixels


def _read_pixels(
    tables: Sequence[Source], ingest: Ingest, encode: Encode
) -> tuple[Labelled, list[Source]]:
    """The images in tables of pixels, and the tables that are none."""
    found, others = Labelled(), []
    several = _sides_of_tables(tables)
    for table in tables:
        layout = find_layout(table, ingest.table)
        if layout is None:
            others.append(table)
        else:
            found += _read_pixel_table(table, layout, ingest, encode, several.get(table.name, ""))
    return found, others


def _read_pixel_table(
    table: Source, layout: PixelLayout, ingest: Ingest, encode: Encode, side: str
) -> Labelled:
    header = layout.header or tuple(f"column {number + 1}" for number in range(layout.columns))
    every = range(layout.columns)
    head = [texts for _, texts in itertools.islice(rows(table, layout, every), _LOOKED_AT)]
    names = (
        ingest.table if layout.label is None else ingest.table.model_copy(update={"label": None})
    )
    columns = find_columns(header, head, names, None, layout.pixels, layout.label)
    if columns is None:
        raise refuse_unclear(table.name, [header[number] for number in layout.others], ingest.table)
    found = Labelled(
        layout=[
            f"{table.name}: pixels of {layout.width} x {layout.height}, {describe(header, columns)}"
        ]
    )
    wanted = [*columns.labels, *columns.groups, *([] if columns.split is None else [columns.split])]
    taken = []
    for row, texts in rows(table, layout, wanted):
        cells = dict(zip(wanted, texts, strict=True))
        photo = _read_row(row, cells, header, columns, encode, table.name, side)
        if photo.label or not _reject_bad_row(row, found):
            taken.append(photo)
    return _reject_empty(found, taken, encode, f"an empty cell in {table.name}")


def _reject_bad_row(row: PixelRow, found: Labelled) -> bool:
    """Whether a row without a label has none since it cannot be read; then it is rejected."""
    try:
        row.read()
    except Unusable as error:
        found.reject(row.name, error.reason, error.detail)
        return True
    return False


# Tables of paths


def _label_by_tables(
    photos: Sequence[Source], files: Sequence[Source], ingest: Ingest, encode: Encode
) -> Labelled:
    by_path = Photos(photos if files else ())
    found, chosen = _choose_tables(files, by_path, ingest)
    sides = _sides_of_tables(table for table, _ in chosen)
    named: dict[str, list[Photo]] = {}
    for table, columns in chosen:
        found.layout.append(f"{table.name}: {describe(table.header, columns)}")
        _read_table(table, columns, by_path, encode, sides.get(table.name, ""), named, found)
    agreed = [_agree(rows_of_one, found) for rows_of_one in named.values()]
    scope = _Scope([table.folder for table, _ in chosen], named)
    labelled = _reject_empty(Labelled(), filter(None, agreed), encode, "an empty cell in its row")
    unnamed = [photo for photo in photos if photo.name not in named]
    tables = ", ".join(table.name for table, _ in chosen)
    for photo in unnamed:
        if photo.name in scope or ingest.layout == "table":
            found.reject(photo.name, "no_label", f"no row of {tables} names it")
    outside = [photo for photo in unnamed if photo.name not in scope]
    labelled = _add_sides_of_folders(labelled, photos)
    return (
        found
        + labelled
        + (Labelled() if ingest.layout == "table" else _label_by_folders(outside, ingest))
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
            head = [cells for _, cells in itertools.islice(table.rows(), _LOOKED_AT)]
            columns = path is not None and find_columns(table.header, head, ingest.table, path)
            if columns:
                chosen.append((table, columns))
            elif path is not None or _any_cell(head, _names_photo(table, photos)):
                unclear.append(table)
            else:
                detail = f"no column of paths of photos in {RAW}"
                found.reject(table.name, UNRELATED, detail)
    if unclear and not chosen:
        raise refuse_unclear(unclear[0].name, unclear[0].header, ingest.table)
    for table in unclear:
        found.reject(table.name, UNRELATED, "names photos, but has no plain column of labels")
    if not chosen and (ingest.table.path or ingest.table.label):
        raise InputError(
            f"ingest.table: expected a table in {RAW} that names photos in the column "
            f"{ingest.table.path or 'of paths'!r}, found none among "
            f"{[one.source for one in found.rejected if one.reason == UNRELATED]}"
        )
    return found, chosen


def _names_photo(table: TextTable, photos: Photos) -> Callable[[str], bool]:
    return lambda cell: bool(photos.find(cell, table.folder, _stem(table.name)))


def _any_cell(rows: Iterable[Sequence[str]], names_photo: Callable[[str], bool]) -> bool:
    """Whether any cell names a photo with its extension: a number may be a photo's name, too."""
    return any(names_photo(cell) for cells in rows for cell in cells if posixpath.splitext(cell)[1])


def _stem(name: str) -> str:
    return posixpath.basename(name).split(".")[0]


def _sides_of_tables(tables: Iterable[TextTable | Source]) -> dict[str, str]:
    """The sides that tables are called by, such as train.csv and test.csv; else none."""
    sides = {table.name: to_side(_stem(table.name)) for table in tables}
    return sides if are_sides(sides.values()) else {}


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
        meant = photos.find(cells[columns.path], table.folder, _stem(table.name))
        if len(meant) == 1:
            row = _read_row(meant[0], cells, table.header, columns, encode, table.name, side)
            named.setdefault(meant[0].name, []).append(row)
        else:
            detail = f"{where}: expected one file, found {len(meant)}"
            found.reject(cells[columns.path] or f"{table.name}/{line}", "missing_file", detail)


def _read_row(
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
                f"{RAW}/{table}: expected train, validation or test in the column "
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


def _reject_empty(found: Labelled, photos: Iterable[Photo], encode: Encode, why: str) -> Labelled:
    """Add photos; those of an empty label only where a photo may show none of the labels."""
    photos = list(photos)
    several = any(encode.separator in photo.label for photo in photos)
    may_be_empty = encode.task == "multilabel" or (encode.task == "auto" and several)
    for photo in photos:
        if photo.label or may_be_empty:
            found.photos.append(photo)
        else:
            found.reject(photo.source.name, "no_label", why)
    return found


def _add_sides_of_folders(labelled: Labelled, photos: Sequence[Source]) -> Labelled:
    """Photos whose table gives no split stand where their folders say."""
    if not photos or any(photo.split for photo in labelled.photos):
        return labelled
    names = [photo.name for photo in photos]
    sides = dict(zip(names, read_sides(names), strict=True))
    sided = [replace(photo, split=sides[photo.source.name]) for photo in labelled.photos]
    return _without_lone_side(replace(labelled, photos=sided))


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
