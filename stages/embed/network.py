"""Opening the frozen part of a network, whichever engine it is for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.common.frozen import OnnxNetwork

Network = Callable[[np.ndarray], np.ndarray]


def open_network(path: Path) -> Network:
    """A function from uint8 images (n, h, w, c) to float32 features (n, ...).

    Args:
        path: `.onnx` for ONNX Runtime, `.keras` for TensorFlow.
    """
    return OnnxNetwork(path) if path.suffix == ".onnx" else _open_keras(path)


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
