"""Stage `report`: one page that shows what every stage found."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from stages.common.params import Params
from stages.common.paths import CHOICE, METRICS, REPORTS
from stages.common.stage import log, run
from stages.common.tables import read_json, read_table

PAGE = REPORTS / "index.html"
_SECTIONS = {
    "data": "Data",
    "split": "Split",
    "augmentation": "Augmentation",
    "candidates": "Candidates",
    "training": "Training",
    "test": "Test results",
    "heatmaps": "Heat maps",
}
_MOST_REJECTED = 50


def main(params: Params) -> None:
    """Write the page; pictures of photos are loaded from the folders beside it, when seen."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["cell"] = _cell
    page = environment.get_template("page.html").render(sections=_SECTIONS, **_facts())
    PAGE.write_text(page, encoding="utf-8")
    log(f"report: {PAGE}")


def _facts() -> dict[str, Any]:
    """Everything that the page shows, read from the reports of the other stages."""
    test, ingest = read_json(METRICS)["test"], read_json(REPORTS / "ingest/summary.json")
    maps = read_table(REPORTS / "gradcam/summary.csv")
    candidates = read_table(REPORTS / "kfold/summary.csv")
    return {
        "verdict": _verdict(test),
        "headline": _headline(test),
        "ingest": ingest,
        "classes": [
            {"class": label, "images": images}
            for label, images in sorted(ingest["images_per_class"].items())
        ],
        "rejected": _records(read_table(REPORTS / "ingest/rejected.csv")[:_MOST_REJECTED]),
        "split": _records(_sides(read_table(REPORTS / "split/summary.csv"))),
        "choice": read_json(CHOICE),
        "candidates": _records(candidates),
        "finetune": read_json(REPORTS / "finetune/summary.json"),
        "layers": _records(read_table(REPORTS / "finetune/layers.csv")),
        "test_figures": [{"figure": name, "value": value} for name, value in test.items()],
        "per_class": _records(read_table(REPORTS / "evaluate/classes.csv")),
        "charts": {
            "candidates": _inline(REPORTS / "kfold/candidates.svg"),
            "curves": _inline(REPORTS / "finetune/curves.svg"),
            "confusion": _inline(REPORTS / "evaluate/confusion.svg"),
            "calibration": _inline(REPORTS / "evaluate/calibration.svg"),
        },
        "layer": maps["layer"].iloc[0],
        "zero_maps": int(maps["zero"].sum()),
        "maps": _gallery(maps),
    }


def _verdict(test: dict) -> str:
    low, high = test["accuracy_ci95"]
    return (
        f"The model is right on {test['accuracy']:.1%} of {test['n']} test images (95 % interval "
        f"{low:.1%} to {high:.1%}). Always answering the commonest class would be right on "
        f"{test['majority_baseline']:.1%}."
    )


def _headline(test: dict) -> dict[str, str]:
    return {
        "accuracy": f"{test['accuracy']:.1%}",
        "balanced accuracy": f"{test['balanced_accuracy']:.1%}",
        "macro F1": f"{test['macro_f1']:.3f}",
        "log loss": f"{test['log_loss']:.3f}",
        "calibration error": f"{test['ece']:.3f}",
    }


def _sides(counts: pd.DataFrame) -> pd.DataFrame:
    """Images of each class (rows) on each side (columns)."""
    sides = ["train", "validation", "test"]
    table = counts.pivot_table(
        index="label", columns="split", values="images", aggfunc="sum", fill_value=0
    )
    return table.reindex(columns=sides, fill_value=0).reset_index()


def _gallery(maps: pd.DataFrame) -> list[dict]:
    """The heat maps, wrong predictions first, with addresses relative to the page."""
    right = maps["label"] == maps["predicted"]
    ordered = maps.assign(right=right).sort_values(["right", "label", "id"])
    files = [quote(Path(file).relative_to(REPORTS).as_posix()) for file in ordered["file"]]
    return _records(ordered.assign(file=files))


def _records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def _inline(chart: Path) -> str:
    """An SVG as an address that holds it, so that the page needs no file for it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(chart.read_bytes()).decode()}"


def _cell(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " to ".join(_cell(one) for one in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    run(main)
