"""Stage `evaluate`: the saved model itself is run on the test images, for the first time."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from stages.common.charts import BLUE, GREY, save_chart
from stages.common.dataset import Dataset, read_dataset
from stages.common.determinism import make_deterministic
from stages.common.encoding import decode, to_probabilities
from stages.common.features import open_images
from stages.common.keras_files import load
from stages.common.params import Params
from stages.common.paths import METRICS, MODEL, PREDICTIONS, REPORTS
from stages.common.scores import calibration, scores, wilson_interval
from stages.common.stage import log, run
from stages.common.tables import write_json, write_table

FOLDER = REPORTS / "evaluate"
_BATCH = 64


def main(params: Params) -> None:
    """Score the model on the test images."""
    make_deterministic(params.tensorflow.threads, seed=0)
    dataset = read_dataset()
    test = dataset.side("test")
    model, images = load(MODEL), open_images(dataset.manifest)
    outputs = [
        model.predict_on_batch(images.take(test[start : start + _BATCH]))
        for start in range(0, len(test), _BATCH)
    ]
    probabilities = to_probabilities(np.concatenate(outputs))
    truth = dataset.truth[test]
    error, bins = calibration(truth, probabilities, params.evaluate.calibration_bins)
    facts = {**_headline(dataset, truth, probabilities), "ece": error}
    write_json({"test": facts}, METRICS)
    write_table(_predictions(dataset, test, probabilities), PREDICTIONS)
    write_table(_per_class(dataset.classes, truth, probabilities), FOLDER / "classes.csv")
    write_table(pd.DataFrame(bins), FOLDER / "calibration.csv")
    _draw_confusion(dataset.classes, truth, probabilities)
    _draw_calibration(bins)
    low, high = facts["accuracy_ci95"]
    log(
        f"evaluate: accuracy {facts['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}) on "
        f"{facts['n']} test images; always the commonest class: {facts['majority_baseline']:.4f}"
    )


def _headline(dataset: Dataset, truth: np.ndarray, probabilities: np.ndarray) -> dict:
    correct = int(np.sum(probabilities.argmax(axis=1) == truth))
    commonest = np.bincount(dataset.truth[dataset.side("train")]).argmax()
    return {
        "n": len(truth),
        **scores(truth, probabilities),
        "accuracy_ci95": wilson_interval(correct, len(truth)),
        "majority_baseline": float(np.mean(truth == commonest)),
    }


def _predictions(dataset: Dataset, test: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """One row for each test image, sorted by id."""
    table = dataset.manifest.iloc[test][["id", "source", "split", "label"]].reset_index(drop=True)
    table["predicted"] = decode(probabilities, dataset.classes)
    table["confidence"] = probabilities.max(axis=1)
    columns = [f"p_{name}" for name in dataset.classes]
    return pd.concat([table, pd.DataFrame(probabilities, columns=columns)], axis=1)


def _per_class(classes: list[str], truth: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    precision, recall, f1, images = precision_recall_fscore_support(
        truth, probabilities.argmax(axis=1), labels=range(len(classes)), zero_division=0
    )
    columns = {"label": classes, "precision": precision, "recall": recall, "f1": f1}
    return pd.DataFrame({**columns, "images": images})


def _draw_confusion(classes: list[str], truth: np.ndarray, probabilities: np.ndarray) -> None:
    counts = confusion_matrix(truth, probabilities.argmax(axis=1), labels=range(len(classes)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2 + 0.6 * len(classes)
    figure, axes = plt.subplots(figsize=(side, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=color)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="label")
    save_chart(figure, FOLDER / "confusion.svg")


def _draw_calibration(bins: list[dict[str, float]]) -> None:
    figure, axes = plt.subplots(figsize=(4, 4))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    confidence, accuracy, images = (
        [one[name] for one in bins] for name in ("confidence", "accuracy", "images")
    )
    axes.scatter(confidence, accuracy, s=20 + 200 * np.array(images) / sum(images), color=BLUE)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", aspect="equal")
    save_chart(figure, FOLDER / "calibration.svg")


if __name__ == "__main__":
    run(main)
