"""What the page shows of the heat maps, and how far to believe them."""

import math
from typing import Any

from stages.common.paths import REPORTS
from stages.common.tables import read_json, read_table
from stages.report.excerpts import table
from stages.report.gallery import gallery
from stages.report.words import explains

_MEASURES = ("deletion", "insertion", "road", "sensitivity")
"""Columns of `reports/gradcam/methods.csv`, each beside the `_low` and `_high` end of its 95 %
interval."""
_LEADS = ("deletion", "insertion")
"""Those in which a method must beat the controls."""
LIKE_RANDOM = 0.5
"""From this rank correlation on, maps of random weights are like those of the trained model."""


def explanations(task: str, separator: str | None) -> dict[str, Any]:
    """The facts of the section, by the names that the templates use.

    Args:
        task: Of `TASKS`.
        separator: What stands between several labels of an image; None: there is only one.

    Returns:
        `gradcam` (`reports/gradcam/summary.json`), `explains` (what the maps show, in words),
        `leads` (measures), `methods` (a row each, the controls last), `doubted` (names of the
        methods that do not beat the controls), `intervals_of_measures` (a chart each),
        `randomised` (rows), `like_random` (names of the methods whose maps depend little on what
        was learned), `attention` (an excerpt) and `gallery`.
    """
    summary = read_json(REPORTS / "gradcam/summary.json")
    maps = read_table(REPORTS / "gradcam/summary.csv")
    places = read_table(REPORTS / "gradcam/attention.csv")
    methods = read_table(REPORTS / "gradcam/methods.csv").to_dict("records")
    for row in methods:
        # A column with empty cells, as those of the controls are, is read as one of any objects.
        row["beats_controls"] = row["beats_controls"] is True
    # The method of the gallery stands first; the controls are only measured.
    methods.sort(key=lambda row: (row["is_control"], row["method"] != summary["method"]))
    drawn = [row for row in methods if not row["is_control"]]
    randomised = read_table(REPORTS / "gradcam/randomised.csv")
    of_random = randomised.groupby("method", sort=False)["correlation"].last()
    return {
        "gradcam": summary,
        "explains": explains(task, summary["target"]),
        "leads": _LEADS,
        "methods": methods,
        "doubted": [row["method"] for row in drawn if not row["beats_controls"]],
        "intervals_of_measures": _intervals(methods),
        "randomised": randomised.to_dict("records"),
        "like_random": of_random.index[of_random >= LIKE_RANDOM].tolist(),
        "attention": table("gradcam/classes.csv"),
        "gallery": gallery(maps, places, [row["method"] for row in drawn], separator),
    }


def _intervals(methods: list[dict]) -> list[dict[str, Any]]:
    """Of each measure, the mean and interval of every method, and what they lie between."""
    charts = []
    for name in _MEASURES:
        rows = [
            {
                "method": row["method"],
                "is_control": row["is_control"],
                "mean": row[name],
                **{end: row[f"{name}_{end}"] for end in ("low", "high")},
            }
            for row in methods
        ]
        # Of a single image there is no interval.
        ends = [row[end] for row in rows for end in ("mean", "low", "high")]
        known = [end for end in ends if not math.isnan(end)]
        if known:
            charts.append({"measure": name, "rows": rows, "low": min(known), "high": max(known)})
    return charts
