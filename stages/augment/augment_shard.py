"""The work of one shard of `augment`: a pure function of its images and their ids."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.augment.warp import draw, warp
from stages.common.params import Augment
from stages.common.pixels import rescaled
from stages.common.randomness import generator
from stages.common.shards import read_shard


def augment_shard(
    shard: Path, ids: Sequence[str], number: int, **options: object
) -> dict[str, np.ndarray]:
    """One variant of the images of one shard.

    Args:
        shard: uint8 (n, h, w, c).
        ids: The id of each of the n images.
        number: Of the variant, counted from 1.
        options: Fields of `Augment`.

    Returns:
        `images`: the shape of the shard; uint8, or float32 if `rescale` is set.
    """
    augment = Augment(**options)
    images = zip(read_shard(shard), ids, strict=True)
    return {"images": np.stack([_vary(image, one, number, augment) for image, one in images])}


def variant_name(number: int) -> str:
    """The folder of a variant, counted from 1."""
    return f"variant-{number}"


def _vary(image: np.ndarray, image_id: str, number: int, augment: Augment) -> np.ndarray:
    random = generator(augment.seed, "augment", image_id, number)
    transform = draw(random, *image.shape[:2], augment)
    return rescaled(warp(image, transform, augment.fill_mode, augment.cval), augment.rescale)
