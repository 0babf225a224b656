"""Two maps that know nothing of the model: a method worth believing does better."""

from collections.abc import Callable

import cv2
import numpy as np

from stages.common.randomness import generator

Shape = tuple[int, int]
"""Height and width of a map."""


def random_map(image_id: str, shape: Shape) -> np.ndarray:
    """Smooth random spots, each image's own: float32 (height, width), 0 to 1."""
    noise = generator(0, "gradcam control", image_id).random(shape, dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigmaX=1, borderType=cv2.BORDER_REFLECT)
    spread = np.ptp(smooth)
    return (smooth - smooth.min()) / spread if spread > 0 else smooth


def centred_map(image_id: str, shape: Shape) -> np.ndarray:
    """A Gaussian in the middle, of a deviation of a quarter of each side: float32 (height, width).

    Photographers put what matters into the middle, so this is no easy opponent.
    """
    sides = [(np.arange(side, dtype=np.float32) + 0.5) / side - 0.5 for side in shape]
    rows, columns = (np.exp(-((side / 0.25) ** 2) / 2) for side in sides)
    return np.outer(rows, columns)


CONTROLS: dict[str, Callable[[str, Shape], np.ndarray]] = {
    "random": random_map,
    "centre": centred_map,
}
"""By their names in the tables."""
