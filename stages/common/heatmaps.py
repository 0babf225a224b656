"""Heat maps: which places of the image raise a score of the model.

A score is a weighted sum of logits, since the gradient of a probability vanishes where the model
is sure: the logit of one class, of one class less that of another, or a number. Every method weighs
the features of a layer at each place and adds them up: those of `class_activation` by their
gradients, all from one backward pass, and Score-CAM by what the model predicts for the image seen
through each of them.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from stages.common.class_activation import METHODS
from stages.common.errors import InputError
from stages.common.names import unknown_name
from stages.common.quiet_tensorflow import keras, tf

_BATCH = 32
"""Images that pass the network together, at most; a masked image of Score-CAM counts as one."""
_PIXELS = _BATCH * 224 * 224
"""Of these images together, at most: what the layers give for them takes about 250 MB."""

_LINEAR = (keras.layers.BatchNormalization, keras.layers.Concatenate, keras.layers.Dropout)
"""Layers of a head that are linear once it is trained."""


def map_layers(model: keras.Model) -> list[str]:
    """The layers that give a map of places (n, height, width, features), from input to output.

    What stands before the first layer that was trained, or in a branch past it, only prepares the
    image, and has no map.
    """
    trained = {
        layer.name
        for layer in model.layers
        # The mean and variance of EfficientNet's first layer are weights, but of the images.
        if layer.weights and not isinstance(layer, keras.layers.Normalization)
    }
    for layer, read in _calls(model):
        if any(one.name in trained for one in read):
            trained.add(layer.name)
    return [
        layer.name
        for layer in model.layers
        if layer.name in trained and len(layer.output.shape) == 4
    ]


def last_convolution(model: keras.Model) -> str:
    """The last map of the network: its last convolution, normalised and activated.

    Raises:
        InputError: The model has no layer with a map of places.
    """
    layers = map_layers(model)
    if not layers:
        raise InputError(f"gradcam: expected a model with a convolution, found {model.name!r}")
    return layers[-1]


def one_hot(classes: np.ndarray, outputs: int) -> np.ndarray:
    """The weights that make the score of each image the logit of one class.

    Args:
        classes: int (n,) code of the class or label; of a single output, 1 asks for what raises
            it, and 0 for what lowers it.
        outputs: How many logits the model has.

    Returns:
        float32 (n, outputs).
    """
    classes = np.asarray(classes)
    if outputs == 1:
        return np.where(classes == 1, 1, -1).astype("float32")[:, None]
    return np.eye(outputs, dtype="float32")[classes]


def difference(first: int, second: int, n: int, outputs: int) -> np.ndarray:
    """The weights that make the score what tells one class from another, for n images.

    Args:
        first: Code of the class that the score speaks for.
        second: Code of the class that it speaks against.
        n: Images.
        outputs: How many logits the model has; a single one is that difference already.

    Returns:
        float32 (n, outputs).
    """
    weights = one_hot(np.array([first, second]), outputs)
    return np.tile(weights[0] if outputs == 1 else weights[0] - weights[1], (n, 1))


def peak(heat: np.ndarray) -> tuple[float, float]:
    """The centre of the hottest place, as shares of the width from the left and the height from
    the top; the middle of a map that is zero everywhere."""
    if heat.max() == 0:
        return 0.5, 0.5
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return (column + 0.5) / heat.shape[1], (row + 0.5) / heat.shape[0]


class HeatMaps:
    """Heat maps of one or several layers, by one or several methods.

    Args:
        model: Flat: no model nested in it.
        layers: Of `map_layers(model)`. The maps of several are combined: each is scaled to its own
            maximum 1, resized to the largest, and their mean is taken.
        methods: Of `METHODS`, and `scorecam`, which runs the network once for each feature of a
            layer and image: hundreds of times the work of all others together.
        logits: The layer that gives the scores (n, outputs) before the last activation.

    Raises:
        InputError: A layer or method is none of these, or `cam` is asked for a layer behind which
            there is more than the mean over the places and one dense layer.

    Example:
        maps = HeatMaps(model, [last_convolution(model)], ["gradcam", "layercam"])
        heats = maps(images, one_hot(classes, outputs=3))["gradcam"]
    """

    def __init__(
        self,
        model: keras.Model,
        layers: Sequence[str],
        methods: Sequence[str] = ("gradcam",),
        logits: str = "logits",
    ):
        _check_names("layer", layers, map_layers(model))
        _check_names("method", methods, [*METHODS, "scorecam"])
        if "cam" in methods:
            for layer in layers:
                _check_cam(model, layer, logits)
        features = [model.get_layer(layer).output for layer in layers]
        outputs = [features, model.get_layer(logits).output]
        self._methods = methods
        self._model = model
        self._features_and_logits = keras.Model(model.inputs[0], outputs)
        self._watched = [weight for one in features for weight in _nearest_weights(model, one)]
        self._backward = tf.function(self._by_gradients, reduce_retracing=True)
        self._seen = tf.function(self._scores_through, reduce_retracing=True)

    def __call__(self, images: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The heat maps of each image, by each method.

        Args:
            images: uint8 (n, height, width, channels), n at least 1.
            weights: float32 (n, outputs); the score that is explained is sum(weights * logits), by
                Score-CAM sum(weights * predictions).

        Returns:
            For each method float32 (n, map height, map width), not below 0: all zero where nothing
            speaks for the score. Of one layer in the method's own unit, of several at most 1.
        """
        size = _batch_size(images[0])
        batches = [
            self._batch(images[start : start + size], weights[start : start + size])
            for start in range(0, len(images), size)
        ]
        return {
            method: np.concatenate([one[method] for one in batches]) for method in self._methods
        }

    def _batch(self, images: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        images, weights = tf.constant(images), tf.constant(weights, tf.float32)
        found, features = self._backward(images, weights)
        found = {method: maps.numpy() for method, maps in found.items()}
        if "scorecam" in self._methods:
            maps = [
                tf.stack(
                    [self._by_scores(*each) for each in zip(images, weights, one, strict=True)]
                )
                for one in features
            ]
            found["scorecam"] = _combine(maps).numpy()
        return found

    def _by_gradients(
        self, images: tf.Tensor, weights: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        """The maps of all methods but Score-CAM, and the features that Score-CAM needs."""
        # The tape follows what depends on something watched, and so from the features on alone.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._watched)
            features, logits = self._features_and_logits(images, training=False)
            score = tf.reduce_sum(weights * logits, axis=1)
        gradients = tape.gradient(score, features)
        pairs = list(zip(features, gradients, strict=True))
        found = {
            name: _combine([tf.nn.relu(METHODS[name](*pair)) for pair in pairs])
            for name in self._methods
            if name in METHODS
        }
        return found, features if "scorecam" in self._methods else []

    def _by_scores(self, image: tf.Tensor, weights: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """Wang et al. 2020, "Score-CAM: Score-weighted visual explanations for convolutional neural
        networks": each feature by the score of the image seen through it.

        As in the paper's section on normalisation and in its authors' code, the score is one of
        probabilities, not of logits. It counts from the lowest of all these scores and that of the
        black image, which the paper takes: to a model of few classes black may look like one.
        """
        varies = tf.reduce_max(features, axis=(0, 1)) > tf.reduce_min(features, axis=(0, 1))
        features = tf.boolean_mask(features, varies, axis=2)
        features = tf.pad(features, [(0, 0), (0, 0), (0, 1)])  # the last one gives the black image
        size = _batch_size(image)
        scores = [
            self._seen(image, weights, features[..., start : start + size])
            for start in range(0, features.shape[2], size)
        ]
        scores = tf.concat(scores, axis=0)
        return tf.nn.relu(tf.linalg.matvec(features, scores - tf.reduce_min(scores)))

    def _scores_through(
        self, image: tf.Tensor, weights: tf.Tensor, features: tf.Tensor
    ) -> tf.Tensor:
        """The score of one image (h, w, c) through each feature as a mask of 0 to 1."""
        masks = tf.image.resize(tf.transpose(features, (2, 0, 1))[..., None], image.shape[:2])
        masks = _to_maximum_1(masks - tf.reduce_min(masks, axis=(1, 2), keepdims=True))
        seen = tf.cast(tf.round(masks * tf.cast(image, tf.float32)), image.dtype)
        return tf.linalg.matvec(self._model(seen, training=False), weights)


def _batch_size(image: np.ndarray | tf.Tensor) -> int:
    """How many images (height, width, channels) of one size pass the network together."""
    return max(1, min(_BATCH, _PIXELS // (image.shape[0] * image.shape[1])))


def _check_names(knob: str, names: Sequence[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"gradcam.{knob}: {unknown_name(knob, name, known)}")


def _nearest_weights(model: keras.Model, features: keras.KerasTensor) -> list[tf.Variable]:
    """The weights of the last layer with weights on the way to the features."""
    on_the_way = keras.Model(model.inputs[0], features).layers
    return next([one.value for one in layer.weights] for layer in on_the_way[::-1] if layer.weights)


def _combine(maps: list[tf.Tensor]) -> tf.Tensor:
    """One map (n, height, width) of those of several layers, not below 0."""
    if len(maps) == 1:
        return maps[0]
    size = max((one.shape[1:] for one in maps), key=np.prod)
    return tf.reduce_mean(
        [tf.image.resize(_to_maximum_1(one[..., None]), size)[..., 0] for one in maps], axis=0
    )


def _to_maximum_1(maps: tf.Tensor) -> tf.Tensor:
    """Maps (n, height, width, 1), not below 0; one that is zero everywhere stays so."""
    return tf.math.divide_no_nan(maps, tf.reduce_max(maps, axis=(1, 2), keepdims=True))


def _calls(model: keras.Model) -> Iterator[tuple[keras.Operation, list[keras.Operation]]]:
    """Each layer with those that it reads, from input to output."""
    depths = model._nodes_by_depth  # there is no public view of it
    for depth in sorted(depths, reverse=True):
        for node in depths[depth]:
            yield node.operation, [parent.operation for parent in node.parent_nodes]


def _check_cam(model: keras.Model, layer: str, logits: str) -> None:
    """Refuse a layer behind which there is more than the mean over the places and one dense layer.

    Between the two may stand what is linear: together they are one dense layer all the same.
    """
    readers: dict[str, list[keras.Operation]] = {}
    graph = keras.Model(model.inputs[0], model.get_layer(logits).output)
    for reader, read in _calls(graph):
        for one in read:
            readers.setdefault(one.name, []).append(reader)
    means = readers.get(layer, [])
    unfit = [one.name for one in means if not isinstance(one, keras.layers.GlobalAveragePooling2D)]
    behind = [] if unfit else [one for mean in means for one in readers[mean.name]]
    for one in behind:  # which grows until it reaches the logits
        behind.extend(readers.get(one.name, []))
    unfit += [one.name for one in behind if one.name != logits and not isinstance(one, _LINEAR)]
    if unfit:
        raise InputError(
            "gradcam.method: cam expects only global average pooling and one dense layer behind "
            f"{layer}, found {unfit[0]}; take gradcam, which is the same there and works here too"
        )
