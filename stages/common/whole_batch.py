"""Layers that see the whole batch, of which each replica has a share."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

from stages.common.distribution import bounds, copies
from stages.common.quiet_tensorflow import keras, tf


@contextlib.contextmanager
def whole_batch(model: keras.Model, size: tf.Tensor) -> Iterator[None]:
    """While a graph is built, let replicas of a model train as a single one would.

    Batch normalisation takes the statistics of all replicas, and dropout the replica's rows of
    the mask that a single one would draw. What a saved model says of itself stays as it was.

    Args:
        model: What the replicas run.
        size: Of the whole batch.
    """
    replaced: list[tuple[keras.Layer, str, Callable]] = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Not Keras's own `synchronized`: it takes the variance as E(x^2) - E(x)^2, of which
            # little is left where the mean is large.
            replaced.append((layer, "_moments", partial(_moments, size)))
        elif type(layer) is keras.layers.Dropout:
            replaced.append((layer, "call", partial(_dropout, layer, size)))
    for layer, name, function in replaced:
        setattr(layer, name, function)
    try:
        yield
    finally:
        for layer, name, _ in replaced:
            delattr(layer, name)


def _moments(size: tf.Tensor, inputs: tf.Tensor, mask: None) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over all but the last axis, as `tf.nn.moments`, of all replicas' inputs."""
    replica, axes = tf.distribute.get_replica_context(), list(range(inputs.shape.rank - 1))
    rows = size * copies(size, replica.num_replicas_in_sync)
    count = tf.cast(rows * tf.reduce_prod(tf.shape(inputs)[1:-1]), inputs.dtype)
    mean = replica.all_reduce("SUM", tf.reduce_sum(inputs, axes)) / count
    squares = tf.math.squared_difference(inputs, tf.stop_gradient(mean))
    return mean, replica.all_reduce("SUM", tf.reduce_sum(squares, axes)) / count


def _dropout(
    layer: keras.layers.Dropout, size: tf.Tensor, inputs: tf.Tensor, training: bool = False
) -> tf.Tensor:
    """The call of a dropout layer on a replica's rows."""
    if not training or not layer.rate:
        return inputs
    replica = tf.distribute.get_replica_context()
    start, end = bounds(size, replica.replica_id_in_sync_group, replica.num_replicas_in_sync)
    ones = tf.ones(tf.concat([[size], tf.shape(inputs)[1:]], 0), inputs.dtype)
    mask = keras.random.dropout(ones, layer.rate, layer.noise_shape, layer.seed_generator)
    return inputs * tf.ensure_shape(mask[start:end], inputs.shape)
