"""Sides and folds of all images."""

import numpy as np

from stages.common.params import Split
from stages.common.randomness import digest
from stages.split.allocate import allocate
from stages.split.given import SIDES
from stages.split.stable import draw

NO_SIDE = -1
NO_FOLD = -1


def fold_columns(repeats: int) -> list[str]:
    """The column of each repeat in `splits.csv`."""
    return ["fold", *(f"fold_{number}" for number in range(2, repeats + 1))]


def share_out(
    groups: np.ndarray, strata: np.ndarray, allowed: np.ndarray, split: Split
) -> tuple[np.ndarray, np.ndarray]:
    """Side (index into `SIDES`) and folds of each image; groups are never divided.

    Images that may stand on the same sides are shared out among these by the ratios, each such
    lot for itself.

    Args:
        groups: (n,) group of each image.
        strata: (n, s) membership, as `find_strata` gives it. With assignment stratified the sides
            keep the ratios in each, unless `split.stratify` is false; and so do the folds, unless
            `split.kind` is KFold.
        allowed: bool (n, sides), as `allowed_sides` gives it.
        split: The params.

    Returns:
        int64 (n,), `NO_SIDE` where no side is allowed, and int64 (n, repeats), `NO_FOLD` for these
        and for test images.
    """
    alike = np.ones((len(groups), 1), dtype=np.int64)
    ratios = np.array([getattr(split.ratios, side) for side in SIDES])
    of_sides = strata if split.stratify else alike
    sides = np.full(len(groups), NO_SIDE)
    for pattern in np.unique(allowed, axis=0):
        lot, choice = (allowed == pattern).all(axis=1), np.flatnonzero(pattern)
        if len(choice):
            shared = _divide(groups[lot], of_sides[lot], ratios[choice], split, "side")
            sides[lot] = choice[shared]
    folds = np.full((len(groups), split.repeats), NO_FOLD)
    pool = (sides != NO_SIDE) & (sides != SIDES.index("test"))
    of_folds = alike if split.kind == "KFold" else strata
    for repeat, name in enumerate(fold_columns(split.repeats)):
        folds[pool, repeat] = _divide(
            groups[pool], of_folds[pool], np.ones(split.folds), split, name
        )
    return sides, folds


def _divide(
    groups: np.ndarray, strata: np.ndarray, ratios: np.ndarray, split: Split, purpose: str
) -> np.ndarray:
    if split.assignment == "stable" or len(ratios) == 1:
        return draw(groups, ratios, split.seed, purpose)
    return allocate(groups, strata, ratios, lambda group: digest(split.seed, purpose, group))
