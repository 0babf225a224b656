"""How well the sides and folds of a split keep the ratios in each class."""

import numpy as np
import pandas as pd

from stages.common.params import Split
from stages.split.assign import NO_FOLD
from stages.split.given import SIDES


def count(
    table: pd.DataFrame, groups: np.ndarray, strata: np.ndarray, names: list[str]
) -> pd.DataFrame:
    """Images and groups of each stratum, per side and fold of the first repeat.

    Args:
        table: As `splits.csv`; an image without a side is not counted.
        groups: (n,) group of each image.
        strata, names: As `find_strata` gives them.

    Returns:
        `split`, `fold`, `label`, `images`, `groups`, a row for each that has an image.
    """
    images, stratum = np.nonzero(strata)
    sides = pd.Categorical(table["split"].replace("", None), SIDES)
    members = pd.DataFrame({"split": sides, "fold": table["fold"], "group": groups})
    members = members.iloc[images].assign(label=pd.Categorical.from_codes(stratum, names))
    grouped = members.groupby(["split", "fold", "label"], observed=True)
    return grouped.agg(images=("group", "size"), groups=("group", "nunique")).reset_index()


def compare_ratios(
    table: pd.DataFrame, strata: np.ndarray, names: list[str], split: Split
) -> pd.DataFrame:
    """The wanted and the reached share of each stratum, per side and fold of every repeat.

    Args:
        table, strata, names: As for `count`.
        split: The params.

    Returns:
        A row for each `label`, `division` (`split`, `fold`, `fold_2`, ...: the columns of `table`)
        and `place` in it, with `images`, `wanted` and `reached`: shares of those images of the
        label that have a place in the division; NaN where none has.
    """
    ratios = np.array([getattr(split.ratios, side) for side in SIDES])
    tables = []
    for division in table.columns[1:]:
        places = SIDES if division == "split" else range(split.folds)
        wanted = ratios / ratios.sum() if division == "split" else [1 / split.folds] * split.folds
        images = np.array([strata[table[division] == place].sum(axis=0) for place in places]).T
        total = images.sum(axis=1, keepdims=True)
        reached = np.divide(images, total, out=np.full(images.shape, np.nan), where=total > 0)
        label, place = np.indices(images.shape).reshape(2, -1)
        tables.append(
            pd.DataFrame(
                {
                    "label": np.array(names, dtype=object)[label],
                    "division": division,
                    "place": [str(places[one]) for one in place],
                    "images": images.ravel(),
                    "wanted": np.take(wanted, place),
                    "reached": reached.ravel(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def largest_deviation(ratios: pd.DataFrame) -> dict[str, str | int | float]:
    """Where a side is farthest from the wanted share of a label.

    Args:
        ratios: Of `compare_ratios`.

    Returns:
        `label`, `side`, `wanted`, `reached`, and `images`: how many of the label have a side.
    """
    sides = ratios[ratios["division"] == "split"]
    worst = sides.loc[(sides["reached"] - sides["wanted"]).abs().idxmax()]
    of_label = sides.loc[sides["label"] == worst["label"], "images"].sum()
    return {
        "label": worst["label"],
        "side": worst["place"],
        "wanted": float(worst["wanted"]),
        "reached": float(worst["reached"]),
        "images": int(of_label),
    }


def missing(ratios: pd.DataFrame) -> list[dict[str, str]]:
    """Each `label` without an image on a `side`; having none of the labels is no label."""
    none = ratios[
        (ratios["division"] == "split") & (ratios["images"] == 0) & (ratios["label"] != "")
    ]
    return none[["label", "place"]].rename(columns={"place": "side"}).to_dict("records")


def filled_folds(folds: np.ndarray) -> int:
    """How many folds have an image, in the repeat in which the fewest have: folds is (n, r)."""
    return min(len(set(repeat) - {NO_FOLD}) for repeat in folds.T)
