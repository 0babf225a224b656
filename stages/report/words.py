"""Test results and values in words, for every task."""

import math
import re
from typing import Any

from markupsafe import Markup, escape

from stages.common.tasks import TASKS

_NAMES = {
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "ece": "calibration error",
}
_SHARES = ("accuracy", "balanced_accuracy", "exact_match", "label_accuracy")
# What Markdown would take for more than text; HTML is escaped before.
_MARKS = re.compile(r"([\\`*_\[\]|~$#])")


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, list):
        return " to ".join(cell(one) for one in value)
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def markdown(value: Any) -> Markup:
    """A value as a table in Markdown shows it: text on one line, whatever it looks like."""
    text = str(escape(" ".join(cell(value).split())))
    return Markup(_MARKS.sub(r"\\\1", text.replace("&#39;", "'").replace("&#34;", '"')))


def some(names: list[str], most: int) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def explains(task: str, target: str | list[str]) -> str:
    """What the places that a heat map shows do, as the end of a sentence.

    Args:
        target: As in `gradcam` of the params.
    """
    if task == "regression":
        return "raise the predicted number"
    label = "label" if task == "multilabel" else "class"
    if target == "predicted":
        most = "most probable" if task == "multilabel" else "predicted"
        return f"speak for the {most} {label}"
    if target == "label":
        most = "most probable of the true labels" if task == "multilabel" else "true class"
        return f"speak for the {most}"
    names = [target] if isinstance(target, str) else target
    return f"speak for the {label} " + ", and against ".join(names)


def figures(task: str, test: dict) -> list[dict[str, str]]:
    """The scores of the task, and the calibration error if there is one: `name`, `value` and
    `interval`, as text."""
    names = [name for name in [*TASKS[task].metrics, "ece"] if name in test]
    return [
        {
            "name": _NAMES.get(name, name.replace("_", " ")),
            "value": _figure(name, test[name]),
            "interval": " to ".join(_figure(name, end) for end in test.get(f"{name}_ci95", [])),
        }
        for name in names
    ]


def verdict(task: str, test: dict) -> str:
    """What the test images say of the model, in two sentences."""
    return {"multilabel": _of_labels, "regression": _of_numbers}.get(task, _of_classes)(test)


def _of_classes(test: dict) -> str:
    return (
        f"The model is right on {test['accuracy']:.1%} of {test['n']:,} test images"
        f"{_interval('accuracy', test)}. Always answering the commonest class would be right on "
        f"{test['majority_baseline']:.1%}."
    )


def _of_labels(test: dict) -> str:
    return (
        f"The model has every label right on {test['exact_match']:.1%} of {test['n']:,} test "
        f"images{_interval('exact_match', test)}; of single labels {test['label_accuracy']:.1%} "
        "are right. Always answering the commonest set of labels would be right on "
        f"{test['baseline_exact_match']:.1%}."
    )


def _of_numbers(test: dict) -> str:
    return (
        f"The model is off by {test['mae']:.4g} in the mean of {test['n']:,} test images"
        f"{_interval('mae', test)}. Always answering the mean of the training images would be off "
        f"by {test['baseline_mae']:.4g}."
    )


def _interval(name: str, test: dict) -> str:
    if f"{name}_ci95" not in test:
        return ""
    low, high = (_figure(name, end) for end in test[f"{name}_ci95"])
    return f" (95 % interval {low} to {high})"


def _figure(name: str, value: float) -> str:
    if name in _SHARES:
        return f"{value:.1%}"
    return f"{value:.4g}" if name in ("rmse", "mae") else f"{value:.3f}"
