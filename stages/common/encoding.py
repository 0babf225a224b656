"""Labels as numbers, and numbers as labels again."""

import math
from collections.abc import Iterable

import numpy as np
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, MultiLabelBinarizer, OneHotEncoder

from stages.common.errors import InputError
from stages.common.names import unknown_name
from stages.common.tasks import EncoderName, TaskName

APPLIES = 0.5
"""Smallest probability of a label that is said to apply (multilabel)."""


def to_number(label: str) -> float | None:
    """The finite number that a text stands for, or None."""
    try:
        number = float(label)
    except ValueError:
        return None
    # Python reads 1_0 as 10, but a label with an underscore is a name.
    return number if math.isfinite(number) and "_" not in label else None


def split_cell(cell: str, separator: str) -> list[str]:
    """The labels that stand in one cell, perhaps none."""
    return [label for label in (part.strip() for part in cell.split(separator)) if label]


def infer_task(labels: Iterable[str], separator: str) -> TaskName:
    """The task that labels speak of.

    Any with the separator: multilabel. All of them finite numbers, at least one with a fraction:
    regression. Else two classes are binary and more are multiclass.

    Example:
        >>> infer_task(["cat", "dog|cat"], "|"), infer_task(["1", "2.5"], "|")
        ('multilabel', 'regression')
    """
    distinct = set(labels)
    if any(separator in label for label in distinct):
        return "multilabel"
    numbers = [to_number(label) for label in distinct]
    if None not in numbers and any(number % 1 for number in numbers):
        return "regression"
    return "binary" if len(distinct) <= 2 else "multiclass"


def find_classes(labels: Iterable[str], task: TaskName, separator: str) -> list[str]:
    """All classes in the order of their codes; none for regression.

    Sorted text: the same classes have the same codes, whatever order the photos came in.
    """
    if task == "regression":
        return []
    if task == "multilabel":
        return sorted({label for cell in set(labels) for label in split_cell(cell, separator)})
    return sorted(set(labels))


def encode(
    labels: np.ndarray,
    classes: list[str],
    task: TaskName,
    encoder: EncoderName,
    separator: str = "|",
) -> np.ndarray:
    """The training target of each label.

    Args:
        labels: (n,) text; for multilabel the labels of an image stand in one cell.
        classes: All classes, in the order of their codes.
        task: What is to be learned.
        encoder: `label`: the code of the class; `onehot`: a column for each class; `binarizer`:
            the same, but one column for two classes, and for multilabel 1 in the column of each
            label that applies; `none`: the number itself.
        separator: Between the labels in a cell.

    Returns:
        int64 (n, 1) for `label` and a binarizer of two classes, else (n, len(classes)); float64
        (n, 1) for regression.

    Raises:
        InputError: A label is not among the classes, or (regression) no number.

    Example:
        >>> water = np.array(["cold", "warm", "hot"])
        >>> encode(water, ["cold", "hot", "warm"], "multiclass", "label").ravel()
        array([0, 2, 1])
    """
    if task == "regression":
        return np.array([_number(label) for label in labels])[:, None]
    unseen = sorted(set(find_classes(labels, task, separator)) - set(classes))
    if unseen:
        raise InputError(unknown_name("label", str(unseen[0]), classes))
    if task == "multilabel":
        cells = [split_cell(cell, separator) for cell in labels]
        return MultiLabelBinarizer(classes=classes).fit_transform(cells).astype(np.int64)
    if encoder == "label":
        return LabelEncoder().fit(classes).transform(labels)[:, None].astype(np.int64)
    if encoder == "onehot":
        one_hot = OneHotEncoder(categories=[classes], sparse_output=False, dtype=np.int64)
        return one_hot.fit_transform(labels[:, None])
    return LabelBinarizer().fit(classes).transform(labels).astype(np.int64)


def truth(targets: np.ndarray, task: TaskName, encoder: EncoderName) -> np.ndarray:
    """What is true of each image, whatever encoder made its target.

    Args:
        targets: (n, columns) of `encode`.
        task, encoder: As in `encode`.

    Returns:
        int64 (n,) code of the class for binary and multiclass, int64 (n, labels) with 1 where a
        label applies for multilabel, float64 (n,) for regression.
    """
    if task == "regression":
        return targets[:, 0].astype(np.float64)
    if task == "multilabel":
        return targets.astype(np.int64)
    codes = targets[:, 0] if encoder == "label" else to_predictions(targets, task).argmax(axis=1)
    return codes.astype(np.int64)


def to_predictions(outputs: np.ndarray, task: TaskName) -> np.ndarray:
    """What a network predicts, from its outputs.

    Args:
        outputs: (n, classes) of a softmax, (n, 1) of a sigmoid for the second of two classes,
            (n, labels) of sigmoids for multilabel, (n, 1) for regression.
        task: What was learned.

    Returns:
        (n, classes) probabilities for binary and multiclass, rows sum to 1; (n, labels)
        probabilities for multilabel; (n,) values for regression.
    """
    if task == "regression":
        return outputs[:, 0]
    if task == "binary" and outputs.shape[1] == 1:
        return np.hstack([1 - outputs, outputs])
    return outputs


def decode(
    predictions: np.ndarray, task: TaskName, classes: list[str], separator: str = "|"
) -> np.ndarray:
    """The label that predictions mean.

    Args:
        predictions: As `to_predictions` gives them.
        task: What was learned.
        classes: In the order of their codes.
        separator: Between the labels of one image.

    Returns:
        (n,) text: the most probable class; for multilabel all labels with a probability of at
        least `APPLIES`, perhaps none; for regression the number with 6 digits.
    """
    if task == "regression":
        texts = [f"{value:.6g}" for value in predictions]
    elif task == "multilabel":
        texts = [
            separator.join(name for name, applies in zip(classes, row, strict=True) if applies)
            for row in predictions >= APPLIES
        ]
    else:
        texts = [classes[code] for code in predictions.argmax(axis=1)]
    return np.array(texts, dtype=object)


def _number(label: str) -> float:
    number = to_number(label)
    if number is None:
        raise InputError(f"label {str(label)!r}: expected a finite number for task regression")
    return number
