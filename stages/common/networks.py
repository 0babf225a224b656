"""The whole network: backbone, pooling and head, and the cut that divides what trains from it.

image -> backbone ......... pooling -> head -> logits -> predictions
  |         |                  |
 full    partial             head         the cut of each strategy: all before it is frozen
"""

import pandas as pd

from stages.common.cuts import split
from stages.common.errors import InputError
from stages.common.names import unknown_name
from stages.common.params import Encoder, Features, Head, Training
from stages.common.quiet_tensorflow import keras

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
    """From the image to the cut.

    Raises:
        InputError: `features.cut` is no layer through which everything passes.
    """
    network = add_pooling(backbone, features)
    return split(network, cut_name(network, features))[0]


def join(
    backbone: keras.Model,
    features: Features,
    pretrained: bool,
    head: Head,
    outputs: int,
) -> tuple[keras.Model, keras.Model]:
    """The whole network and its part behind the cut, which share their layers.

    Args:
        backbone: From the uint8 image to the last feature map; its layers are used as they are.
        features: Where to cut and how to pool.
        pretrained: Batch normalisation of a pretrained backbone stays in inference mode behind
            the cut too: its statistics come from far more images than a batch here has. One
            with random weights has no statistics yet and must learn them.
        head: What stands behind the pooling.
        outputs: 1 for a sigmoid (the second of two classes), else the number of classes.

    Returns:
        (whole, rest): `rest(frozen(x)) == whole(x)`; training `rest` trains `whole`. Layers up
        to the cut are not trainable.
    """
    network = add_pooling(backbone, features)
    cut = cut_name(network, features)
    frozen, _ = split(network, cut)
    for layer in network.layers:
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = layer not in frozen.layers and not (normalises and pretrained)
    whole = keras.Model(network.input, _add_head(network.output, head, outputs), name="darkroom")
    return whole, split(whole, cut)[1]


def output_count(encoder: Encoder, classes: int) -> int:
    """Outputs of the network: one for a binarizer of two classes, else one for each class."""
    return 1 if encoder == "binarizer" and classes == 2 else classes


def loss_name(training: Training, encoder: Encoder, outputs: int) -> str:
    """The Keras name of the loss: the one that fits the targets, unless params name it.

    Raises:
        InputError: A cross-entropy over classes for one output: it would be 0 whatever that says.
    """
    if outputs == 1 and training.loss == "categorical_crossentropy":
        raise InputError(
            "training.loss: expected auto or binary_crossentropy for two classes with "
            f"encode.encoder={encoder}, which gives one output, received {training.loss}"
        )
    if training.loss != "auto":
        return training.loss
    if outputs == 1:
        return "binary_crossentropy"
    return "sparse_categorical_crossentropy" if encoder == "label" else "categorical_crossentropy"


def layer_table(model: keras.Model) -> pd.DataFrame:
    """One row for each layer: `type`, `name`, `trainable` (whether training moves it) and
    `parameters`."""
    rows = [
        {
            "type": type(layer).__name__,
            "name": layer.name,
            "trainable": layer.trainable,
            "parameters": layer.count_params(),
        }
        for layer in model.layers
    ]
    return pd.DataFrame(rows)


def _add_head(pooled: keras.KerasTensor, head: Head, outputs: int) -> keras.KerasTensor:
    regularizer = keras.regularizers.L2(head.l2) if head.l2 else None
    x = pooled
    if head.normalize:
        # With Keras's 0.99 the statistics would need hundreds of batches, which small data never
        # give: a head that learned well would predict badly.
        x = keras.layers.BatchNormalization(momentum=0.9, name="head_normalize")(x)
    if head.dropout:
        x = keras.layers.Dropout(head.dropout, name="head_dropout")(x)
    for number, layer in enumerate(head.layers, start=1):
        dense = keras.layers.Dense(
            layer.units,
            layer.activation,
            kernel_regularizer=regularizer,
            name=f"head_{number}",
        )
        x = dense(x)
        if layer.dropout:
            x = keras.layers.Dropout(layer.dropout, name=f"head_{number}_dropout")(x)
    # Zeros, since a random start would stay in the weights, where a heat map shows it as evidence.
    x = keras.layers.Dense(
        outputs, kernel_initializer="zeros", kernel_regularizer=regularizer, name="logits"
    )(x)
    activation = "sigmoid" if outputs == 1 else "softmax"
    return keras.layers.Activation(activation, name="predictions")(x)
