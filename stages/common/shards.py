"""Arrays in few large files.

A shard is a `part-<hash>.npy` with one row for each of its images. Where a shard ends is decided
by the ids of the images alone, so an image added or removed changes one or two shards, and every
other keeps its name and its bytes.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SMALLEST = 16
LARGEST = 512
# One id in so many ends a shard: about 96 images each, so an added image costs little work and
# a data set of millions still has few files.
_MARKED = 80


def cut_shards(ids: Sequence[str]) -> list[slice]:
    """Cut a list of images into shards at places that the ids themselves mark.

    The rule is that of content-defined chunking (Muthitacharoen et al. 2001, "A low-bandwidth
    network file system"): an id whose hash is divisible by a fixed number ends a shard, but
    none ends below `SMALLEST` rows, and each ends at `LARGEST`.

    Args:
        ids: Hexadecimal ids in their final order.

    Returns:
        Slices that cover `ids` without gap or overlap.
    """
    slices, start = [], 0
    for end, image_id in enumerate(ids, start=1):
        marked = int(image_id, 16) % _MARKED == 0
        if end == len(ids) or end - start == LARGEST or (marked and end - start >= SMALLEST):
            slices.append(slice(start, end))
            start = end
    return slices


def part_name(ids: Sequence[str]) -> str:
    """The file name of the shard that holds these images in this order."""
    return f"part-{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:16]}.npy"


def read_shard(path: Path) -> np.ndarray:
    """The array of a shard, mapped from disk: only the rows that are used are read."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
