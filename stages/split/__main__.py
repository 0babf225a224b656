"""Stage `split`: each image gets a side (train, validation, test) and a fold in each repeat."""

import numpy as np
import pandas as pd

from stages.common.encoding import truth
from stages.common.errors import InputError
from stages.common.params import Params, Split
from stages.common.paths import CLASSES, MANIFEST, REPORTS, SPLITS, TARGETS
from stages.common.randomness import digest
from stages.common.stage import log, run
from stages.common.tables import read_json, read_table, write_table
from stages.split.allocate import allocate
from stages.split.strata import find_strata

SIDES = ["train", "validation", "test"]
NO_FOLD = -1


def main(params: Params) -> None:
    """Share out the images of the manifest; test images stand in no fold."""
    manifest, facts = read_table(MANIFEST), read_json(CLASSES)
    task, groups = facts["task"], manifest["group"].to_numpy()
    targets = read_table(TARGETS).drop(columns="id").to_numpy()
    strata, names = find_strata(
        truth(targets, task, facts["encoder"]), task, facts["classes"], groups
    )
    sides, folds = share_out(groups, strata, params.split)
    columns = fold_columns(params.split.repeats)
    table = manifest[["id"]].assign(split=np.array(SIDES)[sides])
    table[columns] = folds
    counts = _count(manifest, table, strata, names)
    if params.split.stratify and task != "regression":
        _refuse_missing(counts, groups, strata, names)
    if table["split"].nunique() < len(SIDES):
        raise InputError(
            f"split: expected images for each of {', '.join(SIDES)}, found {len(manifest)} in "
            f"{manifest['group'].nunique()} groups of repeats; add photos"
        )
    _refuse_empty_folds(folds, params.split)
    write_table(table, SPLITS)
    write_table(counts, REPORTS / "split" / "summary.csv")
    totals = table["split"].value_counts()
    log("split: " + ", ".join(f"{side} {totals[side]}" for side in SIDES))


def fold_columns(repeats: int) -> list[str]:
    """The column of each repeat in `splits.csv`."""
    return ["fold", *(f"fold_{number}" for number in range(2, repeats + 1))]


def share_out(
    groups: np.ndarray, strata: np.ndarray, split: Split
) -> tuple[np.ndarray, np.ndarray]:
    """Side (index into `SIDES`) and folds of each image; groups are never divided.

    Args:
        groups: (n,) group of each image.
        strata: (n, s) membership, as `find_strata` gives it. The sides ignore it without
            `split.stratify`, the folds with `split.kind` KFold.
        split: The params.

    Returns:
        int64 (n,) and (n, repeats).
    """
    alike = np.ones((len(groups), 1), dtype=np.int64)
    ratios = np.array([getattr(split.ratios, side) for side in SIDES])
    sides = allocate(
        groups,
        strata if split.stratify else alike,
        ratios,
        lambda group: digest(split.seed, "side", group),
    )
    folds = np.full((len(groups), split.repeats), NO_FOLD)
    pool = sides != SIDES.index("test")
    of_folds = alike if split.kind == "KFold" else strata
    for repeat, name in enumerate(fold_columns(split.repeats)):
        folds[pool, repeat] = allocate(
            groups[pool],
            of_folds[pool],
            np.ones(split.folds),
            lambda group, name=name: digest(split.seed, name, group),
        )
    return sides, folds


def _count(
    manifest: pd.DataFrame, table: pd.DataFrame, strata: np.ndarray, names: list[str]
) -> pd.DataFrame:
    """Images and groups of each stratum, per side and fold of the first repeat."""
    images, stratum = np.nonzero(strata)
    members = manifest[["id", "group"]].assign(
        split=pd.Categorical(table["split"], SIDES), fold=table["fold"]
    )
    members = members.iloc[images].assign(label=pd.Categorical.from_codes(stratum, names))
    grouped = members.groupby(["split", "fold", "label"], observed=True)
    return grouped.agg(images=("id", "size"), groups=("group", "nunique")).reset_index()


def _refuse_missing(
    counts: pd.DataFrame, groups: np.ndarray, strata: np.ndarray, names: list[str]
) -> None:
    """Refuse a class or label that is missing on a side; having none of the labels is no label."""
    sides = counts.groupby("label", observed=True)["split"].nunique()
    for name, members in zip(names, strata.T.astype(bool), strict=True):
        if name and sides.get(name, 0) < len(SIDES):
            raise InputError(
                f"class {name!r}: expected photos enough for each of {', '.join(SIDES)}, found "
                f"{members.sum()} in {len(set(groups[members]))} groups of repeats; "
                "add photos, remove the class, or set split.stratify: false"
            )


def _refuse_empty_folds(folds: np.ndarray, split: Split) -> None:
    filled = min(len(set(repeat) - {NO_FOLD}) for repeat in folds.T)
    if filled < split.folds:
        raise InputError(
            f"split.folds: expected at most {filled}, since there are so few groups of images "
            f"beside the test images, received {split.folds}"
        )


if __name__ == "__main__":
    run(main)
