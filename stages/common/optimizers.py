"""Keras's optimizers as params name them."""

from stages.common.params import OPTIMIZER_OPTIONS, Optimizer
from stages.common.quiet_tensorflow import keras

_CLASSES = {
    "sgd": keras.optimizers.SGD,
    "adagrad": keras.optimizers.Adagrad,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
}
_CLIPS = {
    "clip_norm": "clipnorm",
    "clip_value": "clipvalue",
    "global_clip_norm": "global_clipnorm",
}


def build_optimizer(params: Optimizer) -> keras.optimizers.Optimizer:
    """A fresh optimizer.

    Its rate is that of the params; a trainer sets it anew for every step, and so brings in `decay`
    and the schedule.
    """
    names = {name: name for name in OPTIMIZER_OPTIONS[params.name] if name != "decay"} | _CLIPS
    options = {keras_name: getattr(params, name) for name, keras_name in names.items()}
    given = {name: value for name, value in options.items() if value is not None}
    return _CLASSES[params.name](learning_rate=params.learning_rate, **given)
