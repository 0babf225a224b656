"""The work of one shard of `augment`: a pure function of its images and their ids."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.common.params import Augment
from stages.common.pixels import rescaled
from stages.common.shards import read_shard
from stages.common.warp import vary


def augment_shard(
    shard: Path, ids: np.ndarray | Sequence[str], number: int, **options: object
) -> dict[str, np.ndarray]:
    """One variant of the images of one shard.

    Args:
        shard: uint8 (n, h, w, c).
        ids: The id of each of the n images; texts, or texts of bytes, which take a quarter.
        number: Of the variant, counted from 1.
        options: Fields of `Augment`.

    Returns:
        `images`: the shape of the shard; uint8, or float32 if `rescale` is set.
    """
    texts = np.asarray(ids).astype(str).tolist()
    return {"images": vary_all(read_shard(shard), texts, number, Augment(**options))}


def vary_all(images: np.ndarray, ids: Sequence[str], number: int, augment: Augment) -> np.ndarray:
    """One variant of each of some images.

    Args:
        images: uint8 (n, h, w, c).
        ids: Of the n images.
        number: Of the variant, counted from 1.
        augment: The options.

    Returns:
        The shape of `images`; uint8, or float32 if `augment.rescale` is set.
    """
    variants = np.empty(images.shape, np.uint8 if augment.rescale is None else np.float32)
    for image, image_id, variant in zip(images, ids, variants, strict=True):
        # Into its place at once: to copy the larger array there would take as long again.
        rescaled(vary(image, image_id, number, augment), augment.rescale, out=variant)
    return variants


def variant_name(number: int) -> str:
    """The folder of a variant, counted from 1."""
    return f"variant-{number}"
