"""ImageDataGenerator's random transformations, as one affine warp per image.

The options mean what they mean in Keras (`keras.src.legacy.preprocessing.image`), and the
matrices are its own; only the resampling is OpenCV's, which is many times faster.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stages.common.params import Augment
from stages.common.randomness import uniforms

DRAWS = 7
"""Random numbers of one transformation."""

_BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
}
_LARGEST = 2**15 - 2  # rows or columns of an image that `cv2.remap` reads
# Workers share out the shards; threads inside one would only get into their way.
cv2.setNumThreads(1)


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
        """Where each pixel of the result comes from: (row, column, 1) out to (row, column) in.

        With positions counted from the centre of the image it is Keras's product

            rotate               shift          zoom          flip
            | cos  -sin  0 |   | 1  0  row |   | zr 0  0 |   | ±1 0  0 |
            | sin   cos  0 | @ | 0  1  col | @ | 0  zc 0 | @ | 0  ±1 0 |
            | 0     0    1 |   | 0  0  1   |   | 0  0  1 |   | 0  0  1 |

        here multiplied out, since NumPy would take longer for it than for a third of the warp.

        Returns:
            float64 (2, 3).
        """
        sine, cosine = math.sin(self.rotation), math.cos(self.rotation)
        zoom_row, zoom_column = (
            -zoom if flip else zoom for zoom, flip in zip(self.zoom, self.flip, strict=True)
        )
        row_by_row, row_by_column = cosine * zoom_row, -sine * zoom_column
        column_by_row, column_by_column = sine * zoom_row, cosine * zoom_column
        shift_row = cosine * self.shift[0] - sine * self.shift[1]
        shift_column = sine * self.shift[0] + cosine * self.shift[1]
        row, column = (height - 1) / 2, (width - 1) / 2  # the centre
        start_row = row - row_by_row * row - row_by_column * column + shift_row
        start_column = column - column_by_row * row - column_by_column * column + shift_column
        return np.array(
            [
                [row_by_row, row_by_column, start_row],
                [column_by_row, column_by_column, start_column],
            ]
        )


def draw(numbers: Sequence[float], height: int, width: int, options: Augment) -> Transform:
    """Draw one transformation.

    Args:
        numbers: `DRAWS` random numbers in [0, 1). Each belongs to one option, on or not, so
            switching one option leaves the draws of the others as they were.
        height, width: Of the image, pixels.
        options: The ranges.
    """
    angle, shift_row, shift_column, zoom_row, zoom_column, flip_rows, flip_columns = numbers
    lowest, highest = _zoom_limits(options.zoom_range)
    return Transform(
        rotation=math.radians(options.rotation_range * (2 * angle - 1)),
        shift=(
            _shift(shift_row, options.height_shift_range, height),
            _shift(shift_column, options.width_shift_range, width),
        ),
        zoom=(
            lowest + (highest - lowest) * zoom_row,
            lowest + (highest - lowest) * zoom_column,
        ),
        flip=(
            options.vertical_flip and flip_rows < 0.5,
            options.horizontal_flip and flip_columns < 0.5,
        ),
    )


def warp(image: np.ndarray, transform: Transform, fill_mode: str, cval: float = 0) -> np.ndarray:
    """Apply a transformation with bilinear interpolation between positions of 1/32 pixel.

    Args:
        image: uint8 (height, width, 1 or 3).
        transform: What to do.
        fill_mode: What lies beyond the edge: `nearest` pixel, `constant` cval, `reflect`
            (dcba|abcd|dcba) or `wrap` (abcd|abcd|abcd).
        cval: Grey value for `constant`.

    Returns:
        uint8, the shape of `image`; the same bytes on every processor.

    Raises:
        ValueError: The image with all that is seen beyond its edges is larger than OpenCV reads.
    """
    height, width = image.shape[:2]
    matrix = transform.matrix(height, width)
    top, bottom, left, right = _margins(matrix, height, width)
    if max(top + height + bottom, left + width + right) > _LARGEST:
        raise ValueError(
            f"Expected a transformation that needs at most {_LARGEST} rows and columns. "
            f"Received: {transform} for an image of {height} x {width}."
        )
    # `remap` could fill by itself, but slower: pixel by pixel, and from memory in no order.
    filled = cv2.copyMakeBorder(
        image, top, bottom, left, right, _BORDERS[fill_mode], value=(cval,) * 3
    )
    matrix[:, 2] += top, left
    warped = cv2.remap(filled, *_fixed_point_maps(matrix, height, width), cv2.INTER_LINEAR)
    return warped.reshape(image.shape)


def vary(image: np.ndarray, image_id: str, number: int, augment: Augment) -> np.ndarray:
    """One random variant of one image; it depends on nothing but the arguments.

    Args:
        image: uint8 (height, width, 1 or 3).
        image_id: Of the image; with the seed and the number it decides the draw.
        number: Of the variant, counted from 1.
        augment: The options.

    Returns:
        uint8, the shape of `image`: `augment.rescale` is not applied.
    """
    numbers = uniforms(DRAWS, augment.seed, "augment", image_id, number)
    transform = draw(numbers, *image.shape[:2], augment)
    return warp(image, transform, augment.fill_mode, augment.cval)


def _margins(matrix: np.ndarray, height: int, width: int) -> list[int]:
    """How many pixels beyond the top, bottom, left and right edge are seen, and one or two more."""
    margins = []
    for (by_row, by_column, start), extent in zip(matrix.tolist(), (height, width), strict=True):
        down, right = by_row * (height - 1), by_column * (width - 1)
        lowest = start + min(0, down) + min(0, right)
        highest = start + max(0, down) + max(0, right)
        margins += [max(0, 1 - math.floor(lowest)), max(0, 2 + math.floor(highest) - extent)]
    return margins


def _fixed_point_maps(matrix: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, as `cv2.remap` wants it to calculate in integers alone.

    With floating-point positions, as in `cv2.warpAffine`, OpenCV rounds one value in 20,000
    otherwise on a processor with AVX2 than on one without.

    Returns:
        The pixel up and left of each position, int16 (height, width, 2), column first; and where
        between it and its neighbours the position lies, uint16 (height, width): 1/32 pixels down
        times 32 plus 1/32 pixels to the right.
    """
    # The upper 16 bits of a position count pixels; 1/64 pixel more rounds it to the nearest 1/32.
    down, right, start = matrix[::-1].T[..., None] * 2**16
    rows = np.rint(np.arange(height) * down + start + 2**10).astype(np.int32)
    columns = np.rint(np.arange(width) * right).astype(np.int32)
    positions = rows[:, :, None] + columns[:, None, :]
    fractions = positions.astype(np.uint16) >> 11
    positions >>= 16
    return cv2.merge(positions.astype(np.int16)), fractions[1] * 32 + fractions[0]


def _shift(number: float, option: int | float | list[float], extent: int) -> float:
    """Pixels: an integer option draws whole pixels below it, a list one of its elements."""
    if isinstance(option, float) or option == 0:
        shift, largest = option * (2 * number - 1), option
    else:
        sizes = option if isinstance(option, list) else range(option)
        choices = [*sizes, *(-size for size in sizes)]
        shift, largest = choices[int(number * len(choices))], max(sizes)
    return shift * extent if largest < 1 else shift


def _zoom_limits(option: float | tuple[float, float]) -> tuple[float, float]:
    return option if isinstance(option, tuple) else (1 - option, 1 + option)
