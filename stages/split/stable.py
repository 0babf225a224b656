"""Sharing out groups by a hash of each alone."""

import numpy as np

from stages.common.randomness import uniforms


def draw(groups: np.ndarray, ratios: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """Give each group to the side on which a random number of its own falls.

    What becomes of a group depends on nothing but its name, so that no other group can move it.
    The ratios hold on average: of n groups, a side with the share p gets n * p, give or take
    sqrt(n * p * (1 - p)).

    Args:
        groups: (n,) group of each image.
        ratios: (sides,) positive; only the proportions count.
        seed: The seed from the params.
        purpose: What is shared out; each has random numbers of its own.

    Returns:
        int64 (n,): the side of each image.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    numbers = np.array([uniforms(1, seed, purpose, name)[0] for name in names])
    ends = np.cumsum(ratios)[:-1] / np.sum(ratios)
    return np.searchsorted(ends, numbers, side="right")[group_of]
