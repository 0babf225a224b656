"""Changes in words and tables for people, on the terminal and on the page."""

import json
from typing import Any

import pandas as pd

from stages.common.errors import printable
from stages.compare.changes import Changes
from stages.compare.contents import Contents

KINDS_IN_WORDS = {
    "added": "added",
    "removed": "removed",
    "relabelled": "relabelled",
    "moved": "moved to another side",
    "refolded": "moved to another fold",
    "renamed": "renamed",
}
_HEADINGS = {"moved": "other side", "refolded": "other fold"}


def cell(value: Any) -> str:
    """A value as a table shows it; None is empty."""
    if value is None:
        return ""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else _as_json(value)


def _knob(row: dict[str, Any], when: str) -> str:
    """The value of a param before or after, which is not set in every version."""
    if when not in row:
        return "(not set)"
    value = row[when]
    return printable(value) if isinstance(value, str) else _as_json(value)


def headline(changes: Changes) -> str:
    """How many images changed in which way, in one sentence."""
    counts = {words: int(changes.images[kind].sum()) for kind, words in KINDS_IN_WORDS.items()}
    named = [f"{count:,} {words}" for words, count in counts.items() if count]
    return f"images: {', '.join(named)}" if named else "no image changed"


def class_rows(changes: Changes) -> list[dict[str, Any]]:
    """Of each class, and of all images together."""
    return [*records(changes.classes.rename(columns=_HEADINGS)), _total(changes)]


def side_rows(changes: Changes) -> list[dict[str, Any]]:
    """Images by their side before (rows) and after (columns)."""
    return records(changes.sides.reset_index().rename(columns={"before": "before \\ after"}))


def metric_rows(changes: Changes) -> list[dict[str, str]]:
    """Each figure of the test before and after."""
    return [
        {
            "figure": cell(row["figure"]),
            "before": _figure(row["before"]),
            "after": _figure(row["after"]),
            "change": _change(row["change"]),
        }
        for row in changes.metrics
    ]


def param_rows(changes: Changes) -> list[dict[str, str]]:
    """Each param that differs."""
    return [
        {"param": cell(row["param"]), "before": _knob(row, "before"), "after": _knob(row, "after")}
        for row in changes.params
    ]


def notes(before: Contents, after: Contents, changes: Changes) -> list[str]:
    """What a reader must know before comparing the figures."""
    found = [*before.notes, *after.notes]
    test = changes.test
    if test and not test["before"] == test["after"] == test["both"]:
        found.append(
            f"the figures are of different test images: {test['before']:,} before and "
            f"{test['after']:,} after, {test['both']:,} of them the same"
        )
    return found


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as rows."""
    return table.to_dict("records")


def _total(changes: Changes) -> dict[str, Any]:
    """All images together, each once; labels in and out as the classes count them."""
    images, classes = changes.images, changes.classes
    return {
        "class": "all images",
        "before": int(images["label_before"].notna().sum()),
        "added": int(images["added"].sum()),
        "removed": int(images["removed"].sum()),
        "label in": int(classes["label in"].sum()),
        "label out": int(classes["label out"].sum()),
        "after": int(images["label_after"].notna().sum()),
        **{_HEADINGS.get(kind, kind): int(images[kind].sum()) for kind in list(KINDS_IN_WORDS)[3:]},
    }


def _figure(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(cell(one) for one in value)
    return cell(value)


def _as_json(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False, default=str))


def _change(change: float | None) -> str:
    if change is None:
        return ""
    return f"{change:+.4g}" if change else "0"
