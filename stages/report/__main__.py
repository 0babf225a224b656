"""Stage `report`: one page that shows what every stage found."""

import base64
import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from stages.common.log import log
from stages.common.pages import fill
from stages.common.params import Params, Ratios
from stages.common.paths import CHOICE, CLASSES, METRICS, REPORTS
from stages.common.stage import run
from stages.common.tables import read_json, read_table
from stages.report.words import figures, verdict

PAGE = REPORTS / "index.html"
_SECTIONS = {
    "data": "Data",
    "split": "Split",
    "augmentation": "Augmentation",
    "candidates": "Candidates",
    "label_errors": "Probable label errors",
    "training": "Training",
    "test": "Test results",
    "heatmaps": "Heat maps",
}
_MOST_ROWS = 50
# Of each task: the pictures of the test results, and what they show.
_CONFUSION = ("confusion", "Labels by predictions")
_CALIBRATION = (
    "calibration",
    "How often the model is right, by its confidence; the dotted line is perfect calibration",
)
_LABELS = ("labels", "Precision and recall of each label")
_NUMBERS = ("numbers", "Predictions by labels, and what they are off by; dotted: no error")
_TEST_CHARTS = {
    "binary": [_CONFUSION, _CALIBRATION],
    "multiclass": [_CONFUSION, _CALIBRATION],
    "multilabel": [_LABELS, _CALIBRATION],
    "regression": [_NUMBERS],
}


def main(params: Params) -> None:
    """Write the page; pictures of photos are loaded from the folders beside it, when seen."""
    template = Path(__file__).with_name("page.html")
    page = fill(template, _cell, sections=_SECTIONS, **_facts())
    PAGE.write_text(page, encoding="utf-8")
    log(f"report: {PAGE}")


def _facts() -> dict[str, Any]:
    """Everything that the page shows, read from the reports of the other stages."""
    task, test = read_json(CLASSES)["task"], read_json(METRICS)["test"]
    ingest, training = (
        read_json(REPORTS / f"{name}/summary.json") for name in ("ingest", "finetune")
    )
    maps, suspects = (
        read_table(REPORTS / name) for name in ("gradcam/summary.csv", "kfold/label_errors.csv")
    )
    of_classes = REPORTS / "evaluate/classes.csv"
    return {
        "task": task,
        "verdict": verdict(task, test),
        "headline": figures(task, test),
        "ingest": ingest,
        "classes": [] if task == "regression" else _commonest(ingest["images_per_class"]),
        "rejected": _records(read_table(REPORTS / "ingest/rejected.csv")[:_MOST_ROWS]),
        "split": read_json(REPORTS / "split/summary.json"),
        "sides": _records(_sides(read_table(REPORTS / "split/summary.csv"))),
        "leaks": _records(read_table(REPORTS / "split/leaks.csv")[:_MOST_ROWS]),
        "balance": _inline(REPORTS / "split/balance.svg"),
        "choice": read_json(CHOICE),
        "candidates": _records(read_table(REPORTS / "kfold/summary.csv")),
        "suspects": _records(suspects[:_MOST_ROWS]),
        "suspect_count": len(suspects),
        "finetune": training,
        "phases": [_phase(phase) for phase in training["phases"]],
        "layers": _records(read_table(REPORTS / "finetune/layers.csv")),
        "test_figures": [{"figure": name, "value": value} for name, value in test.items()],
        "per_class": _records(read_table(of_classes)) if task != "regression" else [],
        "candidates_chart": _inline(REPORTS / "kfold/candidates.svg"),
        "curves": _inline(REPORTS / "finetune/curves.svg"),
        "test_charts": [
            {"picture": _inline(REPORTS / f"evaluate/{name}.svg"), "shows": shows}
            for name, shows in _TEST_CHARTS[task]
        ],
        "layer": maps["layer"].iloc[0],
        "zero_maps": int(maps["zero"].sum()),
        "maps": _gallery(maps),
    }


def _commonest(images_per_class: dict[str, int]) -> list[dict]:
    """The classes by name; of more than a page holds those with the most images."""
    commonest = sorted(images_per_class.items(), key=lambda one: (-one[1], one[0]))[:_MOST_ROWS]
    return [{"class": label or "(none)", "images": images} for label, images in sorted(commonest)]


def _sides(counts: pd.DataFrame) -> pd.DataFrame:
    """Images of each class, label or range (rows) on each side (columns)."""
    table = counts.pivot_table(
        index="label", columns="split", values="images", aggfunc="sum", fill_value=0
    )
    sides = list(Ratios.model_fields)
    return table.reindex(index=counts["label"].unique(), columns=sides, fill_value=0).reset_index()


def _phase(phase: dict) -> dict:
    """What was planned and done in a phase of the training, as a row."""
    return {
        "phase": phase["phase"],
        "epochs": f"{phase['epochs_done']:,} of {phase['epochs_planned']:,}",
        "iterations per epoch": phase["iterations_per_epoch"],
        "iterations": f"{phase['iterations_done']:,} of {phase['iterations_planned']:,}",
    }


def _gallery(maps: pd.DataFrame) -> list[dict]:
    """The heat maps, wrong predictions or the largest errors first, with addresses relative to
    the page."""
    files = [quote(Path(file).relative_to(REPORTS).as_posix()) for file in maps["file"]]
    maps = maps.assign(file=files)
    if "residual" in maps:
        ordered = maps.assign(right=True, error=-maps["residual"].abs())
        return _records(ordered.sort_values(["error", "id"]))
    ordered = maps.assign(right=maps["label"] == maps["predicted"])
    return _records(ordered.sort_values(["right", "label", "id"]))


def _records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def _inline(chart: Path) -> str:
    """An SVG as an address that holds it, so that the page needs no file for it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(chart.read_bytes()).decode()}"


def _cell(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, list):
        return " to ".join(_cell(one) for one in value)
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    run(main)
