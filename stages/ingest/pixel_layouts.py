"""Which tables are tables of pixels, and where these hold what.

A table of pixels has a column of lists of numbers, or many columns that are called like pixels or
hold nothing but their values. A table that names photos is none, whatever else it holds.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt

from stages.common.errors import InputError
from stages.common.params import Table
from stages.ingest.cells import lines, split_cells, try_split
from stages.ingest.pixel_tables import PixelLayout, is_value
from stages.ingest.sources import Source
from stages.ingest.tables import find_delimiter, is_text_table, plain_name

# Fewer numbers are no image, unless ingest.table.image_size says so.
_FEWEST = 64
# What is looked at.
_HEAD_LINES = 33
_HEAD_BYTES = 8 * 2**20
_COUNTED_VALUES = 1000
_SHOWN = 40

# pixel0, 1x1, px_3, 17, and 0.5 where pandas took a row for the header and made its cells differ.
_PIXEL_NAME = re.compile(r"(pixels?|pix|px|p|x|)[ _.-]?(\d+)(?:[x_.,-](\d+))?")
_CERTAIN_NAMES = ("pixel", "pixels", "pix", "px")
_PHOTO = re.compile(r"\.(jpe?g|jfif|png|bmp|gif|tiff?|webp|p[bgnp]m)$", re.IGNORECASE)

Shape = tuple[int, int, int]
"""Height, width and channels."""


@dataclass(frozen=True)
class _Head:
    """The first rows of a table, the header among them if it has one, and what params say."""

    source: Source
    names: Table
    delimiter: str
    rows: list[list[str]]

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def columns(self) -> int:
        """How many cells most rows have."""
        return Counter(map(len, self.rows)).most_common(1)[0][0]

    @property
    def fewest(self) -> int:
        height, width = self.names.image_size or (_FEWEST, 1)
        return min(_FEWEST, height * width)


def find_layout(source: Source, names: Table) -> PixelLayout | None:
    """How a table holds pixels; None if it holds none, or cannot be read.

    Args:
        source: A file.
        names: `pixels`, `image_size` and, where no header tells it, `label` (first or last); the
            columns of `label`, `split` and `group` are no pixels.

    Raises:
        InputError: It is a table of pixels, but their number fits no size, or the column of the
            pixels or labels is not certain.
    """
    if not is_text_table(source.name):
        return None
    try:
        head = _read_head(source, names)
    except InputError:  # of a store, which says nothing about the table
        raise
    except Exception:  # whoever opens it as a table of text says what is wrong with it
        return None
    if not head.rows:
        return None
    column = _text_column(head)
    if column is not None:
        return _text_layout(head, column)
    return _columns_layout(head) if names.pixels is None else None


def _read_head(source: Source, names: Table) -> _Head:
    contents, total = [], 0
    for _, _, content in itertools.islice(lines(source), _HEAD_LINES):
        total += len(content)
        if total > _HEAD_BYTES:
            break
        contents.append(content)
    delimiter = find_delimiter(content.decode(errors="replace") for content in contents)
    first = [split_cells(content.decode(), delimiter) for content in contents[:1]]
    others = [try_split(content, delimiter) for content in contents[1:]]
    return _Head(source, names, delimiter, [*first, *filter(None, others)])


def _name_photos(rows: Iterable[Sequence[str]], columns: Sequence[int]) -> bool:
    return any(
        _PHOTO.search(row[column]) for row in rows for column in columns if column < len(row)
    )


def _text_column(head: _Head) -> int | None:
    """The column that `ingest.table.pixels` names, or else whose cells are lists of values."""
    first = head.rows[0]
    if head.names.pixels is not None:
        header, wanted = list(map(plain_name, first)), plain_name(head.names.pixels)
        return header.index(wanted) if wanted in header else None
    columns = range(head.columns)
    found = [column for column in columns if _lists_values(head, column)]
    if not found or _name_photos(head.rows, columns):
        return None
    if len(found) > 1:
        called = [first[column][:_SHOWN] for column in found if column < len(first)]
        raise InputError(
            f"{head.name}: expected one column of pixels, found {called}; set ingest.table.pixels "
            "to the right one"
        )
    return found[0]


def _lists_values(head: _Head, column: int) -> bool:
    """Whether half of the cells or more (one may be a header) list equally many values."""
    cells = [row[column] for row in head.rows if column < len(row)]
    counts = Counter(len(cell.split()) for cell in cells if _is_list(cell))
    count = max(counts, key=counts.__getitem__, default=0)
    return count >= max(head.fewest, 2) and 2 * counts[count] >= len(cells)


def _is_list(cell: str) -> bool:
    """Whether a cell lists numbers from 0 to 255. Fractions are refused row by row."""
    try:
        numbers = list(map(float, cell.split()))
    except ValueError:
        return False
    return bool(numbers) and all(0 <= number <= 255 for number in numbers)


def _text_layout(head: _Head, column: int) -> PixelLayout:
    first = head.rows[0]
    header = None if len(first) <= column or _is_list(first[column]) else tuple(first)
    columns = head.columns if header is None else len(header)
    rows = head.rows[1:] if header else head.rows
    counts = Counter(len(row[column].split()) for row in rows if len(row) == columns)
    shape = _find_shape(head, max(counts, key=counts.__getitem__, default=0))
    others = [number for number in range(columns) if number != column]
    label = _find_label(head, others, certain=True) if others and header is None else None
    return PixelLayout(head.delimiter, header, columns, (column,), True, label, *shape)


def _columns_layout(head: _Head) -> PixelLayout | None:
    columns = head.columns
    first = head.rows[0]
    header = tuple(first) if len(first) == columns and _is_header(first) else None
    found, certain = _called_like_pixels(header, head.names)
    candidates = list(range(columns)) if header is None else found
    rows = [row for row in head.rows[0 if header is None else 1 :] if len(row) == columns]
    if len(candidates) < head.fewest or not rows:
        return None
    if not certain and not _hold_values(rows, candidates[1:-1]):
        return None
    others = sorted({*range(columns)} - {*candidates[1:-1]})
    if _name_photos(rows, others):
        return None
    shape, label = _shape_and_label(head, header, candidates, certain)
    if shape is None:
        return None
    pixels = tuple(column for column in candidates if column != label)
    return PixelLayout(head.delimiter, header, columns, pixels, False, label, *shape)


def _shape_and_label(
    head: _Head, header: tuple[str, ...] | None, candidates: list[int], certain: bool
) -> tuple[Shape | None, int | None]:
    """The size of the images, and the column of labels if it is among the candidates."""
    size = head.names.image_size
    shape = _fit(len(candidates), size or _named_size(header, candidates))
    without_label = _fit(len(candidates) - 1, size)
    if without_label is not None and (header is None or shape is None):
        return without_label, _find_label(head, candidates, certain=False)
    if shape is None and (certain or size is not None):
        return _find_shape(head, len(candidates)), None
    return shape, None


def _is_header(row: Sequence[str]) -> bool:
    """Whether a line names columns.

    All names differ, as the values of an image hardly ever do, and are no values, or count up.
    The cells at both ends say nothing: they may be labels.
    """
    inner = row[1:-1]
    if len(set(inner)) < len(inner):
        return False
    if not all(map(is_value, inner)):
        return True
    values = list(map(int, inner))
    return all(after == before + 1 for before, after in itertools.pairwise(values))


def _called_like_pixels(header: Sequence[str] | None, names: Table) -> tuple[list[int], bool]:
    """The columns that are called like pixels, and whether beyond doubt."""
    label = [names.label] if isinstance(names.label, str) else names.label or []
    group = [names.group] if isinstance(names.group, str) else names.group or []
    used = {plain_name(name) for name in [*label, *group, names.split or ""]}
    by_prefix: dict[str, list[int]] = {}
    for number, name in enumerate(map(plain_name, header or ())):
        match = _PIXEL_NAME.fullmatch(name)
        if match and name not in used:
            by_prefix.setdefault(match[1], []).append(number)
    prefix = max(by_prefix, key=lambda prefix: len(by_prefix[prefix]), default="")
    return by_prefix.get(prefix, []), prefix in _CERTAIN_NAMES


def _hold_values(rows: list[list[str]], columns: Sequence[int]) -> bool:
    """Whether most rows hold values, and not only ones and zeros: those mark labels."""
    good = [row for row in rows if all(is_value(row[column]) for column in columns)]
    larger = any(int(row[column]) > 1 for row in good for column in columns)
    return 2 * len(good) > len(rows) and larger


def _named_size(header: Sequence[str] | None, candidates: Sequence[int]) -> tuple[int, int] | None:
    """Height and width, where the columns are called 1x1 to 28x28 or the like."""
    matches = (
        [_PIXEL_NAME.fullmatch(plain_name(header[one])) for one in candidates] if header else []
    )
    places = {(match[2], match[3]) for match in matches if match and match[3]}
    rows, columns = {row for row, _ in places}, {column for _, column in places}
    whole = bool(places) and len(matches) == len(places) == len(rows) * len(columns)
    return (len(rows), len(columns)) if whole else None


def _fit(count: int, size: tuple[int, int] | None) -> Shape | None:
    """The shape of so many numbers, gray or in color; without a size, that of a square."""
    for channels in (1, 3):
        side = isqrt(count // channels)
        height, width = size or (side, side)
        if height * width * channels == count > 0:
            return height, width, channels
    return None


def _find_shape(head: _Head, count: int) -> Shape:
    shape = _fit(count, head.names.image_size)
    if shape is None:
        size = "a square" if head.names.image_size is None else f"{[*head.names.image_size]}"
        raise InputError(
            f"{head.name}: expected height * width numbers for each image, or 3 times as many in "
            f"color, found {count}, which does not fit {size}; set ingest.table.image_size to "
            "[height, width]"
        )
    return shape


def _find_label(head: _Head, columns: Sequence[int], certain: bool) -> int:
    """The column of labels in a table without names.

    Args:
        columns: The first and the last of them come into question.
        certain: Whether the others hold pixels, so that neither of these does.
    """
    ends = {"first": columns[0], "last": columns[-1]}
    if isinstance(head.names.label, str) and head.names.label in ends:
        return ends[head.names.label]
    if ends["first"] == ends["last"]:
        return columns[0]
    counts, no_pixels = _look_at(head, list(ends.values()))
    if certain or len(no_pixels) != 1:
        found = " and ".join(
            f"the {place} ({count} distinct values)"
            for place, count in zip(ends, counts, strict=True)
        )
        raise InputError(
            f"{head.name}: expected one column that can be the label, found {found}; set "
            "ingest.table.label: first, or last"
        )
    return no_pixels[0]


def _look_at(head: _Head, columns: Sequence[int]) -> tuple[list[int], list[int]]:
    """How many distinct texts each column holds (counted up to a bound), and which hold other
    things than values in most rows."""
    distinct: list[set[str]] = [set() for _ in columns]
    others = Counter[int]()
    total = 0
    for _, _, content in lines(head.source):
        cells = try_split(content, head.delimiter)
        if len(cells) != head.columns:
            continue
        total += 1
        for column, found in zip(columns, distinct, strict=True):
            others[column] += not is_value(cells[column])
            if len(found) < _COUNTED_VALUES:
                found.add(cells[column])
    return list(map(len, distinct)), [one for one in columns if 2 * others[one] > total]
