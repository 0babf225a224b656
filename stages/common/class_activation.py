"""Class activation maps: how each method weighs the features of a layer by their gradients.

A method takes features (n, height, width, features) and the gradients of a score by them, of the
same shape, both float32, and gives maps (n, height, width). Their negative places, which speak
against the score, are not yet cut off.
"""

from collections.abc import Callable

from stages.common.quiet_tensorflow import tf


def cam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Zhou et al. 2016, "Learning deep features for discriminative localization".

    Each feature by its weight in the dense layer behind the mean over the places: behind such a
    mean, that is the gradient at any place, times the number of places.
    """
    places = features.shape[1] * features.shape[2]
    return places * hirescam(features, gradients)


def gradcam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Selvaraju et al. 2017, "Grad-CAM: Visual explanations from deep networks via gradient-based
    localization": each feature by the mean of its gradient over the places."""
    return _weigh(features, tf.reduce_mean(gradients, axis=(1, 2)))


def gradcam_plus_plus(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Chattopadhay et al. 2018, "Grad-CAM++: Improved visual explanations for deep convolutional
    networks": each feature A by the sum over the places of alpha relu(g), g being its gradient,

        alpha = g**2 / (2 g**2 + sum(A) g**3) = 1 / (2 + sum(A) g)

    (The factor exp(score) that the paper's weights share is left out: it is the same everywhere in
    a map, and overflows. Meant for features that are not below 0, as behind a ReLU.)
    """
    total = tf.reduce_sum(features, axis=(1, 2), keepdims=True)
    alpha_gradients = tf.math.divide_no_nan(tf.nn.relu(gradients), 2 + total * gradients)
    return _weigh(features, tf.reduce_sum(alpha_gradients, axis=(1, 2)))


def hirescam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of
    convolutional neural networks": each feature by its gradient at the same place."""
    return tf.reduce_sum(features * gradients, axis=-1)


def layercam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Jiang et al. 2021, "LayerCAM: Exploring hierarchical class activation maps for
    localization": each feature by the positive part of its gradient at the same place."""
    return hirescam(features, tf.nn.relu(gradients))


def _weigh(features: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Add up features (n, height, width, features), each by its weight (n, features)."""
    return tf.einsum("nhwf,nf->nhw", features, weights)


METHODS: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "cam": cam,
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "hirescam": hirescam,
    "layercam": layercam,
}
"""By their names in the params. Score-CAM is none of them, since it takes no gradients."""
