"""The label of each photo: from tables of labels in `data/raw`, or else from its folder.

A .csv or .tsv, in a folder or in a zip, is a table of labels if its column of paths names at least
one photo that exists: by its path from the table's folder or from `data/raw`, with or without the
extension. Any other table is unrelated and changes nothing. Where there are tables of labels, they
alone say what a photo shows, and the folders mean nothing.
"""

import csv
import dataclasses
import io
import itertools
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stages.common.errors import InputError, one_line
from stages.common.params import Table
from stages.common.paths import RAW
from stages.ingest.sources import Rejected, Source

# In the order of preference: an id may number the rows and happen to be a photo's name too.
PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "image_file", "image_name", "img", "img_path", "photo", "picture"),
    *("image_id", "id"),
)
LABEL_COLUMNS = (
    *("label", "labels", "class", "classes", "class_name", "target", "targets"),
    *("category", "categories", "tag", "tags", "value", "y"),
)
UNRELATED = "unrelated_table"

_SUFFIXES = (".csv", ".tsv")
# A column whose name says nothing is looked at so far, to tell whether it names photos.
_LOOKED_AT = 100
_LISTED_COLUMNS = 20


@dataclass(frozen=True)
class Labelled:
    """The photos that have a label, what has none, and the names of the tables that gave them.

    No tables: the folders gave them.
    """

    photos: list[Source]
    rejected: list[Rejected]
    tables: list[str]


class Photos:
    """Photos to be found by what a table calls them."""

    def __init__(self, photos: Iterable[Source]):
        self._by_name = {photo.name: photo for photo in photos}
        self._by_stem: dict[str, list[Source]] = {}
        for photo in self._by_name.values():
            self._by_stem.setdefault(posixpath.splitext(photo.name)[0], []).append(photo)

    def find(self, folder: str, path: str, without_extension: bool = True) -> list[Source]:
        """The photos that a path means, seen from a folder or from the top; more than one only if
        it has no extension."""
        for start in (folder, ""):
            name = posixpath.normpath(posixpath.join(start, path.replace("\\", "/")))
            if name in self._by_name:
                return [self._by_name[name]]
            if without_extension and name in self._by_stem:
                return self._by_stem[name]
        return []


class LabelTable:
    """A table of text: cells are stripped, the first line is the header, blank lines are left out.

    Raises:
        UnicodeDecodeError: It is not in UTF-8.
    """

    def __init__(self, name: str, content: bytes):
        self.name = name
        self.folder = posixpath.dirname(name)
        self._text = content.decode("utf-8-sig")
        first = self._text.split("\n", 1)[0]
        # Where a comma separates decimals, spreadsheets write semicolons between cells.
        comma = ";" if ";" in first and "," not in first else ","
        self._delimiter = "\t" if name.lower().endswith(".tsv") else comma
        self.header = next(self._lines(), (0, []))[1]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Number of the line and cells of each row."""
        return itertools.islice(self._lines(), 1, None)

    def column(self, number: int) -> Iterator[str]:
        """The cells of one column; rows that are too short are left out."""
        return (cells[number] for _, cells in self.rows() if number < len(cells))

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=self._delimiter)
        for cells in reader:
            if any(cells):
                yield reader.line_num, [cell.strip() for cell in cells]


def label_photos(files: list[Source], names: Table | None) -> Labelled:
    """Give each photo its label.

    Args:
        files: Photos and tables.
        names: The columns of the tables of labels; None: tables are not used.

    Raises:
        InputError: A table names photos, but which columns hold paths and labels is not plain;
            a row has too few or too many cells; two rows give a photo different labels.
    """
    photos = [file for file in files if not _may_be_table(file)]
    tables, rejected = _open_tables(filter(_may_be_table, files))
    by_path = Photos(photos)
    chosen = {} if names is None else _choose_columns(tables, names, by_path)
    unrelated = f"no column of paths (from its folder or from {RAW}) and labels"
    detail = "ingest.table is null" if names is None else unrelated
    rejected += [Rejected(one.name, UNRELATED, detail) for one in tables if one not in chosen]
    if not chosen:
        return _label_by_folder(photos, rejected)
    labels, missing = _read_labels(chosen, by_path)
    used = [table.name for table in chosen]
    unnamed = [
        Rejected(photo.name, "no_label", f"no row of {', '.join(used)} names it")
        for photo in photos
        if photo.name not in labels
    ]
    labelled = [
        dataclasses.replace(photo, label=labels[photo.name])
        for photo in photos
        if photo.name in labels
    ]
    return Labelled(labelled, [*rejected, *missing, *unnamed], used)


def _may_be_table(file: Source) -> bool:
    return file.name.lower().endswith(_SUFFIXES)


def _open_tables(files: Iterable[Source]) -> tuple[list[LabelTable], list[Rejected]]:
    tables, rejected = [], []
    for file in files:
        try:
            tables.append(LabelTable(file.name, file.read()))
        except (
            Exception
        ) as error:  # not in UTF-8, a cell without end, a member with a password, ...
            detail = f"{type(error).__name__}: {one_line(error)}"
            rejected.append(Rejected(file.name, "unreadable", detail))
    return tables, rejected


def _choose_columns(
    tables: list[LabelTable], names: Table, photos: Photos
) -> dict[LabelTable, tuple[int, int]]:
    """The tables of labels, with the number of the column of paths and of that of labels."""
    chosen, unclear = {}, []
    for table in tables:
        path = _find_path_column(table, names.path, photos)
        label = _find_label_column(table, names.label, path)
        if path is not None and label is not None:
            chosen[table] = path, label
        elif path is not None or _names_photos(table, photos):
            unclear.append(table)
    if not chosen and unclear:
        raise InputError(
            f"{RAW}/{unclear[0].name}: expected one column of paths and one of labels"
            f"{_called(names)}, found {unclear[0].header[:_LISTED_COLUMNS]}; set ingest.table.path "
            "and ingest.table.label to the right ones, or ingest.table: null to label by folders"
        )
    if not chosen and (names.path or names.label):
        raise InputError(
            f"ingest.table: expected a table in {RAW}{_called(names)} that names photos by their "
            f"path from its folder or from {RAW}, found none among "
            f"{[table.name for table in tables]}"
        )
    return chosen


def _called(names: Table) -> str:
    called = [f"{key} = {value!r}" for key, value in names.model_dump().items() if value]
    return f" ({', '.join(called)})" if called else ""


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _find_path_column(table: LabelTable, wanted: str | None, photos: Photos) -> int | None:
    """The first column by preference that is called so and names a photo."""
    header = [_plain(name) for name in table.header]
    for name in PATH_COLUMNS if wanted is None else [_plain(wanted)]:
        if name in header:
            number = header.index(name)
            if any(photos.find(table.folder, path) for path in table.column(number)):
                return number
    return None


def _find_label_column(table: LabelTable, wanted: str | None, path: int | None) -> int | None:
    """The only column that is called so; None if there are several."""
    names = LABEL_COLUMNS if wanted is None else [_plain(wanted)]
    found = [
        number
        for number, name in enumerate(table.header)
        if _plain(name) in names and number != path
    ]
    return found[0] if len(found) == 1 else None


def _names_photos(table: LabelTable, photos: Photos) -> bool:
    """Whether some column names photos, whatever it is called.

    With the extension: a number that counts something else may be a photo's name without it.
    """
    return any(
        photos.find(table.folder, cell, without_extension=False)
        for _, cells in itertools.islice(table.rows(), _LOOKED_AT)
        for cell in cells
    )


def _read_labels(
    chosen: dict[LabelTable, tuple[int, int]], photos: Photos
) -> tuple[dict[str, str], list[Rejected]]:
    """The label of each photo that a row names, and the rows that name none."""
    labels: dict[str, str] = {}
    missing = []
    for table, (path, label) in chosen.items():
        for line, cells in table.rows():
            if len(cells) != len(table.header):
                raise InputError(
                    f"{RAW}/{table.name}: expected {len(table.header)} cells in line {line}, found "
                    f"{len(cells)}; put a cell that holds the delimiter between quotes"
                )
            found = photos.find(table.folder, cells[path])
            if len(found) != 1:
                detail = f"line {line} of {table.name}: expected one file, found {len(found)}"
                missing.append(Rejected(cells[path] or table.name, "missing_file", detail))
                continue
            name = found[0].name
            if labels.setdefault(name, cells[label]) != cells[label]:
                raise InputError(
                    f"{RAW}/{table.name}: expected one label for {name}, found {labels[name]!r} "
                    f"and, in line {line}, {cells[label]!r}; several labels of one image stand in "
                    "one cell (encode.separator)"
                )
    return labels, missing


def _label_by_folder(photos: list[Source], rejected: list[Rejected]) -> Labelled:
    detail = "put it into a folder named after its class, or name it in a table of labels"
    at_top = [Rejected(photo.name, "no_label", detail) for photo in photos if photo.label is None]
    inside = [photo for photo in photos if photo.label is not None]
    return Labelled(inside, [*rejected, *at_top], [])
