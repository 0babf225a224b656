"""The work of one shard of `embed`: a pure function of its images and a network."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from stages.common.pixels import unscaled
from stages.common.shards import read_shard
from stages.embed.network import open_network

# One for each worker process: opening a network takes longer than a shard of small images.
_network = lru_cache(maxsize=2)(open_network)


def embed_shard(shard: Path, network: Path, rescale: float | None) -> dict[str, np.ndarray]:
    """Run a frozen network over the images of one shard.

    Args:
        shard: (n, h, w, c), uint8 images or variants of them.
        network: A file that `open_network` knows.
        rescale: Factor on the values of variants, undone here.

    Returns:
        `features`: float32 (n, ...).
    """
    return {"features": _network(network)(unscaled(read_shard(shard), rescale))}
