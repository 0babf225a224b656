"""A heat map laid over its photo."""

import cv2
import numpy as np
from matplotlib import colormaps
from PIL import Image

from stages.common.pictures import to_picture

_HEIGHT = 192
_COLORS = (colormaps["inferno"](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)


def overlay(photo: np.ndarray, heat: np.ndarray) -> Image.Image:
    """The photo, and beside it the photo under its heat map.

    Args:
        photo: uint8 (h, w, 3) or (h, w, 1).
        heat: (map height, map width), not below 0; the hottest place gets the brightest colour. A
            map that is zero everywhere leaves the photo as it is.
    """
    picture = to_picture(photo, _HEIGHT)
    strength = heat / heat.max() if heat.max() > 0 else heat
    strength = cv2.resize(strength, picture.size, interpolation=cv2.INTER_LINEAR)[..., None]
    colors = _COLORS[(strength[..., 0] * 255).round().astype(int)]
    blended = np.asarray(picture) * (1 - 0.6 * strength) + colors * (0.6 * strength)
    pair = [np.asarray(picture), blended.round().astype(np.uint8)]
    return Image.fromarray(np.hstack(pair))
