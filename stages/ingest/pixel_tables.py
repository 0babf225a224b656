"""Tables of pixels: a CSV or TSV whose rows are images, each read as if it were a photo.

The pixels of a row stand in one cell, separated by blanks (as in FER2013), or in a column each (as
in MNIST), as whole numbers from 0 to 255: gray, or red, green and blue of each pixel in turn.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.common.errors import shown
from stages.common.photos import Unusable
from stages.ingest.cells import lines, split_cells, try_split
from stages.ingest.sources import Source
from stages.ingest.stores import is_url

# Of the number in names: so wide that rows added later change no earlier name.
_DIGITS = 8

_VALUES = {str(value): value for value in range(256)}


@dataclass(frozen=True)
class PixelLayout:
    """Where a table of pixels holds what.

    Attributes:
        delimiter: What stands between its cells.
        header: The names of all columns; None if the first line is a row already.
        columns: How many cells a row has.
        pixels: The columns of pixels; with `in_one_cell` a single one.
        in_one_cell: Whether one cell holds all pixels.
        label: The column of labels if its place tells it, as without a header; else None, and
            the names of `others` may tell it.
        height, width, channels: Of every image.
    """

    delimiter: str
    header: tuple[str, ...] | None
    columns: int
    pixels: tuple[int, ...]
    in_one_cell: bool
    label: int | None
    height: int
    width: int
    channels: int

    @property
    def others(self) -> list[int]:
        """The columns that hold no pixels."""
        return sorted(set(range(self.columns)) - set(self.pixels))


@dataclass(frozen=True, slots=True)
class PixelRow:
    """An image in a row of a table.

    Attributes:
        source: The table.
        layout: Of the table.
        line: The number of its line; lines are counted from 1, with header and blank ones.
        offset: Where the line begins in the table, bytes.
        size: Its length, bytes.
    """

    source: Source
    layout: PixelLayout
    line: int
    offset: int
    size: int

    @property
    def name(self) -> str:
        """As if the table were a folder of files that are called by the number of the line."""
        return f"{self.source.name}/{self.line:0{_DIGITS}}"

    @property
    def in_stream(self) -> bool:
        """As in `Source`."""
        return self.source.place is not None or is_url(self.source.file)

    def read(self) -> bytes:
        """The image as the bytes of a binary PGM or PPM file.

        Raises:
            Unusable: `bad_row`: too few or too many cells or numbers, or others than whole ones
                from 0 to 255.
            OSError: The table cannot be read.
        """
        with self.source.open() as stream:
            stream.seek(self.offset)
            content = stream.read(self.size)
        try:
            pixels = _read_pixels(content, self.layout)
        except UnicodeDecodeError:
            raise Unusable("bad_row", f"line {self.line}: not in UTF-8") from None
        except (ValueError, csv.Error) as error:
            raise Unusable("bad_row", f"line {self.line}: {error}") from None
        kind = "P6" if self.layout.channels == 3 else "P5"
        return f"{kind} {self.layout.width} {self.layout.height} 255\n".encode() + pixels


def rows(
    source: Source, layout: PixelLayout, columns: Sequence[int] = ()
) -> Iterator[tuple[PixelRow, tuple[str, ...]]]:
    """Each image of a table with the texts that stand in some columns beside it, in one pass.

    Memory is bounded by the longest line. A row that cannot be read has empty texts, and says
    what is wrong when it is read.

    Args:
        source: The table.
        layout: As `find_layout` gives it.
        columns: The columns wanted, such as those of label, split and group.
    """
    nothing = ("",) * len(columns)
    for number, (line, offset, content) in enumerate(lines(source)):
        if number == 0 and layout.header is not None:
            continue
        cells = try_split(content, layout.delimiter)
        fits = len(cells) == layout.columns
        texts = tuple(cells[column] for column in columns) if fits else nothing
        yield PixelRow(source, layout, line, offset, len(content)), texts


def is_value(number: str) -> bool:
    """Whether a cell is a whole number from 0 to 255."""
    if number in _VALUES:
        return True
    return number.isascii() and number.isdecimal() and len(number) < 10 and int(number) <= 255


def _read_pixels(content: bytes, layout: PixelLayout) -> bytes:
    cells = split_cells(content.decode(), layout.delimiter)
    if len(cells) != layout.columns:
        raise ValueError(f"expected {layout.columns} cells, found {len(cells)}")
    numbers = [cells[column] for column in layout.pixels]
    if layout.in_one_cell:
        numbers = numbers[0].split()
    expected = layout.height * layout.width * layout.channels
    if len(numbers) != expected:
        raise ValueError(f"expected {expected} numbers, found {len(numbers)}")
    try:
        return bytes(map(_VALUES.__getitem__, numbers))
    except KeyError:
        return bytes(map(_to_value, numbers))


def _to_value(number: str) -> int:
    """A pixel that may be written in an unusual way, such as 007."""
    if not is_value(number):
        raise ValueError(f"expected whole numbers from 0 to 255, found {shown(number)}")
    return int(number)
