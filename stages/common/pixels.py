"""Values of images as the stages keep them."""

import numpy as np


def rescaled(image: np.ndarray, rescale: float | None, out: np.ndarray | None = None) -> np.ndarray:
    """uint8 values times `rescale` as float32; without a factor as they are.

    Args:
        image: uint8.
        rescale: The factor.
        out: Where to write them, instead of to a new array.
    """
    return np.multiply(image, 1 if rescale is None else np.float32(rescale), out=out)


def unscaled(images: np.ndarray, rescale: float | None) -> np.ndarray:
    """The uint8 values from which `rescaled` made `images`, exactly.

    Every network of this project has its own preprocessing inside and wants values 0 to 255, so
    a factor on the kept variants must not reach it.
    """
    if rescale is None or images.dtype == np.uint8:
        return images
    return np.rint(images / np.float32(rescale)).astype(np.uint8)
