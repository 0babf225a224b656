"""What a split keeps the ratios of: the strata of each image."""

import numpy as np

from stages.common.tasks import TaskName

# Regression: a bin of ten groups can be shared out 6:3:1, and ten bins follow a target closely.
_GROUPS_IN_BIN = 10
_MOST_BINS = 10


def find_strata(
    truth: np.ndarray, task: TaskName, classes: list[str], groups: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """The strata of each image.

    Args:
        truth: What is true of each of the n images, as `encoding.truth` gives it.
        task: What is to be learned.
        classes: In the order of their codes.
        groups: (n,) group of each image.

    Returns:
        int64 (n, strata), 1 where an image belongs to a stratum, with at least one in each row;
        and the name of each stratum. Binary and multiclass: the classes. Multilabel: the labels,
        and under the empty name the images to which none applies, if there are any. Regression:
        bins between quantiles of the target, named by their lowest and highest value.
    """
    if task == "multilabel":
        none = (truth.sum(axis=1) == 0).astype(np.int64)
        return (np.column_stack([truth, none]), [*classes, ""]) if none.any() else (truth, classes)
    if task == "regression":
        bins = quantile_bins(truth, len(np.unique(groups)) // _GROUPS_IN_BIN)
        return np.eye(bins.max() + 1, dtype=np.int64)[bins], _name_bins(truth, bins)
    return np.eye(len(classes), dtype=np.int64)[truth], classes


def quantile_bins(values: np.ndarray, wanted: int) -> np.ndarray:
    """Number of the bin of each value, counted from the lowest.

    Equal values stand in one bin, so there may be fewer bins than wanted, and larger ones.

    Args:
        values: (n,) numbers, n at least 1.
        wanted: How many bins of one size; 1 and `_MOST_BINS` are the limits.
    """
    lower = np.searchsorted(np.sort(values), values)  # how many values are smaller
    bins = lower * min(max(wanted, 1), _MOST_BINS) // len(values)
    return np.unique(bins, return_inverse=True)[1].reshape(-1)


def _name_bins(values: np.ndarray, bins: np.ndarray) -> list[str]:
    """The lowest and the highest value of each bin, with as many digits as tell them apart."""
    limits = [
        (values[bins == one].min(), values[bins == one].max()) for one in range(bins.max() + 1)
    ]
    for digits in range(6, 18):
        texts = [(f"{low:.{digits}g}", f"{high:.{digits}g}") for low, high in limits]
        names = [low if low == high else f"{low} to {high}" for low, high in texts]
        if len(set(names)) == len(names):
            break
    return names
