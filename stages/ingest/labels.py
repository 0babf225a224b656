"""The label, given side and groups of each photo: from tables, names of files, or folders.

A table, in a folder or in an archive, holds pixels, or it labels the photos that its column of
paths names; any other is unrelated and changes nothing. Photos that lie below a table that labels
photos, or beside one that it names, and that no row names, have no label; all others are labelled
by their folders. So sources of several kinds can lie side by side.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from stages.common.containers import picture_format
from stages.common.errors import InputError
from stages.common.params import Encode, Ingest
from stages.common.photos import Unusable
from stages.ingest.columns import (
    describe,
    find_columns,
    refuse_unclear,
)
from stages.ingest.folder_labels import add_pattern, label_by_folders, label_by_names
from stages.ingest.labelled import (
    UNRELATED,
    Labelled,
    Photo,
    reject_empty,
    sides_of_tables,
)
from stages.ingest.pixel_layouts import find_layout
from stages.ingest.pixel_tables import PixelLayout, PixelRow, rows
from stages.ingest.scratch import ScratchList
from stages.ingest.sources import Source, in_order
from stages.ingest.table_labels import LOOKED_AT, label_by_tables, read_row
from stages.ingest.tables import is_table

# What lies beside photos in data sets: listed, but no lost photo, and its folder is no class.
_DOCUMENTS = (
    *(".txt", ".md", ".rst", ".pdf", ".doc", ".docx", ".html", ".json", ".jsonl", ".xml", ".yaml"),
    *(".yml", ".py", ".ipynb", ".log", ".bib", ".npy", ".npz", ".mat", ".h5", ".pkl"),
)
_SIGNATURE = 64


def is_document(name: str) -> bool:
    """Whether a file is called like no photo that anybody would miss."""
    return name.lower().endswith(_DOCUMENTS)


def _looks_like_photo(file: Source) -> bool:
    try:
        with file.open() as stream:
            return picture_format(stream.read(_SIGNATURE)) is not None
    except InputError:  # of a store, which says nothing about the file
        raise
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
    found, photos = Labelled(), ScratchList[Source]()
    documents = (file for file in files if is_document(file.name))
    looks = in_order(_looks_like_photo, documents)
    for file in files:
        if is_document(file.name) and not next(looks):
            found.reject(file.name, "not_an_image", "a document, by its name")
        elif not is_table(file.name):
            photos.append(file)
    if ingest.layout in ("auto", "pixels"):
        pixels, tables = _read_pixels(tables, ingest, encode)
        found += pixels
    if ingest.layout == "pixels":
        found += _leave_all(itertools.chain(tables, photos), "ingest.layout is pixels")
    elif ingest.layout == "names" or (ingest.layout == "auto" and "label" in ingest.pattern_parts):
        found += label_by_names(photos, ingest)
        found += _leave_all(tables, "ingest.pattern finds the labels")
    elif ingest.layout == "folders":
        found += label_by_folders(photos, ingest)
        found += _leave_all(tables, "ingest.layout is folders")
    else:
        found += label_by_tables(photos, tables, ingest, encode)
    _refuse_missing_layout(found, ingest)
    if ingest.pattern is None:
        return found
    return replace(found, photos=ScratchList(add_pattern(one, ingest) for one in found.photos))


def _leave_all(files: Iterable[Source], why: str) -> Labelled:
    found = Labelled()
    for file in files:
        found.reject(file.name, UNRELATED if is_table(file.name) else "no_label", why)
    return found


def _refuse_missing_layout(found: Labelled, ingest: Ingest) -> None:
    if ingest.layout in ("table", "pixels") and not found.layout:
        what = {"table": "a table that names photos", "pixels": "a table of pixels"}[ingest.layout]
        raise InputError(
            f"ingest.layout: expected {what} in {ingest.source} with layout {ingest.layout}, found "
            "none; add it, name its columns in ingest.table, or set ingest.layout: auto"
        )


def _read_pixels(
    tables: Sequence[Source], ingest: Ingest, encode: Encode
) -> tuple[Labelled, list[Source]]:
    """The images in tables of pixels, and the tables that are none."""
    found, others = Labelled(), []
    several = sides_of_tables(tables)
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
    head = [texts for _, texts in itertools.islice(rows(table, layout, every), LOOKED_AT)]
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
    taken = ScratchList[Photo]()
    for row, texts in rows(table, layout, wanted):
        cells = dict(zip(wanted, texts, strict=True))
        photo = read_row(row, cells, header, columns, encode, table.name, side)
        if photo.label or not _reject_bad_row(row, found):
            taken.append(photo)
    return reject_empty(found, taken, encode, f"an empty cell in {table.name}")


def _reject_bad_row(row: PixelRow, found: Labelled) -> bool:
    """Whether a row without a label has none since it cannot be read; then it is rejected."""
    try:
        row.read()
    except Unusable as error:
        found.reject(row.name, error.reason, error.detail)
        return True
    return False
