"""Measures of a photo by which doubtful ones are found: dark, bright, blurred, empty, odd in shape.

The measures are those that tools such as cleanvision use: percentiles of luma, the variance of the
Laplacian, the entropy of grey levels; here on a copy of at most 256 px, which is about what a
network sees, and sharpness relative to the contrast, so that a foggy photo is not blurred.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

_LONGEST_SIDE = 256
_LEVELS = np.arange(256)
DIGITS = 4  # the last bits may differ between processors


class Measures(NamedTuple):
    """What is measured of photos; the columns of an array of measures."""

    dark_end: np.ndarray
    """Luma that 5 % of the pixels do not exceed, 0 black to 1 white."""
    bright_end: np.ndarray
    """Luma that 95 % of the pixels do not exceed."""
    sharpness: np.ndarray
    """Mean square of the Laplacian as a share of the variance of luma."""
    information: np.ndarray
    """Entropy of the 256 grey levels as a share of its maximum, 8 bits."""


class Luma(NamedTuple):
    """The grey levels of one photo, from which its measures follow."""

    counts: np.ndarray
    """Pixels of each of the 256 levels."""
    edges: float
    """Sum of squares of the Laplacian."""


def shrink(image: Image.Image) -> Image.Image:
    """A photo at most 256 pixels high and wide: divided by a whole factor, and rounded."""
    factor = -(-max(image.size) // _LONGEST_SIDE)
    return image.reduce(factor) if factor > 1 else image


def luma_of(photo: np.ndarray) -> Luma:
    """The grey levels of one photo.

    Args:
        photo: uint8 RGB (height, width, 3), upright, as `shrink` leaves it.
    """
    luma = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    counts = cv2.calcHist([luma], [0], None, [256], [0, 256])
    return Luma(counts, cv2.norm(cv2.Laplacian(luma, cv2.CV_16S), cv2.NORM_L2SQR))


def measure(lumas: Sequence[Luma]) -> np.ndarray:
    """Measure n photos at once, which takes a tenth of the time of one by one.

    Returns:
        float32 (n, 4), the columns as in `Measures`.
    """
    counts = np.reshape([luma.counts for luma in lumas], (len(lumas), 256)).astype(np.int64)
    pixels = counts.sum(axis=1)
    shares, below = counts / pixels[:, None], counts.cumsum(axis=1)
    variance = shares @ _LEVELS**2 - (shares @ _LEVELS) ** 2
    edges = np.array([luma.edges for luma in lumas]) / pixels
    measures = Measures(
        dark_end=(below < 0.05 * pixels[:, None]).sum(axis=1) / 255,
        bright_end=(below < 0.95 * pixels[:, None]).sum(axis=1) / 255,
        sharpness=np.divide(edges, variance, out=np.zeros_like(edges), where=variance > 0),
        information=(shares * -np.log2(np.maximum(shares, 1e-9))).sum(axis=1) / 8,
    )
    return np.round(np.stack(measures, axis=1), DIGITS).astype(np.float32)
