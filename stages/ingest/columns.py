"""Which columns of a table hold the paths, labels, sides and groups of photos."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.common.errors import InputError
from stages.common.params import Table
from stages.ingest.sides import to_side
from stages.ingest.tables import TextTable, plain_name

# In the order of preference: an id may number the rows and happen to be a photo's name too.
PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "image_file", "image_name", "img", "img_path", "photo", "picture"),
    *("image_id", "id"),
)
LABEL_COLUMNS = (
    *("label", "labels", "class", "classes", "class_name", "target", "targets"),
    *("category", "categories", "tag", "tags", "value", "y", "emotion", "diagnosis"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "usage", "side", "dataset")
GROUP_COLUMNS = (
    *("group", "group_id", "patient", "patient_id", "patientid", "subject", "subject_id"),
    *("person", "person_id", "case_id", "study_id", "lesion", "lesion_id"),
    *("video", "video_id", "sequence_id"),
)

APPLIES = {"1", "1.0", "true", "yes"}
APPLIES_NOT = {"0", "0.0", "-1", "-1.0", "false", "no", ""}
"""Cells of a column that is a label."""

_LOOKED_AT = 200
_LISTED_COLUMNS = 20


@dataclass(frozen=True)
class Columns:
    """The columns of a table of photos, by number.

    Attributes:
        path: Of the photos' paths; None in a table of pixels.
        labels: One column of labels, or several, of which each is a label or holds labels.
        split: Of the given sides, if there is one.
        groups: Of what must not be divided.
    """

    path: int | None
    labels: tuple[int, ...]
    split: int | None
    groups: tuple[int, ...]


def find_path_column(
    table: TextTable, wanted: str | None, names_photo: Callable[[str], bool]
) -> int | None:
    """The column that names photos.

    By preference that which is called so, if any of its cells names a photo; else the only one
    that does, in most rows and with extensions.

    Args:
        table: With a header.
        wanted: `ingest.table.path`.
        names_photo: Whether a cell does, by `Photos.find`.
    """
    header = list(map(plain_name, table.header))
    for name in PATH_COLUMNS if wanted is None else [plain_name(wanted)]:
        if name in header and any(map(names_photo, table.column(header.index(name)))):
            return header.index(name)
    if wanted is not None:
        return None
    rows = [cells for _, cells in itertools.islice(table.rows(), _LOOKED_AT)]
    found = [
        number
        for number in range(len(header))
        if 2 * sum(names_photo(cell) for cell in _cells(rows, number) if "." in cell) > len(rows)
    ]
    return found[0] if len(found) == 1 else None


def find_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    names: Table,
    path: int | None,
    pixels: Sequence[int] = (),
    label: int | None = None,
) -> Columns | None:
    """The columns beside those of paths or pixels; None if a named one is not there, or no column
    of labels is plain.

    Args:
        header: Names of the columns.
        rows: Some rows, to see what the columns hold.
        names: `ingest.table`.
        path: The column of paths.
        pixels: The columns of pixels.
        label: The column of labels, if its place tells it.
    """
    splits = _find_named(header, names.split, SPLIT_COLUMNS)
    groups = _find_named(header, names.group, GROUP_COLUMNS)
    if splits is None or groups is None:
        return None
    if names.split is None:  # what is called so may hold anything
        splits = tuple(number for number in splits if _are_sides(_cells(rows, number)))
    split = splits[0] if splits else None
    if label is not None:
        labels: tuple[int, ...] | None = (label,)
    elif names.label is not None:
        labels = _find_named(header, names.label, ())
    else:
        labels = _guess_labels(header, rows, {path, split, *groups, *pixels})
    return Columns(path, labels, split, groups) if labels else None


def describe(header: Sequence[str], columns: Columns) -> str:
    """The columns by their names, for the log."""
    parts = {
        "path": () if columns.path is None else (columns.path,),
        "label": columns.labels,
        "split": () if columns.split is None else (columns.split,),
        "group": columns.groups,
    }
    named = {part: [header[number] for number in numbers] for part, numbers in parts.items()}
    return ", ".join(f"{part} {' + '.join(names)}" for part, names in named.items() if names)


def refuse_unclear(name: str, header: Sequence[str], names: Table) -> InputError:
    """What to say of a table that names photos while its columns are not plain."""
    asked = {key: value for key, value in names.model_dump().items() if value is not None}
    called = f" ({', '.join(f'{key} = {value!r}' for key, value in asked.items())})" * bool(asked)
    return InputError(
        f"{name}: expected one column of paths and one of labels{called}, found "
        f"{list(header[:_LISTED_COLUMNS])}; set ingest.table.path and ingest.table.label to the "
        "right ones, or ingest.layout: folders to label by folders"
    )


def _cells(rows: Sequence[Sequence[str]], number: int) -> list[str]:
    return [cells[number] for cells in rows if number < len(cells)]


def _find_named(
    header: Sequence[str], wanted: str | list[str] | None, usual: Sequence[str]
) -> tuple[int, ...] | None:
    """The columns that are wanted, None if one is not there; or all that are called as usual."""
    plain = list(map(plain_name, header))
    if wanted is None:
        return tuple(number for number, name in enumerate(plain) if name in usual)
    names = list(map(plain_name, [wanted] if isinstance(wanted, str) else wanted))
    return tuple(map(plain.index, names)) if set(names) <= set(plain) else None


def _are_sides(cells: Sequence[str]) -> bool:
    values = {cell for cell in cells if cell}
    return bool(values) and all(map(to_side, values))


def _guess_labels(
    header: Sequence[str], rows: Sequence[Sequence[str]], taken: set[int | None]
) -> tuple[int, ...]:
    """The one column that is called so; or the only one left; or all that are left, if they hold
    ones and zeros."""
    left = [number for number in range(len(header)) if number not in taken]
    called = [number for number in left if plain_name(header[number]) in LABEL_COLUMNS]
    if called:
        return tuple(called) if len(called) == 1 else ()
    if len(left) == 1:
        return (left[0],)
    flags = APPLIES | APPLIES_NOT - {""}
    if left and all({cell.lower() for cell in _cells(rows, number)} <= flags for number in left):
        return tuple(left)
    return ()
