"""Each task from drawn photos and a table of labels to a score that only working stages reach."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tests.conftest import Project, empty_project

COLORS = {"red": (230, 40, 40), "green": (40, 220, 60), "blue": (50, 60, 240)}


def draw_discs(path: Path, discs: list[tuple[str, float]], seed: int) -> None:
    """Discs of a colour and radius, each in a corner of its own, on large soft spots."""
    random = np.random.default_rng(seed)
    spots = Image.fromarray(random.integers(0, 110, (5, 5, 3), np.uint8))
    pixels = np.array(spots.resize((64, 64), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:64, :64]
    for corner, (color, radius) in zip(random.permutation(4), discs, strict=False):
        centre = np.array([16 + 32 * (corner % 2), 16 + 32 * (corner // 2)])
        centre = centre + random.uniform(-2, 2, 2)
        pixels[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = COLORS[color]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def drawn_project(folder: Path) -> Project:
    """A project for discs: early layers see their colours and sizes."""
    project = empty_project(folder)
    layers = ["block2b_add", "block4b_expand_activation"]
    project.set(
        features={"whole": {"backbone": "lite0", "layers": layers}},
        training__epochs=40,
        training__batch_size=32,
    )
    return project


def write_labels(project: Project, labels: dict[str, str]) -> None:
    with project.path("data/raw/labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *labels.items()])


def metrics(project: Project) -> dict:
    return json.loads(project.path("reports/metrics.json").read_text())["test"]


def test_binary_with_one_sigmoid(tmp_path):
    project = drawn_project(tmp_path)
    for seed in range(300):
        color = "red" if seed % 2 else "blue"
        draw_discs(project.path(f"data/raw/{color}/{seed}.png"), [(color, 12)], seed)
    project.set(encode__encoder="binarizer", training__class_weight="balanced")
    assert "task binary" in project.repro("evaluate")
    facts = metrics(project)
    # By guessing, 24 of 30 are right once in 1,400 times.
    assert facts["accuracy"] >= 0.8 and facts["n"] == 30
    predictions = pd.read_csv(project.path("reports/predictions.csv"))
    np.testing.assert_allclose(predictions["p_blue"] + predictions["p_red"], 1, atol=1e-6)
    assert facts["accuracy"] == (predictions["label"] == predictions["predicted"]).mean()


def test_multilabel_of_every_combination_of_colors(tmp_path):
    project, labels = drawn_project(tmp_path), {}
    for seed in range(480):
        present = [color for bit, color in enumerate(COLORS) if seed >> bit & 1]
        draw_discs(project.path(f"data/raw/{seed}.png"), [(one, 13) for one in present], seed)
        labels[f"{seed}.png"] = "|".join(present)
    write_labels(project, labels)
    assert "task multilabel" in project.repro()
    facts = metrics(project)
    # One of eight sets of labels is right by chance.
    assert facts["macro_f1"] >= 0.9 and facts["exact_match"] >= 0.7
    predictions = pd.read_csv(project.path("reports/predictions.csv"), keep_default_na=False)
    for row in predictions.itertuples():
        applies = [name for name in sorted(COLORS) if getattr(row, f"p_{name}") >= 0.5]
        assert row.predicted.split("|") == (applies or [""])
    report = project.path("reports/index.html").read_text()
    assert "macro F1" in report


def test_regression_in_the_units_of_the_labels(tmp_path):
    project, labels = drawn_project(tmp_path), {}
    random = np.random.default_rng(0)
    for seed in range(360):
        radius = random.uniform(4, 15)
        draw_discs(project.path(f"data/raw/{seed}.png"), [("red", radius)], seed)
        labels[f"{seed}.png"] = f"{1000 + 100 * radius:.2f}"
    write_labels(project, labels)
    assert "task regression" in project.repro()
    facts = metrics(project)
    # The mean would have an error near 270 and an R2 of 0.
    assert facts["r2"] >= 0.8 and facts["rmse"] < 0.5 * facts["baseline_rmse"]
    assert facts["mae_ci95"][0] <= facts["mae"] <= facts["mae_ci95"][1]
    predictions = pd.read_csv(project.path("reports/predictions.csv"))
    residuals = predictions["label"] - predictions["predicted"]
    np.testing.assert_allclose(predictions["residual"], residuals, atol=0.02)
    folds = pd.read_csv(project.path("reports/kfold/folds.csv"))
    assert (folds["rmse"] < 0.6 * facts["baseline_rmse"]).all()
