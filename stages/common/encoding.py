"""Classes as numbers, and numbers as classes again."""

import numpy as np
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, OneHotEncoder

from stages.common.errors import InputError
from stages.common.names import unknown_name
from stages.common.params import Encoder


def encode(labels: np.ndarray, classes: list[str], encoder: Encoder) -> np.ndarray:
    """The training target of each label.

    Args:
        labels: (n,) text.
        classes: All classes, in the order of their codes.
        encoder: `label`: the code of the class; `onehot`: a column for each class; `binarizer`:
            the same, but one column for two classes.

    Returns:
        int64 (n, 1) for `label` and a binarizer of two classes, else (n, len(classes)).

    Raises:
        InputError: A label is not among the classes.

    Example:
        >>> encode(np.array(["cold", "warm", "hot"]), ["cold", "hot", "warm"], "label").ravel()
        array([0, 2, 1])
    """
    unseen = sorted(set(labels) - set(classes))
    if unseen:
        raise InputError(unknown_name("label", str(unseen[0]), classes))
    if encoder == "label":
        return LabelEncoder().fit(classes).transform(labels)[:, None].astype(np.int64)
    if encoder == "onehot":
        one_hot = OneHotEncoder(categories=[classes], sparse_output=False, dtype=np.int64)
        return one_hot.fit_transform(labels[:, None])
    return LabelBinarizer().fit(classes).transform(labels).astype(np.int64)


def to_probabilities(outputs: np.ndarray) -> np.ndarray:
    """One probability for each class, from the outputs of a network.

    Args:
        outputs: (n, classes) of a softmax, or (n, 1) of a sigmoid for the second of two classes.

    Returns:
        (n, classes), rows sum to 1.
    """
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def decode(outputs: np.ndarray, classes: list[str]) -> np.ndarray:
    """The label that outputs or targets mean: the inverse of every encoder but `label`.

    Args:
        outputs: As in `to_probabilities`; targets of `onehot` and `binarizer` fit too.
        classes: In the order of their codes.

    Returns:
        (n,) text.
    """
    return np.array(classes, dtype=object)[to_probabilities(outputs).argmax(axis=1)]


def codes(targets: np.ndarray, encoder: Encoder) -> np.ndarray:
    """The code of each target's class, int64 (n,), for every encoder."""
    return targets[:, 0] if encoder == "label" else to_probabilities(targets).argmax(axis=1)
