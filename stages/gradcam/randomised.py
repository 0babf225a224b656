"""Whether the maps depend on what the model learned: its layers lose that one after another.

Adebayo et al. 2018, "Sanity checks for saliency maps": the cascading randomisation. Maps that
stay the same show the photo, not the model.
"""

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from stages.common.heatmaps import map_layers
from stages.common.quiet_tensorflow import keras
from stages.common.randomness import generator
from stages.gradcam.methods import interval

_THIRDS = 3
_ONE = ("gamma", "moving_variance")
"""Names of the weights that are 1 before training."""


def correlations(model: keras.Model, maps: Callable[[], Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """How much the maps of ever more random models are like those of the trained one.

    Args:
        model: Its weights are as before afterwards.
        maps: Gives the maps (n, height, width) of some images by each method, with the weights at
            that moment.

    Returns:
        Of each method in turn `method`; `layer`: from the output back to it, weights are random;
        `correlation`: the mean rank correlation with the trained model's maps; `low` and `high`:
        its 95 % interval; `zero`: how many maps are zero everywhere or not finite, which correlate
        by 0 and so prove little. The last row of a method is of a model of random weights alone.
    """
    trained = maps()
    kept = model.get_weights()
    rows: dict[str, list[dict]] = {method: [] for method in trained}
    try:
        for layers in cascade(model):
            for layer in layers:
                randomise(model.get_layer(layer))
            for method, found in maps().items():
                row = {"method": method, "layer": layers[-1], **_likeness(trained[method], found)}
                rows[method].append(row)
    finally:
        model.set_weights(kept)
    return pd.DataFrame([row for of_method in rows.values() for row in of_method])


def _likeness(trained: np.ndarray, found: np.ndarray) -> dict[str, float]:
    each = np.array([rank_correlation(*pair) for pair in zip(trained, found, strict=True)])
    low, high = np.clip(interval(each), -1, 1)  # of few images it is wide
    zero = sum(not one.any() or not np.isfinite(one).all() for one in found)
    return {"correlation": each.mean(), "low": low, "high": high, "zero": zero}


def cascade(model: keras.Model) -> list[list[str]]:
    """The layers with weights from the last to the first, in a few groups: the last one, the rest
    of the head, and thirds of what gives maps of places. Empty groups are left out."""
    names = [layer.name for layer in model.layers if layer.weights]
    order = [layer.name for layer in model.layers]
    end = order.index(map_layers(model)[-1])
    backbone = [name for name in names if order.index(name) <= end][::-1]
    head = [name for name in names if order.index(name) > end][::-1]
    ends = np.linspace(0, len(backbone), _THIRDS + 1).round().astype(int)
    thirds = [backbone[one:other] for one, other in itertools.pairwise(ends)]
    return [group for group in [head[:1], head[1:], *thirds] if group]


def randomise(layer: keras.Layer) -> None:
    """Give a layer the weights of one that was never trained; they depend on its name alone.

    Kernels as He et al. 2015, "Delving deep into rectifiers", so that signals neither vanish nor
    explode on their way; biases and means 0, scales and variances 1.
    """
    if isinstance(layer, keras.layers.Normalization):
        return  # the mean and variance of images were not learned
    for number, weight in enumerate(layer.weights):
        if "float" not in weight.dtype:
            continue
        random = generator(0, "gradcam randomised", layer.name, number)
        if len(weight.shape) > 1:
            weight.assign(random.normal(0, np.sqrt(2 / _inputs(layer, weight)), weight.shape))
        else:
            weight.assign(np.full(weight.shape, float(weight.name in _ONE)))


def _inputs(layer: keras.Layer, kernel: keras.Variable) -> int:
    """How many values a kernel adds up to one."""
    each_alone = isinstance(layer, keras.layers.DepthwiseConv2D) or "depthwise" in kernel.name
    return int(np.prod(kernel.shape[:2] if each_alone else kernel.shape[:-1]))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation of two maps of the same shape, -1 to 1.

    Maps that are the same correlate by 1. Else one that is the same everywhere, or that a random
    model could not compute in finite numbers, correlates with nothing: 0.
    """
    if np.array_equal(one, other):
        return 1.0
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return 0.0
    ranks = [rankdata(values) - (values.size + 1) / 2 for values in (one, other)]
    norms = np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1])
    return float(ranks[0] @ ranks[1] / norms) if norms > 0 else 0.0
