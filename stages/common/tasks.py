"""The four tasks, and which encoding, loss, last activation and metrics fit each other.

task        encoder             loss                             last activation  outputs
binary      label               sparse categorical crossentropy  softmax          2
            label               binary crossentropy              sigmoid          1
            onehot              categorical crossentropy         softmax          2
            binarizer           binary crossentropy              sigmoid          1
multiclass  label               sparse categorical crossentropy  softmax          classes
            onehot, binarizer   categorical crossentropy         softmax          classes
multilabel  binarizer           binary crossentropy              sigmoid          labels
regression  none                mean squared or absolute error   linear           1
"""

from dataclasses import dataclass
from typing import Literal

TaskName = Literal["binary", "multiclass", "multilabel", "regression"]
EncoderName = Literal["label", "onehot", "binarizer", "none"]


@dataclass(frozen=True)
class Fit:
    """A loss and a last activation that make sense together."""

    loss: str
    activation: str


@dataclass(frozen=True)
class Task:
    """What holds for one task.

    Attributes:
        fits: For each encoder, what fits it; the first is what `auto` means. The first encoder is
            what `auto` means, too.
        metrics: Names of its scores (`stages/common/scores.py`); the first compares candidates.
        lower_is_better: Those of them of which a lower value is better.
    """

    fits: dict[str, tuple[Fit, ...]]
    metrics: tuple[str, ...]
    lower_is_better: tuple[str, ...]

    def better(self, metric: str) -> Literal["min", "max"]:
        """Whether the lower or the higher value of a metric is the better one."""
        return "min" if metric in self.lower_is_better else "max"


_SPARSE = Fit("sparse_categorical_crossentropy", "softmax")
_CATEGORICAL = Fit("categorical_crossentropy", "softmax")
_BINARY = Fit("binary_crossentropy", "sigmoid")
_OF_CLASSES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")

TASKS: dict[str, Task] = {
    "binary": Task(
        {"label": (_SPARSE, _BINARY), "onehot": (_CATEGORICAL,), "binarizer": (_BINARY,)},
        metrics=_OF_CLASSES,
        lower_is_better=("log_loss",),
    ),
    "multiclass": Task(
        {"label": (_SPARSE,), "onehot": (_CATEGORICAL,), "binarizer": (_CATEGORICAL,)},
        metrics=_OF_CLASSES,
        lower_is_better=("log_loss",),
    ),
    "multilabel": Task(
        {"binarizer": (_BINARY,)},
        metrics=("macro_f1", "micro_f1", "exact_match", "label_accuracy", "log_loss"),
        lower_is_better=("log_loss",),
    ),
    "regression": Task(
        {"none": (Fit("mean_squared_error", "linear"), Fit("mean_absolute_error", "linear"))},
        metrics=("rmse", "mae", "r2"),
        lower_is_better=("rmse", "mae"),
    ),
}
LOSSES = sorted(
    {fit.loss for task in TASKS.values() for fits in task.fits.values() for fit in fits}
)
OUTPUT_ACTIVATIONS = ["softmax", "sigmoid", "linear"]
METRICS = sorted({metric for task in TASKS.values() for metric in task.metrics})


def output_count(task: str, activation: str, classes: int) -> int:
    """Outputs of the network; a single sigmoid tells two classes apart."""
    if task == "regression" or (task == "binary" and activation == "sigmoid"):
        return 1
    return classes
