"""The model as a function that is called for hundreds of pictures of every image."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.common.frozen import CannotExport, OnnxNetwork, export
from stages.common.quiet_tensorflow import keras


def fast(model: keras.Model, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """From uint8 (n, h, w, c) to what the model predicts, (n, outputs): in ONNX Runtime, or in
    TensorFlow if that cannot run it.

    Args:
        model: Weights that change later do not change what is given.
        threads: Of ONNX Runtime.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        try:
            export(model, path)
            return OnnxNetwork(path, threads)
        except CannotExport:
            return model.predict_on_batch
