"""Excerpts of what lies below `reports/`, small enough to stand on the page."""

import base64
from typing import Any

import pandas as pd

from stages.common.paths import REPORTS
from stages.common.tables import read_table

MOST_ROWS = 50
_INLINE_BYTES = 200_000
"""A larger chart, one of very many classes, is loaded from beside the page."""


def table(name: str, rows: int = MOST_ROWS) -> dict[str, Any]:
    """The first rows of a table, with the file that holds them all.

    Args:
        name: Of the file, below `reports/`.
        rows: How many.

    Returns:
        As `excerpt`.
    """
    return excerpt(read_table(REPORTS / name), rows) | {"file": f"reports/{name}"}


def excerpt(whole: pd.DataFrame, rows: int = MOST_ROWS) -> dict[str, Any]:
    """The first rows of a table.

    Returns:
        `rows` (a dict each), `total` (how many the table has) and `file` (where all of them stand,
        or None).
    """
    return {"rows": whole[:rows].to_dict("records"), "total": len(whole), "file": None}


def chart(name: str) -> str:
    """The address of an SVG, which holds it, so that the page needs no file for it; of a very large
    one the address beside the page.

    Args:
        name: Of the file, below `reports/`.
    """
    content = (REPORTS / name).read_bytes()
    if len(content) > _INLINE_BYTES:
        return name
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
