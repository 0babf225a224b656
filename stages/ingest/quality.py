"""Measures of a photo by which doubtful ones are found: dark, bright, blurred, empty, odd in shape.

The measures are those that tools such as cleanvision use: percentiles of luma, the variance of the
Laplacian, the entropy of grey levels; here on a copy of at most 256 px, which is about what a
network sees, and sharpness relative to the contrast, so that a foggy photo is not blurred.
"""

from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from stages.common.params import Quality

_LONGEST_SIDE = 256
_LEVELS = np.arange(256)
_DIGITS = 4  # the last bits may differ between processors


class Measures(NamedTuple):
    """What is measured of one photo; in an array of measures these are the columns."""

    dark_end: float
    """Luma that 5 % of the pixels do not exceed, 0 black to 1 white."""
    bright_end: float
    """Luma that 95 % of the pixels do not exceed."""
    sharpness: float
    """Mean square of the Laplacian as a share of the variance of luma."""
    information: float
    """Entropy of the 256 grey levels as a share of its maximum, 8 bits."""


def measure(photo: np.ndarray) -> Measures:
    """Measure one photo.

    Args:
        photo: uint8 RGB (height, width, 3), upright.
    """
    luma = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    longest = max(luma.shape)
    if longest > _LONGEST_SIDE:
        height, width = (max(1, side * _LONGEST_SIDE // longest) for side in luma.shape)
        luma = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist([luma], [0], None, [256], [0, 256]).astype(np.int64)
    shares = counts / luma.size
    dark_end, bright_end = np.searchsorted(counts.cumsum(), np.array([0.05, 0.95]) * luma.size)
    variance = shares @ _LEVELS**2 - (shares @ _LEVELS) ** 2
    edges = cv2.norm(cv2.Laplacian(luma, cv2.CV_16S), cv2.NORM_L2SQR) / luma.size
    measures = (
        dark_end / 255,
        bright_end / 255,
        edges / variance if variance > 0 else 0.0,
        -(shares * np.log2(np.maximum(shares, 1e-9))).sum() / 8,
    )
    return Measures(*(round(float(one), _DIGITS) for one in measures))


def find_issues(measures: np.ndarray, sizes: np.ndarray, quality: Quality) -> pd.DataFrame:
    """What is doubtful about which images.

    Args:
        measures: float32 (n, 4), the columns as in `Measures`.
        sizes: int64 (n, 2), width and height, pixels.
        quality: Beyond what an image is doubtful.

    Returns:
        A row for each doubt: `image` (its position), `issue` and `value`, the worst of an issue
        first.
    """
    columns = Measures(*measures.T)
    aspect, side = sizes[:, 0] / sizes[:, 1], np.sqrt(sizes[:, 0] * sizes[:, 1])
    aspect, side = _off_median(aspect), _off_median(side)
    found = {
        "dark": (columns.bright_end <= quality.dark, columns.bright_end, 1),
        "bright": (columns.dark_end >= quality.bright, columns.dark_end, -1),
        "blurred": (columns.sharpness <= quality.blur, columns.sharpness, 1),
        "low_information": (columns.information <= quality.information, columns.information, 1),
        "odd_aspect_ratio": (aspect > quality.aspect_ratio, aspect, -1),
        "odd_size": (side > quality.size, side, -1),
    }
    tables = []
    for issue, (doubtful, values, order) in found.items():
        images = np.flatnonzero(doubtful)
        images = images[np.argsort(order * values[images], kind="stable")]
        table = {"image": images, "issue": issue, "value": np.round(values[images], _DIGITS)}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def _off_median(values: np.ndarray) -> np.ndarray:
    """How many times larger or smaller than the median each is, at least 1."""
    ratio = values / np.median(values)
    return np.maximum(ratio, 1 / ratio)
