"""ImageDataGenerator's random transformations, as one affine warp per image.

The options mean what they mean in Keras (`keras.src.legacy.preprocessing.image`), and the
matrices are its own; only the resampling is OpenCV's, which is many times faster.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stages.common.params import Augment

_BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
}
# Workers share out the shards; threads inside one would only get into their way.
cv2.setNumThreads(1)
# With its AVX2 kernels one value in 20,000 is rounded to the other side, so images would depend on
# the processor.
cv2.setUseOptimized(False)


@dataclass(frozen=True)
class Transform:
    """One draw of the random transformation.

    Attributes:
        rotation: Radians.
        shift: Rows and columns, pixels.
        zoom: Factor for rows and columns; above 1 shows more of the scene.
        flip: Whether rows and columns are mirrored.
    """

    rotation: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: tuple[float, float] = (1.0, 1.0)
    flip: tuple[bool, bool] = (False, False)

    def matrix(self, height: int, width: int) -> np.ndarray:
        """Where each pixel of the result comes from: (row, column, 1) out to in, float64 (3, 3).

        Rotation, shift and zoom about the centre of the image, the flip after them.
        """
        sine, cosine = math.sin(self.rotation), math.cos(self.rotation)
        rotate = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        shift = np.array([[1, 0, self.shift[0]], [0, 1, self.shift[1]], [0, 0, 1]])
        signs = np.where(self.flip, -1.0, 1.0)
        zoom = np.diag([self.zoom[0], self.zoom[1], 1.0])
        flip = np.diag([signs[0], signs[1], 1.0])
        center = np.array([[1, 0, (height - 1) / 2], [0, 1, (width - 1) / 2], [0, 0, 1]])
        return center @ rotate @ shift @ zoom @ flip @ np.linalg.inv(center)


def draw(random: np.random.Generator, height: int, width: int, options: Augment) -> Transform:
    """Draw one transformation.

    Args:
        random: A generator of this image and variant alone.
        height, width: Of the image, pixels.
        options: The ranges.
    """
    # Each number is drawn whether its option is on or not, so that switching one option leaves
    # the draws of the others as they were.
    angle = random.uniform(-1, 1)
    shift = (
        _draw_shift(random, options.height_shift_range, height),
        _draw_shift(random, options.width_shift_range, width),
    )
    lowest, highest = _zoom_limits(options.zoom_range)
    zoom = tuple(lowest + (highest - lowest) * random.uniform(size=2))
    heads = random.uniform(size=2) < 0.5
    flip = (bool(heads[0] and options.vertical_flip), bool(heads[1] and options.horizontal_flip))
    return Transform(math.radians(angle * options.rotation_range), shift, zoom, flip)


def warp(image: np.ndarray, transform: Transform, fill_mode: str, cval: float = 0) -> np.ndarray:
    """Apply a transformation with bilinear interpolation.

    Args:
        image: uint8 (height, width, 1 or 3).
        transform: What to do.
        fill_mode: What lies beyond the edge: `nearest` pixel, `constant` cval, `reflect`
            (dcba|abcd|dcba) or `wrap` (abcd|abcd|abcd).
        cval: Grey value for `constant`.

    Returns:
        uint8, the shape of `image`.
    """
    height, width = image.shape[:2]
    matrix = transform.matrix(height, width)[:2]
    columns_first = matrix[::-1][:, [1, 0, 2]]
    warped = cv2.warpAffine(
        image,
        columns_first,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=_BORDERS[fill_mode],
        borderValue=(cval,) * 3,
    )
    return warped.reshape(image.shape)


def _draw_shift(
    random: np.random.Generator, option: int | float | list[float], extent: int
) -> float:
    """Pixels: an integer option draws whole pixels below it, a list one of its elements."""
    place, sign = random.uniform(size=2)
    if isinstance(option, list) or (isinstance(option, int) and option > 0):
        choices = option if isinstance(option, list) else range(option)
        shift = choices[int(place * len(choices))] * (1 if sign < 0.5 else -1)
    else:
        shift = option * (2 * place - 1)
    return shift * extent if np.max(option) < 1 else shift


def _zoom_limits(option: float | tuple[float, float]) -> tuple[float, float]:
    return option if isinstance(option, tuple) else (1 - option, 1 + option)
