"""What the page and the model card show, read from the reports of the other stages."""

import base64
import math
from typing import Any

import pandas as pd

from stages.common.params import Params, Ratios
from stages.common.paths import CHOICE, CLASSES, METRICS, PREDICTIONS, REPORTS
from stages.common.tables import read_json, read_table
from stages.report.gallery import addresses, gallery
from stages.report.words import explains, figures, some, verdict

_MOST_ROWS = 50
_NAMED_CLASSES = 20
# A chart of very many classes is loaded from beside the page.
_INLINE_BYTES = 200_000
MEASURES = ["deletion", "insertion", "road", "sensitivity"]
"""How far to believe heat maps; the columns of `reports/gradcam/methods.csv`."""
LEADS = ["deletion", "insertion"]
"""Those in which a method must beat the controls."""

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
        **_explanations(task, params.encode.separator if task == "multilabel" else None),
    }


def _data(task: str) -> dict[str, Any]:
    ingest = read_json(REPORTS / "ingest/summary.json")
    return {
        "ingest": ingest,
        "classes": [] if task == "regression" else _commonest(ingest["images_per_class"]),
        "rejected": _table("ingest/rejected.csv"),
        "repeats": _table("ingest/groups.csv"),
        "conflicts": _table("ingest/conflicts.csv"),
        "quality": _table("ingest/quality.csv"),
    }


def _commonest(images_per_class: dict[str, int]) -> list[dict]:
    """The classes by name; of more than a page holds those with the most images."""
    commonest = sorted(images_per_class.items(), key=lambda one: (-one[1], one[0]))[:_MOST_ROWS]
    return [{"class": label or "(none)", "images": images} for label, images in sorted(commonest)]


def _split() -> dict[str, Any]:
    sides = _sides(read_table(REPORTS / "split/summary.csv"))
    return {
        "split": read_json(REPORTS / "split/summary.json"),
        "sides": _shortened(sides),
        "leaks": _table("split/leaks.csv"),
        "balance": _picture("split/balance.svg"),
    }


def _sides(counts: pd.DataFrame) -> pd.DataFrame:
    """Images of each class, label or range (rows) on each side (columns)."""
    table = counts.pivot_table(
        index="label", columns="split", values="images", aggfunc="sum", fill_value=0
    )
    sides = list(Ratios.model_fields)
    return table.reindex(index=counts["label"].unique(), columns=sides, fill_value=0).reset_index()


def _candidates(metric: str) -> dict[str, Any]:
    table = read_table(REPORTS / "kfold/summary.csv")
    suspects = read_table(REPORTS / "kfold/label_errors.csv")
    return {
        "choice": read_json(CHOICE),
        "metric": metric,
        "selected": table[table["selected"]].to_dict("records")[0],
        # The chosen one first, so that it is seen however many there are.
        "candidates": _shortened(table.sort_values("selected", ascending=False, kind="stable")),
        "candidates_chart": _picture("kfold/candidates.svg"),
        "suspects": _shortened(suspects),
    }


def _training() -> dict[str, Any]:
    history = read_table(REPORTS / "finetune/history.csv")
    training = read_json(REPORTS / "finetune/summary.json")
    return {
        "finetune": training,
        "kept_epoch": history[history["kept"]].to_dict("records")[0],
        "phases": [_phase(phase) for phase in training["phases"]],
        "layers": _table("finetune/layers.csv", rows=1000),
        "curves": _picture("finetune/curves.svg"),
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
        "per_class": _shortened(per_class),
        "test_chart": {"picture": _picture(f"evaluate/{name}.svg"), "shows": shows},
    }


def _calibration(task: str) -> dict[str, Any]:
    if task == "regression":
        return {"bins": [], "calibration_chart": None}
    bins = read_table(REPORTS / "evaluate/calibration.csv")
    return {
        "bins": bins.to_dict("records"),
        "calibration_chart": _picture("evaluate/calibration.svg"),
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
        "mistaken": _shortened(pairs),
    }


def _with_photos(images: pd.DataFrame, columns: list[str], order: pd.Series) -> dict[str, Any]:
    """Those with the largest `order` first, each with its photo and heat map if there are."""
    explained = set(read_table(REPORTS / "gradcam/summary.csv")["id"])
    method = read_json(REPORTS / "gradcam/summary.json")["method"]
    table = images.assign(order=order).sort_values(["order", "id"], ascending=[False, True])
    part = _shortened(table[columns])
    for row in part["rows"]:
        row |= addresses(row["id"], method) if row["id"] in explained else {"photo": None}
    return part


def _explanations(task: str, separator: str | None) -> dict[str, Any]:
    summary = read_json(REPORTS / "gradcam/summary.json")
    maps = read_table(REPORTS / "gradcam/summary.csv")
    methods = read_table(REPORTS / "gradcam/methods.csv").to_dict("records")
    for row in methods:
        row["is_control"] = str(row["is_control"]) == "True"
        row["beats_controls"] = str(row["beats_controls"]) == "True"
    # The method of the gallery stands first; the controls are only measured.
    methods.sort(key=lambda row: (row["is_control"], row["method"] != summary["method"]))
    drawn = [row["method"] for row in methods if not row["is_control"]]
    return {
        "gradcam": summary,
        "explains": explains(task, summary["target"]),
        "leads": LEADS,
        "methods": methods,
        "doubted": [
            row["method"] for row in methods if not row["is_control"] and not row["beats_controls"]
        ],
        "intervals_of_measures": _intervals(methods),
        "randomised": read_table(REPORTS / "gradcam/randomised.csv").to_dict("records"),
        "attention": _table("gradcam/classes.csv"),
        "gallery": gallery(maps, read_table(REPORTS / "gradcam/attention.csv"), drawn, separator),
    }


def _intervals(methods: list[dict]) -> list[dict[str, Any]]:
    """Of each measure, the mean and interval of every method, and what they lie between."""
    charts = []
    for name in MEASURES:
        rows = [
            {
                "method": row["method"],
                "is_control": row["is_control"],
                "mean": row[name],
                **{end: row[f"{name}_{end}"] for end in ("low", "high")},
            }
            for row in methods
        ]
        # Of a single image there is no interval.
        ends = [row[end] for row in rows for end in ("mean", "low", "high")]
        known = [end for end in ends if not math.isnan(end)]
        if known:
            charts.append({"measure": name, "rows": rows, "low": min(known), "high": max(known)})
    return charts


def _table(name: str, rows: int = _MOST_ROWS) -> dict[str, Any]:
    """The first rows of a table below `reports/`, and how many there are."""
    return {**_shortened(read_table(REPORTS / name), rows), "file": f"reports/{name}"}


def _shortened(table: pd.DataFrame, rows: int = _MOST_ROWS) -> dict[str, Any]:
    return {"rows": table[:rows].to_dict("records"), "total": len(table), "file": None}


def _picture(name: str) -> str:
    """A chart as an address that holds it, so that the page needs no file for it; of a very large
    one the address beside the page."""
    content = (REPORTS / name).read_bytes()
    if len(content) > _INLINE_BYTES:
        return name
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
