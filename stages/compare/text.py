"""Changes as text: for people on a terminal, and for programs."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from stages.common.errors import printable
from stages.compare.changes import KINDS, Changes
from stages.compare.contents import Contents
from stages.compare.words import (
    cell,
    class_rows,
    headline,
    metric_rows,
    notes,
    param_rows,
    records,
    side_rows,
)

_MANY = 20


def to_text(before: Contents, after: Contents, changes: Changes) -> str:
    """Everything but the pictures, for a terminal."""
    classes, left_out = _changed_classes(changes)
    params = "".join(
        f"  {row['param']} {row['before']} -> {row['after']}\n" for row in param_rows(changes)
    )
    blocks = [
        f"{printable(before.version.name)} -> {printable(after.version.name)}\n"
        f"{headline(changes)}\n",
        "".join(f"note: {printable(one)}\n" for one in notes(before, after, changes)),
        _block("Images by class", aligned(classes) + left_out),
        _block("Labels that changed", aligned(_label_rows(changes))),
        _block("Images by side of the split", aligned(side_rows(changes))),
        _block("Rejected files by reason", aligned(records(changes.reasons))),
        _block("Figures of the test images", aligned(metric_rows(changes))),
        _block("Params that differ", params),
        _candidates(before, after),
    ]
    return "\n".join(block for block in blocks if block)


def to_json(before: Contents, after: Contents, changes: Changes) -> str:
    """Everything but the pictures, for programs: one object with sorted keys."""
    facts = {
        "before": before.version.name,
        "after": after.version.name,
        "notes": notes(before, after, changes),
        "counts": {kind: int(changes.images[kind].sum()) for kind in KINDS},
        "classes": records(changes.classes),
        "images": {kind: _image_facts(changes.images[changes.images[kind]]) for kind in KINDS},
        "sides": {
            old: {new: int(count) for new, count in row.items()}
            for old, row in changes.sides.iterrows()
        },
        "rejected": records(changes.rejected),
        "metrics": changes.metrics,
        "params": changes.params,
        "candidate": {"before": before.candidate, "after": after.candidate},
        "test": changes.test,
    }
    return json.dumps(facts, indent=1, sort_keys=True, default=str) + "\n"


def aligned(rows: Sequence[dict[str, Any]]) -> str:
    """A table as text, indented: the first column to the left, the others to the right."""
    if not rows:
        return ""
    lines = [list(map(cell, line)) for line in [rows[0], *(row.values() for row in rows)]]
    first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ""
    for line in lines:
        cells = [one.rjust(width) for one, width in zip(line[1:], others, strict=True)]
        text += f"  {'  '.join([line[0].ljust(first), *cells]).rstrip()}\n"
    return text


def _changed_classes(changes: Changes) -> tuple[list[dict[str, Any]], str]:
    """Of the classes that changed, if there are many; and what is left out, in words."""
    *classes, total = class_rows(changes)
    same = {"class", "before", "after"}
    changed = [row for row in classes if any(row[name] for name in row.keys() - same)]
    if len(classes) <= _MANY or len(changed) == len(classes):
        return [*classes, total], ""
    count = len(classes) - len(changed)
    return [*changed, total], f"  ({count:,} classes did not change)\n"


def _label_rows(changes: Changes) -> list[dict[str, Any]]:
    """The commonest changes of labels."""
    rows = records(changes.relabelled[:_MANY])
    if len(changes.relabelled) > _MANY:
        rows.append({"before": f"... of {len(changes.relabelled):,}", "after": "", "images": ""})
    return rows


def _block(title: str, text: str) -> str:
    return f"{title}\n{text}" if text else ""


def _candidates(before: Contents, after: Contents) -> str:
    if before.candidate is None and after.candidate is None:
        return ""
    old, new = (cell(one.candidate) or "(none)" for one in (before, after))
    return f"Candidate: {old} -> {new}\n" if old != new else f"Candidate: {old}, as before\n"


def _image_facts(images: pd.DataFrame) -> list[dict[str, Any]]:
    """Source, label, side and fold of images before and after, as far as each version has them."""
    wanted = images.filter(regex="^(source|label|split|fold(_[0-9]+)?)_(before|after)$")
    return [
        {"id": key, **{name: value for name, value in row.items() if not pd.isna(value)}}
        for key, row in zip(wanted.index, wanted.to_dict("records"), strict=True)
    ]
