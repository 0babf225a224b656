"""What differs between two versions of the data, and of what was made of it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stages.compare.contents import NO_SIDE, Contents, labels_in

KINDS = ("added", "removed", "relabelled", "moved", "refolded", "renamed")
NUMBERS = "(numbers)"
NO_LABEL = "(none)"
NEW, GONE = "(added)", "(removed)"
_SIDES = ["train", "validation", "test", NO_SIDE]


@dataclass(frozen=True)
class Changes:
    """What differs between two versions.

    Attributes:
        images: Of both versions. Index `id`; each column of `Contents.images` with the suffix
            `_before` and `_after` (missing where a version lacks the image), and a boolean column
            for each of `KINDS`.
        classes: A row for each class (of several labels: each label; of numbers: one row), with
            `before`, `added`, `removed`, `label in`, `label out`, `after`, `moved`, `refolded`,
            `renamed`; before + added - removed + label in - label out = after.
        sides: Images by their side before (rows, `NEW` for added ones) and after (columns, `GONE`
            for removed ones); empty if a version has no splits.
        relabelled: `before`, `after` and `images` of each pair of labels, the most frequent first.
        rejected: Files that are rejected in one version alone: `change` (new, gone), `source`,
            `reason`, `detail`.
        reasons: `reason`, `before`, `new`, `gone`, `after`.
        metrics: `figure`, `before`, `after`, `change` (None unless both are numbers) of each.
        params: `param`, `before`, `after` of those that differ; those not set are missing.
        test: Test images `before`, `after` and in `both`; None if a version has no splits.
    """

    images: pd.DataFrame
    classes: pd.DataFrame
    sides: pd.DataFrame
    relabelled: pd.DataFrame
    rejected: pd.DataFrame
    reasons: pd.DataFrame
    metrics: list[dict[str, Any]]
    params: list[dict[str, Any]]
    test: dict[str, int] | None


def compare(before: Contents, after: Contents) -> Changes:
    """Everything that differs; images are the same if their ids are."""
    images = compare_images(before.images, after.images)
    known = images["split_before"].notna().any() and images["split_after"].notna().any()
    rejected = _compare_rejected(before.rejected, after.rejected)
    return Changes(
        images,
        _count_classes(images, before, after),
        _count_sides(images) if known else pd.DataFrame(),
        _count_labels(images),
        rejected,
        _count_reasons(before.rejected, rejected),
        _compare_figures(before.metrics, after.metrics),
        _compare_params(before.params, after.params),
        _count_test(images) if known else None,
    )


def compare_images(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """`Changes.images` of two tables `Contents.images`."""
    both = before.add_suffix("_before").join(after.add_suffix("_after"), how="outer").sort_index()
    both.index.name = "id"
    both["added"], both["removed"] = both["label_before"].isna(), both["label_after"].isna()
    for kind, column in [("relabelled", "label"), ("moved", "split"), ("renamed", "source")]:
        both[kind] = _differs(both, column)
    folds = [name for name in before if name.startswith("fold") and name in after]
    both["refolded"] = False
    for name in folds:
        both["refolded"] |= _differs(both, name)
    return both


def _differs(both: pd.DataFrame, column: str) -> pd.Series:
    """Where a value is known in both versions, and another."""
    old, new = both[f"{column}_before"], both[f"{column}_after"]
    return (old.notna() & new.notna() & (old != new)).astype(bool)


def _count_classes(images: pd.DataFrame, before: Contents, after: Contents) -> pd.DataFrame:
    classes = _classes(images["label_before"], before).merge(
        _classes(images["label_after"], after), how="outer", indicator="stands"
    )
    facts = classes.join(images[list(KINDS)], on="id")
    gained, lost = facts["stands"] == "right_only", facts["stands"] == "left_only"
    counted = {
        "before": ~gained,
        "added": gained & facts["added"],
        "removed": lost & facts["removed"],
        "label in": gained & ~facts["added"],
        "label out": lost & ~facts["removed"],
        "after": ~lost,
        **{kind: facts[kind] & ~lost for kind in ["moved", "refolded", "renamed"]},
    }
    return facts[["class"]].assign(**counted).groupby("class").sum().astype(int).reset_index()


def _classes(labels: pd.Series, contents: Contents) -> pd.DataFrame:
    """`id` and `class` of each image, in a row for each of its labels."""

    def of_cell(cell: str) -> list[str]:
        if contents.task == "regression":
            return [NUMBERS]
        single = contents.task != "multilabel"
        return ([cell] if single and cell else sorted(labels_in(cell, contents.separator))) or [
            NO_LABEL
        ]

    known = labels.dropna()
    classes = known.map({cell: of_cell(cell) for cell in set(known)}).explode()
    return classes.rename("class").rename_axis("id").astype(object).reset_index()


def _count_sides(images: pd.DataFrame) -> pd.DataFrame:
    counts = pd.crosstab(images["split_before"].fillna(NEW), images["split_after"].fillna(GONE))
    rows, columns = _in_order({*counts.index, *counts.columns}), list(counts.columns)
    table = counts.reindex(
        index=[one for one in [*rows, NEW] if one in counts.index],
        columns=[one for one in [*rows, GONE] if one in columns],
    )
    return table.rename_axis(index="before", columns="after")


def _in_order(sides: Iterable[str]) -> list[str]:
    others = sorted(set(sides) - {*_SIDES, NEW, GONE})
    return [*_SIDES, *others]


def _count_labels(images: pd.DataFrame) -> pd.DataFrame:
    changed = images[images["relabelled"]].rename(
        columns={"label_before": "before", "label_after": "after"}
    )
    counts = changed.groupby(["before", "after"]).size().rename("images").reset_index()
    return counts.sort_values(["images", "before", "after"], ascending=[False, True, True])


def _compare_rejected(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """A file can be rejected more than once: two rows of a table may name it."""
    columns = ["source", "reason"]
    old, new = (Counter(table[columns].itertuples(False, None)) for table in (before, after))
    details = {
        row[:2]: row[2]
        for table in (before, after)
        for row in table[[*columns, "detail"]].itertuples(False, None)
    }
    rows = [
        (change, *one, details[one])
        for change, changed in [("new", new - old), ("gone", old - new)]
        for one in sorted(changed.elements())
    ]
    return pd.DataFrame(rows, columns=["change", *columns, "detail"])


def _count_reasons(before: pd.DataFrame, changed: pd.DataFrame) -> pd.DataFrame:
    counts = pd.DataFrame(
        {
            "before": before["reason"].value_counts(),
            "new": changed.loc[changed["change"] == "new", "reason"].value_counts(),
            "gone": changed.loc[changed["change"] == "gone", "reason"].value_counts(),
        }
    )
    counts = counts.fillna(0).astype(int).sort_index()
    counts["after"] = counts["before"] + counts["new"] - counts["gone"]
    return counts.rename_axis("reason").reset_index()


def _compare_figures(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "figure": name,
            "before": before.get(name),
            "after": after.get(name),
            "change": _change(before.get(name), after.get(name)),
        }
        for name in sorted({*before, *after})
    ]


def _change(before: Any, after: Any) -> float | int | None:
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in (before, after)):
        return None
    change = after - before
    return round(change, 12) if isinstance(change, float) else change


def _compare_params(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name in sorted({*before, *after}):
        row = {"param": name}
        row |= {
            when: params[name]
            for when, params in [("before", before), ("after", after)]
            if name in params
        }
        if len(row) < 3 or row["before"] != row["after"]:
            rows.append(row)
    return rows


def _count_test(images: pd.DataFrame) -> dict[str, int]:
    before, after = (images[f"split_{when}"] == "test" for when in ("before", "after"))
    return {
        "before": int(before.sum()),
        "after": int(after.sum()),
        "both": int((before & after).sum()),
    }
