"""Stage `evaluate`: the saved model itself is run on the test images, for the first time."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from stages.common.dataset import Dataset, read_dataset
from stages.common.determinism import make_deterministic
from stages.common.encoding import decode, to_predictions
from stages.common.features import open_rows, predict
from stages.common.keras_files import load
from stages.common.log import log
from stages.common.params import Params
from stages.common.paths import METRICS, MODEL, PREDICTIONS, REPORTS
from stages.common.stage import run
from stages.common.tables import write_json, write_table
from stages.common.tasks import TASKS
from stages.common.variants import image_shards
from stages.evaluate.drawings import draw_calibration, draw_confusion, draw_labels, draw_numbers
from stages.evaluate.figures import calibrated, confusions, headline, per_class

FOLDER = REPORTS / "evaluate"


def main(params: Params) -> None:
    """Score the model on the test images."""
    make_deterministic(params.tensorflow.threads, seed=0)
    dataset, model = read_dataset(), load(MODEL)
    test, train = dataset.side("test"), dataset.side("train")
    task, truth, of_training = dataset.task, dataset.truth[test], dataset.truth[train]
    predictions = predict_test(model.predict_on_batch, dataset, test, params)
    facts = headline(task, truth, predictions, of_training)
    if task == "regression":
        draw_numbers(truth, predictions, FOLDER / "numbers.svg")
    else:
        facts["ece"] = _report_classes(dataset, truth, predictions, params)
    pairs = confusions(task, dataset.classes, truth, predictions, of_training)
    write_table(pairs, FOLDER / "confusion.csv")
    table = tabulate(dataset, test, predictions, params.encode.separator)
    write_table(table, PREDICTIONS)
    write_json({"test": facts}, METRICS)
    _log(task, facts)


def predict_test(
    network: Callable[[np.ndarray], np.ndarray], dataset: Dataset, test: np.ndarray, params: Params
) -> np.ndarray:
    """The predictions for the test images, as `to_predictions` gives them.

    With `evaluate.test_time_augmentation` the mean of those for the image and for its variants.
    """
    shards = image_shards(params.augment if params.evaluate.test_time_augmentation else None)
    rows = open_rows(list(shards.values()), dataset.manifest, params.augment.rescale)
    of_variants = [
        to_predictions(predict(network, rows, test, variant), dataset.task)
        for variant in range(rows.variants)
    ]
    return np.mean(of_variants, axis=0)


def tabulate(
    dataset: Dataset, test: np.ndarray, predictions: np.ndarray, separator: str
) -> pd.DataFrame:
    """One row for each test image, sorted by id.

    Returns:
        `id`, `source`, `split`, `label`, `predicted`; for numbers then `residual`, the label less
        the prediction; else `confidence` and `p_<class>` of each class. The confidence is the
        probability of the predicted class; of several labels, that of the least sure decision.
    """
    table = dataset.manifest.iloc[test][["id", "source", "split", "label"]].reset_index(drop=True)
    truth = dataset.truth[test]
    table["predicted"] = decode(predictions, dataset.task, dataset.classes, separator)
    if dataset.task == "regression":
        return table.assign(residual=truth - predictions)
    if dataset.task == "multilabel":
        # In the order of the predicted ones, whatever the order in which people named them.
        table["label"] = decode(truth, dataset.task, dataset.classes, separator)
        table["confidence"] = np.maximum(predictions, 1 - predictions).min(axis=1)
    else:
        table["confidence"] = predictions.max(axis=1)
    columns = [f"p_{name}" for name in dataset.classes]
    return pd.concat([table, pd.DataFrame(predictions, columns=columns)], axis=1)


def _report_classes(
    dataset: Dataset, truth: np.ndarray, probabilities: np.ndarray, params: Params
) -> float:
    """What there is for classes and labels alone; gives the calibration error."""
    task, classes = dataset.task, dataset.classes
    table = per_class(task, classes, truth, probabilities)
    write_table(table, FOLDER / "classes.csv")
    if task == "multilabel":
        draw_labels(table, FOLDER / "labels.svg")
    else:
        draw_confusion(classes, truth, probabilities, FOLDER / "confusion.svg")
    error, bins = calibrated(task, truth, probabilities, params.evaluate.calibration_bins)
    write_table(bins, FOLDER / "calibration.csv")
    draw_calibration(bins, FOLDER / "calibration.svg")
    return error


def _log(task: str, facts: dict) -> None:
    metric = TASKS[task].metrics[0]
    ends = facts.get(f"{metric}_ci95")
    interval = f" (95 % interval {ends[0]:.4f} to {ends[1]:.4f})" if ends else ""
    compared = "".join(f", {name} {facts[name]:.4f}" for name in facts if "baseline" in name)
    log(f"evaluate: {metric} {facts[metric]:.4f}{interval} on {facts['n']} test images{compared}")


if __name__ == "__main__":
    run(main)
