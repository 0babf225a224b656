"""The test results as pictures."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.metrics import confusion_matrix

from stages.common.charts import BLUE, GREY, ORANGE, save_chart, short_name

# More classes than these are too many for a number in each cell.
_NUMBERED_CLASSES = 20
# More dots than these make a large file and show no more.
_DOTS = 2000


def draw_confusion(
    classes: list[str], truth: np.ndarray, probabilities: np.ndarray, path: Path
) -> None:
    """How many images of each class (rows) are taken for which (columns)."""
    counts = confusion_matrix(truth, probabilities.argmax(axis=1), labels=range(len(classes)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    numbered = len(classes) <= _NUMBERED_CLASSES
    side = 2 + (0.6 if numbered else 0.2) * len(classes)
    figure, axes = plt.subplots(figsize=(side, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape) if numbered else []:
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=color)
    names = [short_name(name) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), names)
    axes.set(xlabel="predicted", ylabel="label")
    save_chart(figure, path)


def draw_labels(per_label: pd.DataFrame, path: Path) -> None:
    """Precision and recall of each label; labels that no image has are left empty."""
    figure, axes = plt.subplots(figsize=(6, 1 + 0.45 * len(per_label)))
    places = np.arange(len(per_label))
    for name, color, shift in [("precision", BLUE, -0.2), ("recall", ORANGE, 0.2)]:
        axes.barh(places + shift, per_label[name], height=0.36, color=color, label=name)
    names = [
        f"{short_name(one.label)} ({one.images})"
        for one in per_label[["label", "images"]].itertuples()
    ]
    axes.set_yticks(places, names)
    axes.set(
        xlim=(0, 1), xlabel="share", ylabel="label (test images)", ylim=(len(places) - 0.5, -0.5)
    )
    figure.legend(frameon=False, ncols=2, loc="outside upper right")
    save_chart(figure, path)


def draw_numbers(truth: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """Predicted against true numbers, and beside it the residuals."""
    order = np.argsort(truth, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, _DOTS).round().astype(int))]
    truth, predicted = truth[shown], predicted[shown]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2))
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    left.plot(ends, ends, color=GREY, linestyle=":")
    left.set(xlabel="label", ylabel="predicted", aspect="equal")
    right.axhline(0, color=GREY, linestyle=":")
    right.set(xlabel="predicted", ylabel="label less predicted")
    dots = {"s": 12, "color": BLUE, "alpha": 0.5, "linewidths": 0}
    left.scatter(truth, predicted, **dots)
    right.scatter(predicted, truth - predicted, **dots)
    save_chart(figure, path)


def draw_calibration(bins: pd.DataFrame, path: Path) -> None:
    """How often the model is right, by its confidence; larger dots stand for more images."""
    figure, axes = plt.subplots(figsize=(4, 4))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    counts = bins.iloc[:, -1]
    sizes = 20 + 200 * counts / counts.sum()
    axes.scatter(bins["confidence"], bins["accuracy"], s=sizes, color=BLUE, clip_on=False)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", aspect="equal")
    save_chart(figure, path)
