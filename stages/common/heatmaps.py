"""Grad-CAM: which places of the image raise the score of a class."""

import numpy as np

from stages.common.errors import InputError
from stages.common.names import unknown_name
from stages.common.quiet_tensorflow import keras, tf


def map_layers(model: keras.Model) -> list[str]:
    """The layers that give a map of places (n, height, width, features), from input to output.

    What stands before the first layer that was trained only prepares the image, and has no map.
    """
    found, trained = [], False
    for layer in model.layers:
        # The mean and variance of EfficientNet's first layer are weights, but of the images.
        trained |= bool(layer.weights) and not isinstance(layer, keras.layers.Normalization)
        if trained and len(layer.output.shape) == 4:
            found.append(layer.name)
    return found


def last_convolution(model: keras.Model) -> str:
    """The last map of the network: its last convolution, normalised and activated.

    Raises:
        InputError: The model has no layer with a map of places.
    """
    layers = map_layers(model)
    if not layers:
        raise InputError(f"gradcam: expected a model with a convolution, found {model.name!r}")
    return layers[-1]


class GradCam:
    """Heat maps of one layer.

    Selvaraju et al. 2017, "Grad-CAM: Visual explanations from deep networks via gradient-based
    localization": the positive part of the layer's features, each weighted by the mean gradient
    of the class score. The score is the logit, since the gradient of a probability vanishes where
    the model is sure.

    Args:
        model: Flat.
        layer: One of `map_layers(model)`.
        logits: The layer that gives the scores (n, classes) before the last activation.

    Raises:
        InputError: The layer is none of these.
    """

    def __init__(self, model: keras.Model, layer: str, logits: str = "logits"):
        layers = map_layers(model)
        if layer not in layers:
            raise InputError(f"gradcam.layer: {unknown_name('layer', layer, layers)}")
        outputs = [model.get_layer(layer).output, model.get_layer(logits).output]
        self._model = keras.Model(model.inputs, outputs)
        self._compute = tf.function(self._maps, reduce_retracing=True)

    def __call__(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """The heat map of each image for one class.

        Args:
            images: uint8 (n, h, w, c).
            classes: int (n,) code of the class or label to explain; of a single output 1 asks
                for what raises it, and 0 for what lowers it.

        Returns:
            float32 (n, map height, map width), not below 0, in units of the score: all zero
            where nothing speaks for the class.
        """
        return self._compute(tf.constant(images), tf.constant(classes, tf.int32)).numpy()

    def _maps(self, images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            features, logits = self._model(images, training=False)
            score = tf.gather(_both_signs(logits), classes, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))


def _both_signs(logits: tf.Tensor) -> tf.Tensor:
    """A single logit speaks for the second of two classes, or a larger number, and against the
    first, or a smaller one."""
    return tf.concat([-logits, logits], axis=1) if logits.shape[1] == 1 else logits


def peak(heat: np.ndarray) -> tuple[float, float]:
    """The centre of the hottest place, as shares of the width from the left and the height from
    the top; the middle of a map that is zero everywhere."""
    if heat.max() == 0:
        return 0.5, 0.5
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return (column + 0.5) / heat.shape[1], (row + 0.5) / heat.shape[0]
