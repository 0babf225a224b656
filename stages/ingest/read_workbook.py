"""Prints a workbook as lines of JSON: a program of its own, so that a bad workbook ends it alone.

Two cells far apart ask the library for all cells between them, which can be terabytes; it then
ends the whole process. So memory and time have limits here (macOS does not enforce that of memory).
"""

import contextlib
import datetime
import io
import json
import resource
import sys

Cell = str | int | float | bool | datetime.date | datetime.time | datetime.timedelta

_LARGEST_EXACT = 2**53


def cell_text(cell: Cell) -> str:
    """A cell as people see it, and as a spreadsheet program writes it into a CSV.

    Numbers have up to 15 significant digits, whole ones no point; booleans are TRUE and FALSE,
    dates and times as in ISO 8601.
    """
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        whole = cell.is_integer() and abs(cell) < _LARGEST_EXACT
        return str(int(cell)) if whole else f"{cell:.15g}"
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell).strip()


def main(memory: int, seconds: int, most: int) -> None:
    """Print each sheet of the workbook on standard input: its name, then `[row number, cells]`.

    Blank rows are left out. A workbook that cannot be read: one line on standard error, code 1.

    Args:
        memory: Address space that the process may use, bytes.
        seconds: Processor time that it may use.
        most: Bytes that it may print.
    """
    from python_calamine import CalamineWorkbook, SheetTypeEnum

    with contextlib.suppress(ValueError, OSError):  # where the system has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    workbook = CalamineWorkbook.from_filelike(io.BytesIO(sys.stdin.buffer.read()))
    for number, sheet in enumerate(workbook.sheets_metadata):
        if sheet.typ == SheetTypeEnum.WorkSheet:
            most -= _print(sheet.name, most)
            for row, cells in enumerate(workbook.get_sheet_by_index(number).iter_rows(), start=1):
                texts = [cell_text(cell) for cell in cells]
                if any(texts):
                    most -= _print([row, texts], most)


def _print(value: object, most: int) -> int:
    line = json.dumps(value, separators=(",", ":"))
    if len(line) > most:
        raise ValueError("its cells hold more text than ingest.limits.file_megabytes allows")
    print(line)
    return len(line)


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:]))
    except BaseException as error:  # a panic of the library is no Exception
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
