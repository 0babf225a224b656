"""Small reports of all stages, for tests of what the stage `report` makes of them."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

from stages.common.params import load_params
from stages.common.tasks import TASKS
from stages.report.__main__ import PAGE, main
from tests.conftest import ROOT

EVIL = "<script>alert(\"1\")</script> & 'x'"
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><text>chart</text></svg>'


class Page(HTMLParser):
    """What a browser makes of a page: its elements, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def addresses(self) -> list[str]:
        loading = {"src", "href", "srcset", "poster", "action", "data", "background", "cite"}
        return [
            value
            for _, attributes in self.elements
            for name, value in attributes.items()
            if name in loading or name.endswith(":href")
        ]


METRICS = {
    "binary": {
        **{"accuracy": 0.9, "balanced_accuracy": 0.8, "macro_f1": 0.7, "log_loss": 0.6},
        **{"ece": 0.05, "accuracy_ci95": [0.85, 0.95], "majority_baseline": 0.5},
    },
    "multilabel": {
        **{"macro_f1": 0.7, "micro_f1": 0.8, "exact_match": 0.6, "label_accuracy": 0.9},
        **{"log_loss": 0.3, "ece": 0.05, "exact_match_ci95": [0.5, 0.7]},
        "baseline_exact_match": 0.25,
    },
    "regression": {
        **{"rmse": 4.5, "mae": 3.25, "r2": 0.75, "mae_ci95": [3.0, 3.5]},
        **{"baseline_rmse": 12.5, "baseline_mae": 10.5},
    },
}
METRICS["multiclass"] = METRICS["binary"]
CLASSES = {task: [] if task == "regression" else ["cat", "dog"] for task in TASKS}
CHARTS = {
    "binary": ["confusion", "calibration"],
    "multiclass": ["confusion", "calibration"],
    "multilabel": ["labels", "calibration"],
    "regression": ["numbers"],
}


def write_reports(label: str = "cat", source: str = "cat/1.jpg", task: str = "binary") -> None:
    """Write what the other stages report, small: two test images, the first of them wrong."""
    tables, facts = made_up_tables(label, source, task), made_up_facts(label, task)
    charts = ["split/balance", "kfold/candidates", "finetune/curves"]
    charts += [f"evaluate/{one}" for one in CHARTS[task]]
    files = {
        f"reports/{name}.csv": pd.DataFrame(tables[name]).to_csv(index=False) for name in tables
    }
    files |= {f"{name}.json": json.dumps(facts[name]) for name in facts}
    files |= {f"reports/{name}.svg": SVG for name in charts}
    files |= {"models/model.keras": "a model", "requirements.lock": "keras==3.1 \\\n"}
    files["params.yaml"] = (ROOT / "params.yaml").read_text()
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)


def made_up_tables(label: str, source: str, task: str) -> dict[str, dict[str, list]]:
    """The columns of each table, by its path below `reports/` without the suffix."""
    tables = {
        "ingest/rejected": {"source": [source], "reason": ["unreadable"], "detail": [label]},
        "split/summary": {
            "split": ["train", "train", "test"],
            "fold": [0, 1, -1],
            "label": [label, label, "dog"],
            "images": [1200, 34, 1],
            "groups": [4, 3, 1],
        },
        "split/leaks": {
            "group": ["g1"],
            "id": ["c1"],
            "source": [source],
            "label": [label],
            "given_split": ["test"],
            "done": ["moved to train"],
        },
        "kfold/summary": {
            "candidate": ["linear", "hidden"],
            "mean": [0.5, 0.75],
            "std": [0.1, 0.1],
            "ci95_low": [0.4, 0.6],
            "ci95_high": [0.6, 0.8],
            "p_value": [0.0004, 1.0],
            "parameters": [100, 12345],
            "selected": [False, True],
        },
        "kfold/label_errors": {
            "id": ["b1"],
            "source": [source],
            "label": [label],
            "suggested": ["007"],
            "quality": [0.125],
        },
        "finetune/layers": {
            "type": ["Dense"],
            "name": ["logits"],
            "trainable_before": [False],
            "trainable": [True],
            "parameters": [12345],
        },
        "gradcam/summary": {
            "id": ["a1", "a2"],
            "source": ["dog/2.jpg", source],
            "label": ["dog", label],
            "predicted": ["dog", "dog"],
            "confidence": [0.75, 0.875],
            "layer": ["conv", "conv"],
            "method": ["gradcam", "gradcam"],
            "peak_x": [0.5, 0.1],
            "peak_y": [0.5, 0.1],
            "border": [0.25, 0.125],
            "entropy": [0.5, 0.75],
            "zero": [True, False],
            "suspicion": [0.25, 1.5],
            "photo": ["reports/gradcam/photos/a1.jpg", "reports/gradcam/photos/a2.jpg"],
            "file": [f"reports/gradcam/overlays/gradcam/a{n}.jpg" for n in (1, 2)],
        },
        "gradcam/methods": {
            "method": ["gradcam", "layercam", "random", "centre"],
            "is_control": [False, False, True, True],
            "images": [2] * 4,
            "zero": [1, 0, 0, 0],
            **{
                f"{measure}{end}": [0.5, 0.625, 0.75, 0.875]
                for measure in ("deletion", "insertion", "road", "sensitivity")
                for end in ("", "_low", "_high")
            },
            **{
                f"{measure}_lead{end}": [0.125, 0.25, None, None]
                for measure in ("deletion", "insertion")
                for end in ("", "_low", "_high")
            },
            "beats_controls": [True, False, None, None],
        },
        "gradcam/attention": {
            "id": ["a1", "a1", "a2", "a2"],
            "method": ["gradcam", "layercam"] * 2,
            "peak_x": [0.5, 0.9, 0.1, 0.9],
            "peak_y": [0.5, 0.9, 0.1, 0.9],
            "border": [0.25, 0.5, 0.125, 0.75],
            "entropy": [0.5, 0.875, 0.75, 0.625],
            "zero": [True, False, False, False],
        },
        "gradcam/randomised": {
            "method": ["gradcam", "layercam"],
            "layer": ["logits", "logits"],
            "correlation": [0.0625, 0.75],
            "low": [0.03125, 0.625],
            "high": [0.09375, 0.875],
            "zero": [0, 1],
        },
        "gradcam/classes": {
            "class": ["dog" if task != "regression" else "all"],
            "images": [2],
            "border": [0.1875],
            "entropy": [0.625],
            "peak_x": [0.3],
            "peak_y": [0.3],
        },
        "finetune/history": {
            "epoch": [1, 2],
            "phase": ["head", "all"],
            "loss": [2.0, 1.0],
            "val_loss": [2.0, 1.5],
            "kept": [False, True],
        },
        "evaluate/calibration": {"confidence": [0.8], "accuracy": [0.5], "images": [2]},
        "ingest/groups": {
            **{"group": ["g3"], "id": ["d3"], "source": [source], "label": [label]},
            "exact": ["e2"],
        },
        "ingest/conflicts": {
            **{"group": ["g2"], "id": ["d1"], "source": [source], "label": [label]},
            **{"exact": ["e1"], "done": ["rejected"]},
        },
        "ingest/quality": {
            **{"id": ["d2"], "source": [source], "label": [label]},
            **{"issue": ["dark"], "value": [0.0625]},
        },
    }
    if task == "regression":
        numbers = {"label": ["5.5", "7"], "predicted": ["5.25", "17"], "residual": [0.25, -10.0]}
        tables["gradcam/summary"] |= numbers
        del tables["gradcam/summary"]["confidence"]
    else:
        tables["evaluate/classes"] = {
            "label": [label, "dog"],
            "precision": [0.5, 1.0],
            "recall": [1.0, 0.5],
            "f1": [0.66, 0.66],
            "images": [1, 2],
        }
    told = ("id", "source", "label", "predicted", "confidence", "residual")
    shown = tables["gradcam/summary"]
    tables["predictions"] = {name: shown[name] for name in told if name in shown}
    return tables


def made_up_facts(label: str, task: str) -> dict[str, dict]:
    """The content of each JSON file, by its path without the suffix."""
    counts = ["exact_copies", "found", "groups_of_repeats", "images_in_groups", "rejected", "used"]
    phase = {"phase": "head", "epochs_planned": 5, "epochs_done": 5, "iterations_per_epoch": 3}
    phase |= {"iterations_planned": 15, "iterations_done": 15}
    rest = {"phase": "all", "epochs_planned": 9, "epochs_done": 7, "iterations_per_epoch": 3}
    rest |= {"iterations_planned": 27, "iterations_done": 21}
    return {
        "data/classes": {"task": task, "classes": CLASSES[task], "encoder": "any"},
        "reports/ingest/summary": dict.fromkeys(counts, 2)
        | {"images_per_class": {label: 1234, "dog": 1}, "conflicts": 1, "quality": {"dark": 1}},
        "reports/split/summary": {
            "assignment": "stratified",
            "given": 1250,
            "images": {"train": 890, "validation": 445, "test": 149},
            "given_kept": 1249,
            "leaks": "train",
            "leaking_groups": 1,
            "leaking_images": 1,
            "missing": [{"label": label, "side": "validation"}],
            "largest_deviation": {
                "label": label,
                "side": "test",
                "wanted": 0.1,
                "reached": 0.125,
                "images": 1234,
            },
        },
        "reports/finetune/summary": {
            "candidate": "hidden",
            "strategy": "partial",
            "cut": "block5_conv1",
            "why": "the images are few and unlike",
            "phases": [phase, rest],
            "train_images": 10,
            "best_epoch": 4,
            "parameters": 1234567,
            "trainable_parameters": 12345,
        },
        "reports/metrics": {"test": {"n": 148, **METRICS[task]}},
        "reports/gradcam/summary": {
            "method": "gradcam",
            "target": "predicted",
            "map_size": [7, 7],
            "layer": "conv",
            "images": 2,
            "zero": {"gradcam": 1, "layercam": 0},
            "beats_controls": {"gradcam": True, "layercam": False},
            "randomised_correlation": 0.0625,
            "suspicious": 1,
        },
        "models/choice": {"candidate": "hidden", "why": f"it knows {label}"},
    }


def render() -> Page:
    """Run the stage on `write_reports`, and read its page."""
    main(load_params("params.yaml"))
    return Page(PAGE.read_text(encoding="utf-8"))
