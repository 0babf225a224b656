"""The work of one shard of `embed`: a pure function of its images, variants and a network."""

from functools import lru_cache
from pathlib import Path

from stages.common.pixels import unscaled
from stages.common.shards import read_shard
from stages.embed.network import open_network

# One for each worker process: opening a network takes longer than a shard of small images.
_network = lru_cache(maxsize=2)(open_network)


def embed_shard(shards: dict[str, Path], network: Path, rescale: float | None) -> dict:
    """Run a frozen network over the images of one shard and over their variants.

    Args:
        shards: Name of the variant (or "original") and its file, (n, h, w, c).
        network: A file that `open_network` knows.
        rescale: Factor on the values of the variants, undone here.

    Returns:
        For each variant float32 features (n, ...).
    """
    run = _network(network)
    return {name: run(unscaled(read_shard(file), rescale)) for name, file in shards.items()}
