"""A heat map laid over its photo."""

import cv2
import numpy as np
from matplotlib import colormaps
from PIL import Image

from stages.common.pictures import to_picture

_HEIGHT = 192
_LONGEST_SIDE = 192
_COLORS = (colormaps["inferno"](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
_OPACITY = 0.6
"""Of the hottest place."""


def shown_photo(photo: np.ndarray, longest_side: int = _LONGEST_SIDE) -> Image.Image:
    """A photo as an RGB picture whose longest side has so many pixels, its aspect kept.

    Args:
        photo: uint8 (h, w, 3) or (h, w, 1).
        longest_side: Pixels.
    """
    height, width = photo.shape[:2]
    return to_picture(photo, max(1, round(longest_side * height / max(height, width))))


def shares_of_maximum(heat: np.ndarray) -> np.ndarray:
    """A map (map height, map width), not below 0, divided by its largest value; one that is zero
    everywhere stays so."""
    return heat / heat.max() if heat.max() > 0 else heat


def heated(picture: Image.Image, heat: np.ndarray) -> Image.Image:
    """A picture under a heat map, of the same size, so that one can be laid over the other.

    Args:
        picture: RGB.
        heat: (map height, map width), not below 0; the hottest place gets the brightest colour of
            matplotlib's inferno, at 60 %, and a place without heat stays as it is. A map that is
            zero everywhere leaves the picture as it is.
    """
    shares = shares_of_maximum(heat)
    strength = cv2.resize(shares, picture.size, interpolation=cv2.INTER_LINEAR)[..., None]
    colors = _COLORS[(strength[..., 0] * 255).round().astype(int)]
    blended = np.asarray(picture) * (1 - _OPACITY * strength) + colors * (_OPACITY * strength)
    return Image.fromarray(blended.round().astype(np.uint8))


def overlay(photo: np.ndarray, heat: np.ndarray) -> Image.Image:
    """The photo, and beside it the photo under its heat map.

    Args:
        photo: uint8 (h, w, 3) or (h, w, 1).
        heat: As for `heated`.
    """
    picture = to_picture(photo, _HEIGHT)
    return Image.fromarray(np.hstack([np.asarray(picture), np.asarray(heated(picture, heat))]))
