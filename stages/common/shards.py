"""Arrays in few large files.

A shard is a `part-<hash>.npy` with one row for each of its images. Where a shard ends is decided
by the ids of the images alone, so an image added or removed changes one or two shards, and every
other keeps its name and its bytes.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def cut_shards(ids: Sequence[str], mean: int) -> list[slice]:
    """Cut a list of images into shards at places that the ids themselves mark.

    The rule is that of content-defined chunking (Muthitacharoen et al. 2001, "A low-bandwidth
    network file system"): an id whose hash is divisible by a fixed number ends a shard, but
    none ends below a quarter of `mean`, and each ends at eight times `mean`.

    Args:
        ids: Hexadecimal ids in their final order.
        mean: Images in a shard, on average; at least 4.

    Returns:
        Slices that cover `ids` without gap or overlap.
    """
    smallest, largest = mean // 4, 8 * mean
    slices, start = [], 0
    for end, image_id in enumerate(ids, start=1):
        # The first that may end a shard is the one at `smallest`, which waiting begins with.
        marked = int(image_id, 16) % (mean - smallest + 1) == 0
        if end == len(ids) or end - start == largest or (marked and end - start >= smallest):
            slices.append(slice(start, end))
            start = end
    return slices


def part_name(ids: Sequence[str]) -> str:
    """The file name of the shard that holds these images in this order."""
    return f"part-{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:16]}.npy"


def read_shard(path: Path) -> np.ndarray:
    """The array of a shard, mapped from disk: only the rows that are used are read."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
