"""The balance of a split as a picture."""

from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from stages.common.charts import BLUE, GREY, ORANGE, save_chart, short_name

# The green is of Okabe and Ito 2008, too.
_COLORS = {"train": BLUE, "validation": ORANGE, "test": "#009e73"}
_MOST_LABELS = 100
# Up to so many labels a row has room for text of full size.
_FEW_LABELS = 30


def draw_balance(ratios: pd.DataFrame, path: Path) -> None:
    """A row for each label: which share of its images each side has, and beside it each fold.

    Lines stand at the wanted shares. Of very many labels those are drawn that are farthest off.

    Args:
        ratios: Of `compare_ratios`; the folds of its first repeat are drawn.
        path: Of the SVG.
    """
    known = ratios[ratios["reached"].notna()]
    labels = _farthest(known)
    known = known[known["label"].isin(labels)]
    places = {label: place for place, label in enumerate(labels)}
    few = len(labels) <= _FEW_LABELS
    height = 1.3 + (0.3 if few else 0.17) * len(labels)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, height), sharey=True, width_ratios=[3, 2]
    )
    of_sides = known[known["division"] == "split"]
    for side, shares in of_sides.groupby("place", sort=False):
        _draw_dots(left, shares, places, _COLORS[side], side)
    _draw_dots(right, known[known["division"] == "fold"], places, GREY, None)
    left.set_yticks(
        range(len(labels)),
        [_name(label, of_sides) for label in labels],
        fontsize=10 if few else 7,
        parse_math=False,
    )
    left.set(xlim=(-0.02, 1.02), ylim=(len(labels) - 0.5, -0.5))
    left.set_xlabel("share on each side (dotted: wanted)")
    right.set(xlim=(-0.02, max(0.4, right.get_xlim()[1])))
    right.set_xlabel("share in each fold")
    if len(labels) < ratios["label"].nunique():
        left.set_title(f"the {len(labels)} labels that are farthest off", loc="left", fontsize=10)
    figure.legend(frameon=False, ncols=3, loc="outside upper right")
    save_chart(figure, path)


def _farthest(known: pd.DataFrame) -> list[str]:
    """The labels to draw, in the order of the table."""
    of_sides = known[known["division"] == "split"]
    off = (of_sides["reached"] - of_sides["wanted"]).abs().groupby(of_sides["label"]).max()
    drawn = set(off.sort_values(ascending=False, kind="stable").index[:_MOST_LABELS])
    return [label for label in of_sides["label"].unique() if label in drawn]


def _draw_dots(
    axes: Axes, shares: pd.DataFrame, places: dict[str, int], color: str, name: str | None
) -> None:
    for wanted in shares["wanted"].unique():
        axes.axvline(wanted, color=color, linewidth=0.8, linestyle=":")
    axes.grid(axis="y", color="#eeeeee")
    rows = shares["label"].map(places)
    axes.plot(shares["reached"], rows, "o", color=color, alpha=0.7, markersize=5, label=name)


def _name(label: str, of_sides: pd.DataFrame) -> str:
    """As much of a label as there is room for, and how many images it has."""
    images = of_sides.loc[of_sides["label"] == label, "images"].sum()
    return f"{short_name(label) or '(none)'} ({images:,})"
