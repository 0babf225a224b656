"""Tables and facts as files: the same content gives the same bytes on every machine."""

import csv
import json
import re
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


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV with a header and `\\n` line ends, floats with 6 significant digits or more.

    The rows keep their order; a table of images is sorted by id by its maker. A text that a
    spreadsheet would run as a formula has an apostrophe in front, which `read_table` removes.
    """
    quoting = csv.QUOTE_MINIMAL
    for name in _TEXT.intersection(table.columns):
        table = table.assign(**{name: table[name].map(_disarm, na_action="ignore")})
        if table[name].astype(str).str.contains("\r", regex=False).any():
            quoting = csv.QUOTE_ALL  # some readers take it for the end of a line
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, lineterminator="\n", float_format="%.9g", quoting=quoting)


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV that `write_table` wrote; ids, sources, labels and the like stay text.

    Raises:
        InputError: The file is missing: a stage before this one has not run.
    """
    if not path.exists():
        raise InputError(f"{path}: expected a table of an earlier stage, found none; run dvc repro")
    # Only "\n" ends a line: macOS leaves files called "Icon\r" in folders.
    header = pd.read_csv(path, nrows=0, lineterminator="\n").columns
    text = dict.fromkeys(_TEXT.intersection(header), str)
    empty_is_missing = {name: [""] for name in header if name not in text}
    table = pd.read_csv(
        path,
        dtype=text,
        keep_default_na=False,
        na_values=empty_is_missing,
        lineterminator="\n",
    )
    return table.assign(**{name: table[name].str.removeprefix("'") for name in text})


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
