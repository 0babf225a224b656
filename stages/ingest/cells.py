"""Lines and cells of a table of text, with all that a file from strangers may hold."""

import csv
import itertools
from collections.abc import Iterator

from stages.ingest.sources import Source

LONGEST_LINE = 16 * 2**20

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# One cell may hold all pixels of an image.
csv.field_size_limit(LONGEST_LINE)


def lines(source: Source) -> Iterator[tuple[int, int, bytes]]:
    """Number, offset and bytes of each line that is not blank, without a byte order mark."""
    with source.open() as stream:
        offset = 0
        for line in itertools.count(1):
            content = stream.readline(LONGEST_LINE)
            if not content:
                return
            text = content.removeprefix(_BYTE_ORDER_MARK) if line == 1 else content
            if text.strip():
                yield line, offset + len(content) - len(text), text
            offset += len(content)


def split_cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line, stripped.

    Raises:
        csv.Error: A quoted cell does not end in it.
    """
    if '"' in line:
        cells = next(csv.reader([line], delimiter=delimiter, strict=True))
    else:
        cells = line.split(delimiter)
    return [cell.strip() for cell in cells]


def try_split(content: bytes, delimiter: str) -> list[str]:
    """The cells of a line; none if it cannot be read."""
    try:
        return split_cells(content.decode(), delimiter)
    except (UnicodeDecodeError, csv.Error):
        return []
