"""Sharing out images to sides or folds, whole groups at a time."""

from collections.abc import Callable

import numpy as np


def allocate(
    groups: np.ndarray,
    strata: np.ndarray,
    ratios: np.ndarray,
    priority: Callable[[str], bytes],
) -> np.ndarray:
    """Give each group to one side so that every stratum keeps the ratios.

    The groups come one by one, large ones first (they are the hardest to place), each to the
    side that still lacks most of the strata in it. For groups of one image this ends within one
    image of the exact ratio in every stratum, as far as each side gets one image at all; a
    larger group can shift it by its size.

    Where images belong to several strata, the groups of the rarest stratum come first, each to
    the side that still lacks most of that one, and then those of the next: a common stratum can
    be evened out later, a rare one cannot. (Sechidis et al. 2011, "On the stratification of
    multi-label data", with an order that is settled at the start.)

    Args:
        groups: (n,) group of each image.
        strata: int (n, s), 1 where an image belongs to a stratum; at least one in each row.
        ratios: (sides,) positive; only the proportions count.
        priority: The order of groups that are alike in stratum and size: a hash of the group, so
            that it does not depend on what other groups there are.

    Returns:
        int64 (n,): the side of each image. A stratum of at least as many groups as sides gets
        a place on each of them, as long as its groups are of that stratum alone.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), strata.shape[1]), dtype=np.int64)
    np.add.at(counts, group_of, strata)
    leading, rank = _lead(counts, strata)
    lacking = _wanted(counts.sum(axis=0), np.asarray(ratios, dtype=float))
    empty, to_come = np.ones(lacking.shape, dtype=bool), (counts > 0).sum(axis=0)
    side_of, sizes = np.empty(len(names), dtype=np.int64), np.bincount(group_of)

    def turn(group: int) -> tuple:
        return rank[group], -sizes[group], priority(names[group])

    for group in sorted(range(len(names)), key=turn):
        gain, gain_of_all = lacking @ leading[group], lacking @ counts[group]
        present = counts[group] > 0
        # The last groups of a stratum go where it still has no place.
        scarce = present & (to_come <= empty.sum(axis=0))
        without = (empty & scarce).any(axis=1)
        allowed = without if without.any() else np.ones_like(without)
        side = np.lexsort((-gain_of_all, -gain, ~allowed))[0]
        side_of[group] = side
        lacking[side] -= counts[group]
        empty[side] &= ~present
        to_come -= present
    return side_of[group_of]


def _lead(counts: np.ndarray, strata: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The counts that decide on each group's side, (groups, s), and its turn, (groups,).

    All its counts at once where no image belongs to two strata; else those of its rarest.
    """
    if strata.sum(axis=1).max(initial=1) == 1:
        return counts, np.zeros(len(counts), dtype=np.int64)
    ranks = np.empty(counts.shape[1], dtype=np.int64)
    ranks[np.argsort(counts.sum(axis=0), kind="stable")] = np.arange(counts.shape[1])
    of_group = np.where(counts > 0, ranks, counts.shape[1])
    rank = of_group.min(axis=1)
    return np.where(of_group == rank[:, None], counts, 0), rank


def _wanted(totals: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """How many images of each stratum each side should get: (sides, strata).

    A small side gets one image of a small stratum rather than a fraction that rounds to none;
    the largest side gives it.
    """
    # In whole 1024ths every later sum is exact: 6:3:1 and 0.6:0.3:0.1 break their ties alike, and
    # so do all processors.
    wanted = np.rint(np.outer(ratios / ratios.sum(), totals) * 1024) / 1024
    raised = np.where(totals >= len(ratios), np.maximum(wanted, 1), wanted)
    raised[ratios.argmax()] -= raised.sum(axis=0) - totals
    return raised
