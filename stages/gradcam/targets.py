"""What is explained of each image, and how strongly the model says it."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from stages.common.encoding import split_cell
from stages.common.errors import InputError, shown
from stages.common.heatmaps import difference, one_hot
from stages.common.names import unknown_name

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From outputs of the model (n, outputs) and weights (n, outputs) to (n,), mostly 0 to 1."""


def likeliest(predictions: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """int (n,) code of the most probable class or label; of numbers 1, which asks for what raises
    them."""
    if not classes:
        return np.ones(len(predictions), dtype=np.int64)
    return _probabilities(predictions, classes).argmax(axis=1)


def explained(
    predictions: pd.DataFrame,
    classes: list[str],
    target: str | list[str],
    outputs: int,
    separator: str | None = None,
) -> np.ndarray:
    """The weights of the logits in the score that the heat maps explain.

    Args:
        predictions: n rows of `reports/predictions.csv`.
        classes: In the order of their codes; none for numbers.
        target: `predicted`: the most probable class or label. `label`: the true class; of several
            labels the most probable one, and if an image has none, the most probable one of all.
            The name of a class. Two names: what tells the first from the second.
        outputs: How many logits the model has.
        separator: Between the labels of an image, for multilabel.

    Returns:
        float32 (n, outputs), as `HeatMaps` wants them.

    Raises:
        InputError: The target names no class.
    """
    if target == "predicted" or (target == "label" and not classes):
        return one_hot(likeliest(predictions, classes), outputs)
    if target == "label":
        return one_hot(_true(predictions, classes, separator), outputs)
    codes = [_code(name, classes) for name in ([target] if isinstance(target, str) else target)]
    if len(codes) == 1:
        return one_hot(np.full(len(predictions), codes[0]), outputs)
    if codes[0] == codes[1]:
        raise InputError(
            f"gradcam.target: expected two different classes, received {shown(target)}; name the "
            "one to tell from the other"
        )
    return difference(codes[0], codes[1], len(predictions), outputs)


def score_of_classes(outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How sure the model is of what is explained, 0 to 1.

    The probability of a class that is spoken for, or of its absence where it is spoken against;
    of two classes the mean of both.
    """
    probability = np.where(weights > 0, outputs, 1 - outputs)
    return np.mean(probability, axis=1, where=weights != 0)


def score_of_numbers(predictions: pd.DataFrame) -> Score:
    """A prediction as a share of the way from the smallest to the largest prediction.

    Args:
        predictions: Of all test images; `predicted` is a number.
    """
    numbers = predictions["predicted"].astype(float)
    lowest, span = numbers.min(), numbers.max() - numbers.min()

    def score(outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return (outputs[:, 0].astype(float) - lowest) / (span or 1)

    return score


def _probabilities(predictions: pd.DataFrame, classes: list[str]) -> np.ndarray:
    return predictions[[f"p_{name}" for name in classes]].to_numpy()


def _true(predictions: pd.DataFrame, classes: list[str], separator: str | None) -> np.ndarray:
    cells = [split_cell(one, separator) if separator else [one] for one in predictions["label"]]
    true = np.array([[name in cell for name in classes] for cell in cells])
    probabilities = _probabilities(predictions, classes)
    candidates = true | ~true.any(axis=1, keepdims=True)
    return np.where(candidates, probabilities, -1).argmax(axis=1)


def _code(name: str, classes: list[str]) -> int:
    if not classes:
        raise InputError(
            f"gradcam.target: expected predicted for numbers, received {name!r}; they have no "
            "classes"
        )
    if name not in classes:
        raise InputError(f"gradcam.target: {unknown_name('class', name, classes)}")
    return classes.index(name)
