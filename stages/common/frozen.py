"""The frozen part of a network in ONNX Runtime: 1 to 5 times as fast as in Keras on CPU.

TensorFlow is imported by `export` alone, so workers that only run a network start without it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnxruntime

from stages.common.errors import InputError, one_line

if TYPE_CHECKING:
    import keras

_BATCH = {"cpu": 8, "gpu": 64}  # few images fit the CPU caches best
_GPU_PROVIDERS = {
    # Its other ways to choose an algorithm measure times, and so differ from run to run.
    "CUDAExecutionProvider": {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"},
    "ROCMExecutionProvider": {},
    "CoreMLExecutionProvider": {},
}
_OPSET = 17
_TOLERANCE = 1e-4  # of the largest output; measured: up to 1e-5


class CannotExport(Exception):
    """The network has an operation that ONNX does not, or gives other outputs there."""

    def __init__(self, model_name: str, reason: str) -> None:
        super().__init__(
            f"{model_name!r} cannot be exported to ONNX ({reason}). Run it in TensorFlow instead."
        )


class OnnxNetwork:
    """A network in a file of `export`, run in ONNX Runtime.

    On the CPU its output bytes depend neither on the batch size nor on the number of threads. On a
    GPU the last bits are others, and those of that kind of GPU.

    Args:
        path: A file written by `export`.
        threads: How many threads one call may use; workers that run side by side want 1.
        device: What runs it.

    Raises:
        InputError: The file is not there or is no ONNX network, or there is no GPU to run it.
    """

    def __init__(
        self, path: str | os.PathLike, threads: int = 1, device: Literal["cpu", "gpu"] = "cpu"
    ) -> None:
        self._batch_size = _BATCH[device]
        provider = gpu_provider() if device == "gpu" else "CPUExecutionProvider"
        providers = [(provider, _GPU_PROVIDERS.get(provider, {}))]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take half of the time where others use the cores too.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors; warnings tell of graph rewriting
        options.use_deterministic_compute = device == "gpu"
        try:
            self._session = onnxruntime.InferenceSession(
                os.fspath(path), options, providers=providers
            )
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise InputError(
                f"{os.fspath(path)}: expected an ONNX network, received a file that cannot be read "
                f"({one_line(error)}); delete it, and it is made again"
            ) from error
        if provider not in self._session.get_providers():
            # ONNX Runtime goes on without a provider whose libraries cannot be loaded.
            raise _no_gpu(f"{provider} that does not start (is CUDA with cuDNN installed?)")
        self._input = self._session.get_inputs()[0]

    def _check(self, images: np.ndarray) -> None:
        expected = tuple(self._input.shape[1:])
        if images.dtype != np.uint8 or images.shape[1:] != expected:
            raise ValueError(
                f"Expected uint8 images of shape (n, {', '.join(map(str, expected))}). "
                f"Received: {images.dtype} of shape {images.shape}."
            )

    def __call__(self, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        """Run the network.

        Args:
            images: uint8, (n, height, width, channels), with n >= 0.
            batch_size: How many images to run at a time; None: what the device likes best.

        Returns:
            float32, (n, ...).

        Raises:
            ValueError: Images of another shape or type than the network's.
        """
        self._check(images)
        batch_size = batch_size or self._batch_size
        outputs = [
            self._session.run(None, {self._input.name: images[start : start + batch_size]})[0]
            for start in range(0, max(len(images), 1), batch_size)
        ]
        return np.concatenate(outputs).astype(np.float32, copy=False)


def gpu_provider() -> str:
    """ONNX Runtime's name of what runs networks on the GPU of this machine.

    Raises:
        InputError: The installed package has none.
    """
    available = onnxruntime.get_available_providers()
    for provider in _GPU_PROVIDERS:
        if provider in available:
            return provider
    raise _no_gpu(", ".join(available))


def _no_gpu(received: str) -> InputError:
    return InputError(
        "features.device: expected an ONNX Runtime that runs on a GPU with device gpu, received "
        f"{received}; install the package onnxruntime-gpu in place of onnxruntime, or set device: "
        "cpu"
    )


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Hold back what these loggers have to say; a failure is told by an exception instead."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _little_garbage() -> Iterator[None]:
    """Look often for garbage that refers to itself, and once more at the end.

    tf2onnx leaves copies of the graph with its weights in such cycles after each of its passes: few
    objects, but a gigabyte for a network of 20 MB. What was there before is not looked at, or
    TensorFlow's many objects would make this slow.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.collect()  # so that the next ones find that there are few old objects
    gc.set_threshold(thresholds[0], thresholds[1], 1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        gc.collect()


def _convert(model: keras.Model, path: Path) -> None:
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    from stages.common.quiet_tensorflow import tf

    shape = (None, *model.input_shape[1:])
    signature = [tf.TensorSpec(shape, tf.uint8, name="images")]
    traced = tf.function(lambda images: model(images, training=False), input_signature=signature)
    # Keras's own export leaves the weights as variables, on which tf2onnx fails for some networks.
    constant = convert_variables_to_constants_v2(traced.get_concrete_function())
    tf2onnx.convert.from_graph_def(
        constant.graph.as_graph_def(),
        input_names=[tensor.name for tensor in constant.inputs],
        output_names=[tensor.name for tensor in constant.outputs],
        opset=_OPSET,
        output_path=os.fspath(path),
    )


def _deviation(model: keras.Model, network: OnnxNetwork) -> float:
    """Return the largest difference of the outputs, relative to the largest output."""
    shape = (3, *model.input_shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    # One at a time, since Keras holds the maps of all layers until the end.
    alone = [np.asarray(model(image[None], training=False), np.float32) for image in images]
    expected = np.concatenate(alone)
    received = network(images)
    if received.shape != expected.shape:
        return np.inf
    return float(np.max(np.abs(received - expected)) / max(np.max(np.abs(expected)), 1e-12))


def export(model: keras.Model, path: str | os.PathLike) -> None:
    """Write a network for `OnnxNetwork`, checked against Keras on random images.

    The bytes of the file differ from export to export, its outputs do not: keep it in a cache, as
    no artifact. The file appears whole or not at all.

    Args:
        model: One input, uint8 images (n, height, width, channels) of fixed size, and one output.
            It runs in inference mode, whatever is trainable.
        path: Where; missing folders are made, an older file is replaced.

    Raises:
        CannotExport: ONNX cannot express the network, or the outputs differ by more than 1e-4 of
            the largest one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        unchecked = Path(folder, "network.onnx")
        try:
            with _quiet("tf2onnx", "tensorflow"), _little_garbage():
                _convert(model, unchecked)
            deviation = _deviation(model, OnnxNetwork(unchecked))
        except (MemoryError, OSError, ImportError):
            raise  # trouble of this machine says nothing about the network
        except Exception as error:  # TensorFlow, tf2onnx and onnxruntime raise many kinds
            raise CannotExport(model.name, one_line(error.__cause__ or error)) from error
        if not deviation <= _TOLERANCE:  # also refuses NaN
            raise CannotExport(model.name, f"its outputs differ by {deviation:.1e} there")
        unchecked.replace(path)
