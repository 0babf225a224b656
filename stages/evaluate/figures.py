"""The test results as numbers and tables, for every task."""

import itertools

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from stages.common.encoding import APPLIES
from stages.common.scores import calibration, intervals, scores

_RANGES = 5


def headline(
    task: str, truth: np.ndarray, predictions: np.ndarray, of_training: np.ndarray
) -> dict[str, int | float | list[float]]:
    """`n`, the scores, the interval of each as `<score>_ci95`, and what a baseline would score.

    Args:
        task, truth, predictions: As for `scores`.
        of_training: Truth of the images that were trained on.
    """
    ends = {f"{name}_ci95": pair for name, pair in intervals(task, truth, predictions).items()}
    return {
        "n": len(truth),
        **scores(task, truth, predictions),
        **ends,
        **baseline(task, truth, of_training),
    }


def baseline(task: str, truth: np.ndarray, of_training: np.ndarray) -> dict[str, float]:
    """What always the same answer would score, whatever the image.

    Returns:
        Classes: `majority_baseline`, the accuracy of the commonest class of the training images.
        Labels: `baseline_exact_match` of their commonest set of labels. Numbers: `baseline_rmse`
        and `baseline_mae` of their mean.
    """
    if task == "regression":
        errors = truth - of_training.mean()
        mae, rmse = np.mean(np.abs(errors)), np.sqrt(np.mean(errors**2))
        return {"baseline_mae": float(mae), "baseline_rmse": float(rmse)}
    values, counts = np.unique(of_training, axis=0, return_counts=True)
    commonest = values[counts.argmax()]
    if task == "multilabel":
        return {"baseline_exact_match": float(np.mean((truth == commonest).all(axis=1)))}
    return {"majority_baseline": float(np.mean(truth == commonest))}


def calibrated(
    task: str, truth: np.ndarray, probabilities: np.ndarray, bins: int
) -> tuple[float, pd.DataFrame]:
    """Calibration error and its bins: of the predicted classes, or of all decisions on labels."""
    if task != "multilabel":
        error, table = calibration(truth, probabilities, bins)
        return error, pd.DataFrame(table)
    yes = probabilities.ravel()
    error, table = calibration(truth.ravel(), np.column_stack([1 - yes, yes]), bins)
    return error, pd.DataFrame(table).rename(columns={"images": "decisions"})


def per_class(
    task: str, classes: list[str], truth: np.ndarray, probabilities: np.ndarray
) -> pd.DataFrame:
    """Precision, recall and F1 of each class or label, and the `images` that have it."""
    if task == "multilabel":
        predicted = (probabilities >= APPLIES).astype(int)
    else:
        predicted = probabilities.argmax(axis=1)
    precision, recall, f1, images = precision_recall_fscore_support(
        truth, predicted, labels=range(len(classes)), average=None, zero_division=0
    )
    columns = {"label": classes, "precision": precision, "recall": recall, "f1": f1}
    return pd.DataFrame({**columns, "images": images})


def confusions(
    task: str,
    classes: list[str],
    truth: np.ndarray,
    predictions: np.ndarray,
    of_training: np.ndarray,
) -> pd.DataFrame:
    """`label` and `predicted` as few names, of which a plot can count the pairs.

    Returns:
        For classes a row for each image. For labels a row for each image and label: that label, or
        "not" and the label. For numbers a row for each image: the fifth of the training values in
        which each number lies.
    """
    if task == "regression":
        limits = np.quantile(of_training, np.arange(1, _RANGES) / _RANGES)
        names = _range_names(limits)
        pair = [names[np.searchsorted(limits, values)] for values in (truth, predictions)]
    elif task == "multilabel":
        names = np.array([[f"not {name}" for name in classes], classes], dtype=object)
        labels = np.arange(len(classes))
        pair = [
            names[yes.astype(int), labels].ravel() for yes in (truth == 1, predictions >= APPLIES)
        ]
    else:
        names = np.array(classes, dtype=object)
        pair = [names[truth], names[predictions.argmax(axis=1)]]
    return pd.DataFrame(dict(zip(["label", "predicted"], pair, strict=True)))


def _range_names(limits: np.ndarray) -> np.ndarray:
    """Of the ranges between limits, numbered, so that names sort as the ranges do."""
    ends = [f"{limit:.4g}" for limit in limits]
    names = [f"to {ends[0]}", *(f"{a} to {b}" for a, b in itertools.pairwise(ends))]
    names.append(f"above {ends[-1]}")
    return np.array([f"{number}: {name}" for number, name in enumerate(names, start=1)], object)
