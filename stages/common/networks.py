"""The whole network: backbone, pooling and head, and the cut that divides what trains from it.

image -> backbone ......... pooling -> head -> logits -> predictions
  |         |                  |
 full    partial             head         the cut of each strategy: all before it is frozen
"""

import pandas as pd

from stages.common.cuts import split
from stages.common.errors import InputError
from stages.common.names import unknown_name
from stages.common.params import Features, Penalty, Training
from stages.common.quiet_tensorflow import keras
from stages.common.randomness import whole_number

_POOLING = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "flatten": keras.layers.Flatten,
}


def add_pooling(backbone: keras.Model, features: Features) -> keras.Model:
    """The backbone as far as it is used, with the pooling of its layers behind it.

    Raises:
        InputError: One of `features.layers` is no layer with a map of places.
    """
    maps = {layer.name: layer.output for layer in backbone.layers if len(layer.output.shape) == 4}
    names = features.layers or [backbone.layers[-1].name]
    for name in names:
        if name not in maps:
            raise InputError(unknown_name(f"layer of {backbone.name}", name, maps))
    pool = _POOLING[features.pooling]
    if len(names) == 1:
        pooled = pool(name="pooling")(maps[names[0]])
    else:
        side_by_side = [pool(name=f"pooling_{name}")(maps[name]) for name in names]
        pooled = keras.layers.Concatenate(name="pooling")(side_by_side)
    return keras.Model(backbone.input, pooled, name=backbone.name)


def cut_name(network: keras.Model, features: Features) -> str:
    """The last frozen layer of a network with pooling, by the strategy of `features`."""
    if features.strategy == "partial":
        return features.cut
    return network.layers[0].name if features.strategy == "full" else "pooling"


def frozen_part(backbone: keras.Model, features: Features) -> keras.Model:
    """From the image to the cut; for strategy `auto` to the pooled features.

    Raises:
        InputError: `features.cut` is no layer through which everything passes.
    """
    network = add_pooling(backbone, features)
    return split(network, cut_name(network, features))[0]


def build_head(features: int, training: Training, activation: str, outputs: int) -> keras.Model:
    """The head alone, from pooled features to predictions.

    The same arguments give the same weights, whatever the process built before.

    Args:
        features: Length of the pooled features of one image.
        training: The params.
        activation: Of the outputs.
        outputs: How many.
    """
    pooled = keras.Input((features,), name="features")
    predictions = _add_head(pooled, training, activation, outputs)
    return keras.Model(pooled, predictions, name="rest")


def join(
    backbone: keras.Model,
    features: Features,
    pretrained: bool,
    training: Training,
    activation: str,
    outputs: int,
) -> tuple[keras.Model, keras.Model, keras.Model]:
    """The whole network, its part behind the cut, and the head, which share their layers.

    Args:
        backbone: From the uint8 image to the last feature map; its layers are used as they are.
        features: Where to cut and how to pool.
        pretrained: Batch normalisation of a pretrained backbone stays in inference mode behind
            the cut too: its statistics come from far more images than a batch here has. One
            with random weights has no statistics yet and must learn them.
        training: The params; `head` stands behind the pooling.
        activation: Of the outputs.
        outputs: How many.

    Returns:
        (whole, rest, head): `rest(frozen(x)) == whole(x)`; training `rest` or `head` trains
        `whole`. Layers up to the cut are not trainable. With strategy `head` the last two are one.
    """
    network = add_pooling(backbone, features)
    cut = cut_name(network, features)
    frozen, _ = split(network, cut)
    for layer in network.layers:
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = layer not in frozen.layers and not (normalises and pretrained)
        _penalise_convolution(layer, training.regularization.convolution)
    predictions = _add_head(network.output, training, activation, outputs)
    whole = keras.Model(network.input, predictions, name="darkroom")
    rest = split(whole, cut)[1]
    return whole, rest, rest if cut == "pooling" else split(whole, "pooling")[1]


def layer_table(model: keras.Model, before: dict[str, bool], head: keras.Model) -> pd.DataFrame:
    """One row for each layer, before the cut and after it.

    Args:
        model: The whole network.
        before: Whether each layer of the backbone was trainable as it came.
        head: What stands behind the pooling.

    Returns:
        `type`, `name`, `parameters`, and whether training moves the layer: `trainable_before`, in
        the network as it came (empty for a layer of the head), `trainable_head`, in phase `head`,
        and `trainable`, in the last phase.
    """
    of_head = {layer.name for layer in head.layers}
    rows = [
        {
            "type": type(layer).__name__,
            "name": layer.name,
            "parameters": layer.count_params(),
            "trainable_before": before.get(layer.name),
            "trainable_head": layer.trainable and layer.name in of_head,
            "trainable": layer.trainable,
        }
        for layer in model.layers
    ]
    return pd.DataFrame(rows)


def _add_head(
    pooled: keras.KerasTensor, training: Training, activation: str, outputs: int
) -> keras.KerasTensor:
    head, penalty = training.head, _regularizer(training.regularization.dense)

    def dense(name: str, units: int, initializer: str) -> keras.layers.Dense:
        start = _initializer(initializer, training.seed, name)
        return keras.layers.Dense(
            units, kernel_initializer=start, kernel_regularizer=penalty, name=name
        )

    def dropout(x: keras.KerasTensor, rate: float, name: str) -> keras.KerasTensor:
        seed = whole_number(training.seed, "dropout", name)
        return keras.layers.Dropout(rate, seed=seed, name=name)(x) if rate else x

    x = _normalize(pooled, "head_normalize") if head.normalize else pooled
    x = dropout(x, head.dropout, "head_dropout")
    for number, layer in enumerate(head.layers, start=1):
        name = f"head_{number}"
        x = dense(name, layer.units, layer.initializer)(x)
        if layer.batch_normalization == "before":
            x = _normalize(x, f"{name}_normalize")
        x = keras.layers.Activation(layer.activation, name=f"{name}_activation")(x)
        if layer.batch_normalization == "after":
            x = _normalize(x, f"{name}_normalize")
        x = dropout(x, layer.dropout, f"{name}_dropout")
    x = dense("logits", outputs, head.initializer)(x)
    return keras.layers.Activation(activation, name="predictions")(x)


def _normalize(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    # With Keras's 0.99 the statistics would need hundreds of batches, which small data never
    # give: a head that learned well would predict badly.
    return keras.layers.BatchNormalization(momentum=0.9, name=name)(x)


def _initializer(name: str, seed: int, layer: str) -> keras.initializers.Initializer:
    """With a seed of its own, so that no layer's start depends on what was built before."""
    found = keras.initializers.get(name)
    if name == "zeros":
        return found
    return type(found)(seed=whole_number(seed, "initializer", layer))


def _regularizer(penalty: Penalty) -> keras.regularizers.Regularizer | None:
    return keras.regularizers.L1L2(penalty.l1, penalty.l2) if penalty.l1 or penalty.l2 else None


def _penalise_convolution(layer: keras.layers.Layer, penalty: Penalty) -> None:
    convolution = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    if isinstance(layer, convolution):
        for weight in layer.trainable_variables:
            if "kernel" in weight.name:
                weight.regularizer = _regularizer(penalty)
