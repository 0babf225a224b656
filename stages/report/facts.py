"""What the page and the model card show, read from the reports of the other stages."""

from typing import Any

import pandas as pd

from stages.common.params import Params, Ratios
from stages.common.paths import CHOICE, CLASSES, METRICS, PREDICTIONS, REPORTS
from stages.common.tables import read_json, read_table
from stages.report.excerpts import MOST_ROWS, chart, excerpt, table
from stages.report.explanations import explanations
from stages.report.gallery import addresses
from stages.report.words import figures, some, verdict

_NAMED_CLASSES = 20
_MOST_LAYERS = 1000

# Of each task: the pictures of the test results, and what they show.
_CONFUSION = ("confusion", "Labels by predictions")
_LABELS = ("labels", "Precision and recall of each label")
_NUMBERS = ("numbers", "Predictions by labels, and what they are off by; dotted: no error")
_TEST_CHARTS = {
    "binary": _CONFUSION,
    "multiclass": _CONFUSION,
    "multilabel": _LABELS,
    "regression": _NUMBERS,
}


def read_facts(params: Params) -> dict[str, Any]:
    """Everything that the other stages found, by the names that the templates use.

    Raises:
        InputError: A report is missing: a stage before this one has not run.
    """
    encoding = read_json(CLASSES)
    task = encoding["task"]
    return {
        "task": task,
        "class_names": encoding["classes"],
        "named_classes": some(encoding["classes"], _NAMED_CLASSES),
        **_data(task),
        **_split(),
        **_candidates(params.metric(task)),
        **_training(),
        **_test(task),
        **_calibration(task),
        **_errors(task),
        **explanations(task, params.encode.separator if task == "multilabel" else None),
    }


def _data(task: str) -> dict[str, Any]:
    ingest = read_json(REPORTS / "ingest/summary.json")
    return {
        "ingest": ingest,
        "classes": [] if task == "regression" else _commonest(ingest["images_per_class"]),
        "rejected": table("ingest/rejected.csv"),
        "repeats": table("ingest/groups.csv"),
        "conflicts": table("ingest/conflicts.csv"),
        "quality": table("ingest/quality.csv"),
    }


def _commonest(images_per_class: dict[str, int]) -> list[dict]:
    """The classes by name; of more than a page holds those with the most images."""
    commonest = sorted(images_per_class.items(), key=lambda one: (-one[1], one[0]))[:MOST_ROWS]
    return [{"class": label or "(none)", "images": images} for label, images in sorted(commonest)]


def _split() -> dict[str, Any]:
    sides = _sides(read_table(REPORTS / "split/summary.csv"))
    return {
        "split": read_json(REPORTS / "split/summary.json"),
        "sides": excerpt(sides),
        "leaks": table("split/leaks.csv"),
        "balance": chart("split/balance.svg"),
    }


def _sides(counts: pd.DataFrame) -> pd.DataFrame:
    """Images of each class, label or range (rows) on each side (columns)."""
    images = counts.pivot_table(
        index="label", columns="split", values="images", aggfunc="sum", fill_value=0
    )
    sides = list(Ratios.model_fields)
    return images.reindex(index=counts["label"].unique(), columns=sides, fill_value=0).reset_index()


def _candidates(metric: str) -> dict[str, Any]:
    candidates = read_table(REPORTS / "kfold/summary.csv")
    suspects = read_table(REPORTS / "kfold/label_errors.csv")
    return {
        "choice": read_json(CHOICE),
        "metric": metric,
        "selected": candidates[candidates["selected"]].to_dict("records")[0],
        # The chosen one first, so that it is seen however many there are.
        "candidates": excerpt(candidates.sort_values("selected", ascending=False, kind="stable")),
        "candidates_chart": chart("kfold/candidates.svg"),
        "suspects": excerpt(suspects),
    }


def _training() -> dict[str, Any]:
    history = read_table(REPORTS / "finetune/history.csv")
    training = read_json(REPORTS / "finetune/summary.json")
    return {
        "finetune": training,
        "kept_epoch": history[history["kept"]].to_dict("records")[0],
        "phases": [_phase(phase) for phase in training["phases"]],
        "layers": table("finetune/layers.csv", rows=_MOST_LAYERS),
        "curves": chart("finetune/curves.svg"),
    }


def _phase(phase: dict) -> dict:
    """What was planned and done in a phase of the training, as a row."""
    return {
        "phase": phase["phase"],
        "epochs": f"{phase['epochs_done']:,} of {phase['epochs_planned']:,}",
        "iterations per epoch": phase["iterations_per_epoch"],
        "iterations": f"{phase['iterations_done']:,} of {phase['iterations_planned']:,}",
    }


def _test(task: str) -> dict[str, Any]:
    test = read_json(METRICS)["test"]
    name, shows = _TEST_CHARTS[task]
    per_class = pd.DataFrame()
    if task != "regression":
        # The worst first, so that a class that fails is seen however many there are.
        per_class = read_table(REPORTS / "evaluate/classes.csv")
        per_class = per_class.sort_values(["f1", "label"], kind="stable")
    return {
        "test": test,
        "verdict": verdict(task, test),
        "headline": figures(task, test),
        "test_figures": [{"figure": name, "value": value} for name, value in test.items()],
        "per_class": excerpt(per_class),
        "test_chart": {"picture": chart(f"evaluate/{name}.svg"), "shows": shows},
    }


def _calibration(task: str) -> dict[str, Any]:
    if task == "regression":
        return {"bins": [], "calibration_chart": None}
    bins = read_table(REPORTS / "evaluate/calibration.csv")
    return {
        "bins": bins.to_dict("records"),
        "calibration_chart": chart("evaluate/calibration.svg"),
    }


def _errors(task: str) -> dict[str, Any]:
    """The wrong predictions, the most confident first; of numbers the largest errors."""
    predictions = read_table(PREDICTIONS)
    columns = ["id", "source", "label", "predicted"]
    if task == "regression":
        order = predictions["residual"].abs()
        return {"errors": _with_photos(predictions, [*columns, "residual"], order)}
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    pairs = wrong.groupby(["label", "predicted"]).size().reset_index(name="images")
    pairs = pairs.sort_values(["images", "label", "predicted"], ascending=[False, True, True])
    return {
        "errors": _with_photos(wrong, [*columns, "confidence"], wrong["confidence"]),
        "mistaken": excerpt(pairs),
    }


def _with_photos(images: pd.DataFrame, columns: list[str], order: pd.Series) -> dict[str, Any]:
    """Those with the largest `order` first, each with its photo and heat map if there are."""
    explained = set(read_table(REPORTS / "gradcam/summary.csv")["id"])
    method = read_json(REPORTS / "gradcam/summary.json")["method"]
    ordered = images.assign(order=order).sort_values(["order", "id"], ascending=[False, True])
    shown = excerpt(ordered[columns])
    for row in shown["rows"]:
        row |= addresses(row["id"], method) if row["id"] in explained else {"photo": None}
    return shown
