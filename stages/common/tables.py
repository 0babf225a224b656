"""Tables and facts as files: the same content gives the same bytes on every machine."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd

from stages.common.errors import InputError

# Names and labels are text whatever they look like: a class "007" or "NA" stays what it is.
_TEXT = {"id", "source", "label", "predicted", "part", "group", "exact", "split"}
_TEXT |= {"class", "layer", "method"}
_TEXT |= {"reason", "detail", "candidate", "suggested", "given_split", "given_group"}
_TEXT |= {"issue", "done"}

# A spreadsheet takes a text that begins so for a formula, and may run it. A number is none.
_FORMULA = re.compile(r"['=+\-@\t\r](?!(?<=[+-])[0-9.]+(e[+-]?[0-9]+)?$)", re.IGNORECASE)


# Rows that are read or written at once where a table may be long.
ROWS_AT_ONCE = 10_000


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV with a header and `\\n` line ends, floats with 6 significant digits or more.

    The rows keep their order; a table of images is sorted by id by its maker. A text that a
    spreadsheet would run as a formula has an apostrophe in front, which `read_table` removes.
    """
    write_pieces(lambda: [table], path)


def write_pieces(pieces: Callable[[], Iterable[pd.DataFrame]], path: Path) -> None:
    """Write a table as `write_table` does, one piece after the other.

    Args:
        pieces: Gives some of the rows each; at least one. It may be called twice.
        path: Of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Some readers take a bare "\r" for the end of a line.
    if not _write_pieces(pieces(), path, csv.QUOTE_MINIMAL):
        _write_pieces(pieces(), path, csv.QUOTE_ALL)


def _write_pieces(pieces: Iterable[pd.DataFrame], path: Path, quoting: int) -> bool:
    """Whether all could be written: with quotes where they are needed, no text with "\r" can."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, piece in enumerate(pieces):
            for name in _TEXT.intersection(piece.columns):
                piece = piece.assign(**{name: piece[name].map(_disarm, na_action="ignore")})
                returns = piece[name].astype(str).str.contains("\r", regex=False).any()
                if returns and quoting == csv.QUOTE_MINIMAL:
                    return False
            piece.to_csv(
                file,
                index=False,
                header=number == 0,
                lineterminator="\n",
                float_format="%.9g",
                quoting=quoting,
            )
    return True


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV that `write_table` wrote; ids, sources, labels and the like stay text.

    Raises:
        InputError: The file is missing: a stage before this one has not run.
    """
    options = _options(path)
    return _rearmed(pd.read_csv(path, **options), options["dtype"])


def read_pieces(path: Path) -> Iterator[pd.DataFrame]:
    """Read a table as `read_table` does, some rows at a time.

    Raises:
        InputError: As for `read_table`.
    """
    options = _options(path)
    with pd.read_csv(path, chunksize=ROWS_AT_ONCE, **options) as pieces:
        for piece in pieces:
            yield _rearmed(piece, options["dtype"])


def _options(path: Path) -> dict:
    """What pandas needs to know to read a table."""
    if not path.exists():
        raise InputError(f"{path}: expected a table of an earlier stage, found none; run dvc repro")
    # Only "\n" ends a line: macOS leaves files called "Icon\r" in folders.
    header = pd.read_csv(path, nrows=0, lineterminator="\n").columns
    text = dict.fromkeys(_TEXT.intersection(header), str)
    empty_is_missing = {name: [""] for name in header if name not in text}
    return {
        "dtype": text,
        "keep_default_na": False,
        "na_values": empty_is_missing,
        "lineterminator": "\n",
    }


def _rearmed(table: pd.DataFrame, texts: Iterable[str]) -> pd.DataFrame:
    return table.assign(**{name: table[name].str.removeprefix("'") for name in texts})


def _disarm(text: object) -> object:
    return f"'{text}" if isinstance(text, str) and _FORMULA.match(text) else text


def write_json(facts: object, path: Path) -> None:
    """Write JSON with sorted keys and a line end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """Read JSON that an earlier stage wrote.

    Raises:
        InputError: The file is missing: a stage before this one has not run.
    """
    if not path.exists():
        raise InputError(f"{path}: expected a file of an earlier stage, found none; run dvc repro")
    return json.loads(path.read_text(encoding="utf-8"))
