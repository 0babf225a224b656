"""Tables of text as people keep them: CSV, TSV, Excel and OpenDocument, opened as rows of cells."""

import csv
import io
import itertools
import json
import posixpath
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from stages.common.errors import InputError, one_line
from stages.common.params import Limits
from stages.common.photos import Unusable
from stages.ingest import read_workbook
from stages.ingest.archives import is_bomb
from stages.ingest.cells import LONGEST_LINE
from stages.ingest.sources import TABLE_SUFFIXES, TEXT_SUFFIXES, Source

Lines = Iterator[tuple[int, list[str]]]

_MEGABYTE = 1_000_000
# What tells the delimiter.
_LOOKED_AT = 20


class TextTable:
    """A table of text: cells are stripped, the first line is the header, blank lines are left out.

    Attributes:
        name: The path of its file below the raw folder; `labels.xlsx/Sheet2` if several sheets
            of the file hold something.
        folder: The folder of its file, from which its paths may be seen.
        header: The cells of its first line.
    """

    def __init__(self, name: str, folder: str, read_lines: Callable[[], Lines]):
        self.name = name
        self.folder = folder
        self._read_lines = read_lines
        self.header = next(read_lines(), (0, []))[1]

    def rows(self) -> Lines:
        """Number of the line (in a workbook, of the row) and cells of each row below the header."""
        return itertools.islice(self._read_lines(), 1, None)

    def column(self, number: int) -> Iterator[str]:
        """The cells of one column; rows that are too short are left out."""
        return (cells[number] for _, cells in self.rows() if number < len(cells))


def plain_name(name: str) -> str:
    """The name of a column as names are compared: without case, blanks as underscores."""
    return name.strip().lower().replace(" ", "_")


def is_text_table(name: str) -> bool:
    """Whether a file of this name holds rows of text: CSV or TSV."""
    return name.lower().endswith(TEXT_SUFFIXES)


def is_table(name: str) -> bool:
    """Whether a file of this name holds one table or several."""
    return name.lower().endswith(TABLE_SUFFIXES)


def open_tables(source: Source, limits: Limits) -> list[TextTable]:
    """The tables in a file: one in a text file, one for each sheet of a workbook that holds cells.

    Text is read to its end once, so what can be opened can be read; it is in UTF-8, or in UTF-16
    with a byte order mark. Its rows are read anew each time, in bounded memory.

    Args:
        source: A file for which `is_table` holds.
        limits: What a workbook may ask for.

    Raises:
        Unusable: `unreadable` (another encoding, a quoted cell without end, a broken workbook,
            one with a password, ...) or `too_large` (beyond the limits).
    """
    try:
        if is_text_table(source.name):
            return [_open_text(source)]
        return _open_workbook(source, limits)
    except (Unusable, InputError):
        raise
    except Exception as error:  # members of archives fail in many ways: password, checksum, ...
        raise Unusable("unreadable", f"{type(error).__name__}: {one_line(error)}") from None


def find_delimiter(lines: Iterable[str]) -> str:
    """What stands between the cells of a table of text: `,`, `;`, a tab or `|`.

    The one that divides most of the first lines into as many cells as the header, and of these
    the one that gives most cells: where a comma separates decimals, spreadsheets write
    semicolons. A bar often stands within cells, and is taken only if nothing else divides.

    Args:
        lines: The first lines, with or without their ends.
    """
    first = list(itertools.islice((line for line in lines if line.strip()), _LOOKED_AT))

    def fitness(delimiter: str) -> tuple[float, int]:
        counts = [len(cells) for cells in csv.reader(first, delimiter=delimiter)] or [1]
        return (counts.count(counts[0]) / len(counts), counts[0]) if counts[0] > 1 else (0, 1)

    best = max(",;\t", key=fitness)
    return "|" if fitness(best) == (0, 1) and fitness("|") > (0, 1) else best


def _open_text(source: Source) -> TextTable:
    with source.open() as stream:
        encoding = "utf-16" if stream.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with _text(source, encoding) as text:
        try:
            delimiter = find_delimiter(text.readline(LONGEST_LINE) for _ in range(_LOOKED_AT))
        except UnicodeDecodeError as error:
            raise _not_utf8(error) from None
    table = TextTable(
        source.name,
        posixpath.dirname(source.name),
        partial(_read_text, source, encoding, delimiter),
    )
    if any("\0" in name for name in table.header):
        raise Unusable("unreadable", "holds zero bytes; save it as CSV in UTF-8")
    for _ in table.rows():
        pass
    return table


def _text(source: Source, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(source.open(), encoding=encoding, newline="")


def _not_utf8(error: UnicodeDecodeError) -> Unusable:
    byte = error.object[error.start]
    return Unusable("unreadable", f"not in UTF-8 (byte 0x{byte:02x}); save it as CSV in UTF-8")


def _read_text(source: Source, encoding: str, delimiter: str) -> Lines:
    with _text(source, encoding) as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = [cell.strip() for cell in next(reader)]
            except StopIteration:
                return
            except UnicodeDecodeError as error:
                raise _not_utf8(error) from None
            except csv.Error as error:
                detail = f"{error}; a quote within a quoted cell is written twice"
                raise Unusable("unreadable", f"line {line}: {detail}") from None
            if any(cells):
                yield line, cells


def _open_workbook(source: Source, limits: Limits) -> list[TextTable]:
    sheets = _read_sheets(source, limits)
    filled = [(name, lines) for name, lines in sheets if lines] or [("", [])]
    return [
        TextTable(
            source.name if len(filled) == 1 else f"{source.name}/{name}",
            posixpath.dirname(source.name),
            partial(_read_json, lines),
        )
        for name, lines in filled
    ]


def _read_json(lines: list[bytes]) -> Lines:
    return ((number, cells) for number, cells in map(json.loads, lines))


def _read_sheets(source: Source, limits: Limits) -> list[tuple[str, list[bytes]]]:
    """The name of each sheet, and its rows as `read_workbook` prints them."""
    _refuse_too_large(source.size, limits)
    content = source.read()
    size = _unpacked_size(content, limits)
    most = int(limits.file_megabytes * _MEGABYTE)
    # Several times what honest workbooks need, and a gigabyte for the empty cells between.
    memory, seconds = 2**30 + 8 * size, 5 + size // _MEGABYTE
    program = [sys.executable, "-P", read_workbook.__file__, str(memory), str(seconds), str(most)]
    done = subprocess.run(program, input=content, capture_output=True)
    if done.returncode == 1:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Unusable("unreadable", "".join(last))
    if done.returncode:
        detail = "needs more memory or time to open than its size explains; save it as CSV"
        raise Unusable("too_large", detail)
    sheets: list[tuple[str, list[bytes]]] = []
    for line in done.stdout.splitlines():
        if line.startswith(b'"'):
            sheets.append((json.loads(line), []))
        else:
            sheets[-1][1].append(line)
    return sheets


def _unpacked_size(content: bytes, limits: Limits) -> int:
    """The bytes that a workbook says it holds; the newer kinds are zip files."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
    size = sum(member.file_size for member in members)
    _refuse_too_large(size, limits)
    if any(is_bomb(limits, member.file_size, member.compress_size) for member in members):
        detail = f"unpacks to more than {limits.ratio:g} times its size (ingest.limits.ratio)"
        raise Unusable("too_large", detail)
    return size


def _refuse_too_large(size: int, limits: Limits) -> None:
    if size > limits.file_megabytes * _MEGABYTE:
        most = f"{limits.file_megabytes:g} (ingest.limits.file_megabytes)"
        raise Unusable("too_large", f"{size / _MEGABYTE:.4g} MB unpacked, more than {most}")
