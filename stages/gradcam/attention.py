"""Where the heat lies, and which images are suspicious for it."""

import numpy as np
import pandas as pd

from stages.common.heatmaps import peak

_BORDER = 0.1
"""Of the width on the left and on the right, and of the height above and below."""
SUSPICIOUS = 0.5
"""A larger suspicion counts: wrong, or sure with more than half of the heat on the border."""
_LARGE_ERROR = 4
"""Times the root mean squared error of all test images."""


def attention(heat: np.ndarray) -> dict[str, float | bool]:
    """Where the heat of one map lies: `peak_x`, `peak_y`, `border`, `entropy`, `zero`.

    A map that is zero everywhere has its peak in the middle, no heat on the border, and an entropy
    of 1: it is the same everywhere.

    Args:
        heat: (map height, map width), not below 0.
    """
    peak_x, peak_y = peak(heat)
    return {
        "peak_x": peak_x,
        "peak_y": peak_y,
        "border": border_share(heat),
        "entropy": entropy(heat),
        "zero": bool(heat.max() == 0),
    }


def border_share(heat: np.ndarray) -> float:
    """The share of the heat within the outer tenth on each side, 0 to 1; 0.36 where it is even.

    A place of the map that lies across the limit counts with the part that lies outside.
    """
    total = heat.sum(dtype=np.float64)
    if total == 0:
        return 0.0
    rows, columns = (_inner_parts(side) for side in heat.shape)
    return float(np.clip(1 - rows @ heat @ columns / total, 0, 1))


def entropy(heat: np.ndarray) -> float:
    """How evenly the heat is spread: 0 if it lies in one place, 1 if it is the same everywhere.

    Shannon's entropy of the shares of the heat, as a share of the largest one.
    """
    total = heat.sum(dtype=np.float64)
    if total == 0 or heat.size == 1:
        return 1.0
    shares = heat[heat > 0] / total
    shares = shares[shares > 0]
    return float(np.clip(-np.sum(shares * np.log(shares)) / np.log(heat.size), 0, 1))


def suspicion(summary: pd.DataFrame, rmse: float = 0) -> np.ndarray:
    """(n,) rank values: the most suspicious images have the largest, above 1 if wrong.

        suspicion = error + confidence * border

    The error is 1 if the prediction is wrong and else 0; of numbers it is the residual as a share
    of four times the root mean squared error, at most 1, and the confidence is 1. So the wrong ones
    come first, then those of which the model is sure while it looks at the border. A map that is
    zero everywhere counts as one with all its heat there: the model is sure of what nothing shows.

    Args:
        summary: `border`, `zero`, and `label`, `predicted` and `confidence`, or `residual`.
        rmse: Of all test images, for numbers.
    """
    border = np.where(summary["zero"], 1, summary["border"])
    if "residual" not in summary:
        wrong = summary["label"] != summary["predicted"]
        return wrong.to_numpy(float) + summary["confidence"].to_numpy() * border
    errors = summary["residual"].abs().to_numpy()
    return np.minimum(errors / (_LARGE_ERROR * rmse or 1), 1) + border


def by_class(summary: pd.DataFrame, classes: pd.Series) -> pd.DataFrame:
    """Where the heat of each class lies: `class`, `images` and the means of `border`, `entropy`,
    `peak_x` and `peak_y` over its maps that are not zero; NaN if all are.

    Args:
        summary: A row for each image.
        classes: Of each row, under the same index.
    """
    places = summary[["border", "entropy", "peak_x", "peak_y"]]
    means = places[~summary["zero"]].groupby(classes.rename("class")).mean()
    images = summary.groupby(classes.rename("class")).size().rename("images")
    return images.to_frame().join(means).reset_index()


def _inner_parts(count: int) -> np.ndarray:
    """How much of each of `count` equal parts of a side lies off the border, 0 to 1."""
    edges = np.linspace(0, 1, count + 1).clip(_BORDER, 1 - _BORDER)
    return np.diff(edges) * count
