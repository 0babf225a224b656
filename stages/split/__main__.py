"""Stage `split`: each image gets a side (train, validation, test) and a fold."""

import numpy as np
import pandas as pd

from stages.common.encoding import codes
from stages.common.errors import InputError
from stages.common.params import Params, Split
from stages.common.paths import CLASSES, MANIFEST, REPORTS, SPLITS, TARGETS
from stages.common.randomness import digest
from stages.common.stage import log, run
from stages.common.tables import read_json, read_table, write_table
from stages.split.allocate import allocate

SIDES = ["train", "validation", "test"]
NO_FOLD = -1


def main(params: Params) -> None:
    """Share out the images of the manifest; test images stand in no fold."""
    manifest, facts = read_table(MANIFEST), read_json(CLASSES)
    targets = read_table(TARGETS).drop(columns="id").to_numpy()
    strata = codes(targets, facts["encoder"])
    sides, folds = share_out(manifest["group"].to_numpy(), strata, params.split)
    table = manifest[["id"]].assign(split=np.array(SIDES)[sides], fold=folds)
    counts = _count(manifest, table)
    if params.split.stratify:
        _refuse_missing(counts, manifest)
    if counts["split"].nunique() < len(SIDES):
        raise InputError(
            f"split: expected images for each of {', '.join(SIDES)}, found {len(manifest)} in "
            f"{manifest['group'].nunique()} groups of repeats; add photos"
        )
    filled = table["fold"].nunique() - (NO_FOLD in table["fold"].to_numpy())
    if filled < params.split.folds:
        raise InputError(
            f"split.folds: expected at most {filled}, since there are so few groups of images "
            f"beside the test images, received {params.split.folds}"
        )
    write_table(table, SPLITS)
    write_table(counts, REPORTS / "split" / "summary.csv")
    totals = counts.groupby("split", sort=False)["images"].sum()
    log("split: " + ", ".join(f"{side} {totals[side]}" for side in SIDES if side in totals))


def share_out(
    groups: np.ndarray, strata: np.ndarray, split: Split
) -> tuple[np.ndarray, np.ndarray]:
    """Side (index into `SIDES`) and fold of each image; groups are never divided.

    Args:
        groups: (n,) group of each image.
        strata: (n,) int class of each image; ignored without `split.stratify`.
        split: The params.
    """
    if not split.stratify:
        strata = np.zeros_like(strata)
    ratios = np.array([getattr(split.ratios, side) for side in SIDES])
    sides = allocate(groups, strata, ratios, lambda group: digest(split.seed, "side", group))
    folds = np.full(len(groups), NO_FOLD)
    pool = sides != SIDES.index("test")
    folds[pool] = allocate(
        groups[pool],
        strata[pool],
        np.ones(split.folds),
        lambda group: digest(split.seed, "fold", group),
    )
    return sides, folds


def _count(manifest: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Images and groups of each class, per side and fold."""
    joined = manifest.assign(split=pd.Categorical(table["split"], SIDES), fold=table["fold"])
    grouped = joined.groupby(["split", "fold", "label"], observed=True)
    return grouped.agg(images=("id", "size"), groups=("group", "nunique")).reset_index()


def _refuse_missing(counts: pd.DataFrame, manifest: pd.DataFrame) -> None:
    present = counts.groupby("label")["split"].nunique()
    missing = sorted(present.index[present < len(SIDES)])
    if missing:
        of_class = manifest[manifest["label"] == missing[0]]
        raise InputError(
            f"class {missing[0]!r}: expected photos enough for each of {', '.join(SIDES)}, found "
            f"{len(of_class)} in {of_class['group'].nunique()} groups of repeats; "
            "add photos, remove the class, or set split.stratify: false"
        )


if __name__ == "__main__":
    run(main)
