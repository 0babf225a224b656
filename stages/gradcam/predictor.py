"""The model as a function that is called for hundreds of pictures of every image."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.common.frozen import CannotExport, OnnxNetwork, export
from stages.common.log import log
from stages.common.quiet_tensorflow import keras


def predictor(model: keras.Model, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """From uint8 (n, h, w, c) to what the model predicts, float32 (n, outputs).

    It runs in ONNX Runtime and keeps the weights of this moment; a model that cannot be exported
    runs in TensorFlow with the weights that it then has, and the log says so.

    Args:
        model: From uint8 images (n, h, w, c) of fixed size to predictions.
        threads: Of ONNX Runtime.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        try:
            export(model, path)
            return OnnxNetwork(path, threads)
        except CannotExport as reason:
            log(f"gradcam: {reason}")
            return model.predict_on_batch
