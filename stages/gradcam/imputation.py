"""Removed pixels guessed from those around them, so that the shape of the hole gives nothing away.

Rong et al. 2022, "A consistent and efficient evaluation strategy for attribution methods" (ROAD):
noisy linear imputation. Each removed pixel is the weighted mean of its eight neighbours, removed
ones among them, which makes a sparse system of linear equations; then a little noise is added.
"""

import itertools

import cv2
import numpy as np
from scipy.linalg import solveh_banded

from stages.common.randomness import generator

_DIRECT, _DIAGONAL = 1 / 6, 1 / 12
_NOISE = 0.01 * 255
_LONGEST_SIDE = 64
"""Of the grid on which whole blocks of pixels are removed: a heat map has fewer places, and the
cost grows with the fourth power."""


def impute(photo: np.ndarray, heat: np.ndarray, shares: list[float], image_id: str) -> np.ndarray:
    """The photo without its hottest places.

    Args:
        photo: uint8 (h, w, c).
        heat: (h, w), no value twice.
        shares: How much to remove, 0 to 1 (less than all).
        image_id: What the noise is drawn for.

    Returns:
        uint8 (shares, h, w, c).
    """
    height, width, channels = photo.shape
    shrink = min(1, _LONGEST_SIDE / max(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    grid, order = _area(photo, size).astype(float), _area(heat.astype(np.float32), size)[..., 0]
    noise = generator(0, "gradcam road", image_id).normal(0, _NOISE, photo.shape)
    hottest = np.argsort(-order, axis=None, kind="stable")
    imputed = []
    for share in shares:
        removed = np.zeros(order.shape, bool)
        removed.flat[hottest[: round(share * order.size)]] = True
        filled = cv2.resize(fill(grid, removed), (width, height)).reshape(height, width, channels)
        hole = cv2.resize(
            removed.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
        )
        values = np.where(hole[..., None] == 1, filled + noise, photo)
        imputed.append(values.round().clip(0, 255).astype(np.uint8))
    return np.stack(imputed)


def fill(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """An image with every removed pixel at the weighted mean of its neighbours, without noise.

    Those beside it count 1/6 and those at its corners 1/12; at the edge of the image the weights
    of those that there are count, as shares of their sum.

    Args:
        image: float (h, w, c).
        removed: bool (h, w), not all of them.

    Returns:
        float64 (h, w, c).
    """
    if image.shape[1] > image.shape[0]:  # the band of the equations is as wide as a row
        return fill(image.swapaxes(0, 1), removed.T).swapaxes(0, 1)
    rows, columns = np.nonzero(removed)
    count, (height, width, channels) = len(rows), image.shape
    filled = image.astype(np.float64)
    if count == 0:
        return filled
    number = np.full(removed.shape, -1)
    number[rows, columns] = unknowns = np.arange(count)
    band = np.zeros((min(width + 2, count), count))
    known = np.zeros((count, channels))
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        if down == right == 0:
            continue
        weight = _DIAGONAL if down and right else _DIRECT
        row, column = rows + down, columns + right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        band[0, inside] += weight
        here, row, column = unknowns[inside], row[inside], column[inside]
        other = number[row, column]
        known[here[other < 0]] += weight * filled[row, column][other < 0]
        below = other > here
        band[other[below] - here[below], here[below]] = -weight
    filled[rows, columns] = solveh_banded(band, known, lower=True, check_finite=False)
    return filled


def _area(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean of each block, (height, width, channels)."""
    shrunk = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    return shrunk.reshape(size[1], size[0], -1)
