"""The work of one shard of `embed`: a pure function of its images and a network."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from stages.common.frozen import OnnxNetwork
from stages.common.pixels import unscaled
from stages.common.shards import read_shard

Network = Callable[[np.ndarray], np.ndarray]


def embed_shard(
    shard: Path, network: Path, rescale: float | None, device: Literal["cpu", "gpu"] = "cpu"
) -> dict[str, np.ndarray]:
    """Run a frozen network over the images of one shard.

    Args:
        shard: (n, h, w, c), uint8 images or variants of them.
        network: A file that `open_network` knows.
        rescale: Factor on the values of variants, undone here.
        device: What runs a network of ONNX Runtime.

    Returns:
        `features`: float32 (n, ...).
    """
    return {"features": open_network(network, device)(unscaled(read_shard(shard), rescale))}


# Two for each worker process: opening a network takes longer than a shard of small images.
@lru_cache(maxsize=2)
def open_network(path: Path, device: Literal["cpu", "gpu"] = "cpu") -> Network:
    """A function from uint8 images (n, h, w, c) to float32 features (n, ...).

    Args:
        path: `.onnx` for ONNX Runtime, `.keras` for TensorFlow.
        device: What runs a network of ONNX Runtime.
    """
    return OnnxNetwork(path, device=device) if path.suffix == ".onnx" else _open_keras(path)


def _open_keras(path: Path) -> Network:
    # Only here: workers that run ONNX networks start without TensorFlow.
    from stages.common.determinism import make_deterministic
    from stages.common.keras_files import load

    make_deterministic(threads=1, seed=0)
    model = load(path)

    def predict(images: np.ndarray) -> np.ndarray:
        # One image at a time: TensorFlow may add up in another order in another batch size.
        return np.concatenate([model.predict_on_batch(image[None]) for image in images])

    return predict
