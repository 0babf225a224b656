"""The page that shows changes with pictures."""

from pathlib import Path
from typing import Any

import pandas as pd

from stages.common.pages import fill
from stages.compare import words
from stages.compare.changes import NO_LABEL, Changes
from stages.compare.contents import Contents
from stages.compare.sheets import COLUMNS, HEIGHT, choose, read_images, write_sheet
from stages.compare.versions import Version

_SHEETS = {
    "added": "Added images",
    "removed": "Removed images",
    "relabelled": "Relabelled images",
    "moved": "Images on another side of the split",
}
_MOST_ROWS = 50


def write_page(before: Contents, after: Contents, changes: Changes, folder: Path) -> Path:
    """Write `index.html` and the contact sheets beside it; other files in the folder stay.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sheets = [_sheet(kind, before.version, after.version, changes, folder) for kind in _SHEETS]
    text = fill(
        Path(__file__).with_name("page.html"),
        words.cell,
        names=(before.version.name, after.version.name),
        headline=words.headline(changes),
        notes=words.notes(before, after, changes),
        classes=words.class_rows(changes),
        sides=words.side_rows(changes),
        sheets=[sheet for sheet in sheets if sheet],
        relabelled=_shortened(changes.relabelled),
        renamed=_shortened(_names(changes.images)),
        rejected=_shortened(changes.rejected),
        reasons=changes.reasons.to_dict("records"),
        metrics=words.metric_rows(changes),
        params=words.param_rows(changes),
        candidates=(before.candidate, after.candidate),
        columns=COLUMNS,
        height=HEIGHT,
    )
    page = folder / "index.html"
    page.write_text(text, encoding="utf-8", newline="\n")
    return page


def _sheet(
    kind: str, before: Version, after: Version, changes: Changes, folder: Path
) -> dict[str, Any] | None:
    """Draw the images of one kind of change; what stood there of an earlier comparison goes."""
    path = folder / f"{kind}.jpg"
    path.unlink(missing_ok=True)
    images = changes.images[changes.images[kind]]
    if images.empty:
        return None
    side = "before" if kind == "removed" else "after"
    groups = _captions(kind, images)
    shown = images.loc[choose(groups)].assign(group=groups)
    shown = shown.sort_values(["group", f"source_{side}"], kind="stable")
    places = shown[[f"part_{side}", f"row_{side}"]].set_axis(["part", "row"], axis=1)
    width = write_sheet(read_images(before if side == "before" else after, places), path)
    return {
        "id": kind,
        "title": _SHEETS[kind],
        "file": path.name,
        "width": width,
        "total": len(images),
        "shown": len(shown),
        "groups": _groups(shown, groups.value_counts(), side),
    }


def _captions(kind: str, images: pd.DataFrame) -> pd.Series:
    """What images stand under: their label, or what they changed from and to."""
    if kind in ("added", "removed"):
        label = images[f"label_{'after' if kind == 'added' else 'before'}"]
        return label.replace("", NO_LABEL)
    column = {"relabelled": "label", "moved": "split"}[kind]
    old, new = (images[f"{column}_{when}"].replace("", NO_LABEL) for when in ("before", "after"))
    return old + " -> " + new


def _groups(shown: pd.DataFrame, totals: pd.Series, side: str) -> list[dict[str, Any]]:
    """Each group with its total and its images: source, label and place in the sheet."""
    numbered = shown.assign(number=range(len(shown)))
    return [
        {
            "name": name,
            "total": int(totals[name]),
            "images": [
                {"source": source, "label": label, "column": n % COLUMNS, "line": n // COLUMNS}
                for source, label, n in zip(
                    members[f"source_{side}"],
                    members[f"label_{side}"],
                    members["number"],
                    strict=True,
                )
            ],
        }
        for name, members in numbered.groupby("group", sort=False)
    ]


def _names(images: pd.DataFrame) -> pd.DataFrame:
    renamed = images.loc[images["renamed"], ["source_before", "source_after"]]
    return renamed.set_axis(["before", "after"], axis=1).sort_values(["before", "after"])


def _shortened(table: pd.DataFrame) -> dict[str, Any]:
    return {"rows": table[:_MOST_ROWS].to_dict("records"), "total": len(table)}
