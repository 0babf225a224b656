"""Candidates compared over folds: what is written, what is read, and which one is chosen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from stages.common import keras_files

ROOT = Path(__file__).parents[1]
FOLDS, POOL, TEST = 3, 36, 9

CANDIDATES = {
    "random_features": {"features": "noise"},
    "linear": {},
    "hidden": {"head": {"layers": [{"units": 8, "activation": "relu", "dropout": 0.5}]}},
}


def write_project(folder: Path, candidates: dict, test_features: float) -> None:
    """Write what the stages before `kfold` leave, for 45 images in three classes.

    The features of an entry `telling` say the class, those of `noise` do not. A test image holds
    `test_features`, so that reading it would show.
    """
    n, random = POOL + TEST, np.random.default_rng(0)
    classes, rows = np.arange(n) % 3, np.arange(n)
    fold = np.where(rows < POOL, rows // 3 % FOLDS, -1)
    ids = [f"{row:04x}" for row in rows]
    tables = {
        "manifest": {"id": ids, "label": np.array(list("abc"))[classes], "part": "part-1.npy"},
        "targets": {"id": ids, "target": classes},
        "splits": {"id": ids, "split": np.where(fold < 0, "test", "train"), "fold": fold},
    }
    tables["manifest"] |= {"row": rows, "group": ids}
    (folder / "data").mkdir(parents=True)
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(folder / f"data/{name}.csv", index=False)
    facts = {"task": "multiclass", "encoder": "label", "classes": ["a", "b", "c"]}
    (folder / "data/classes.json").write_text(json.dumps(facts))

    (folder / "data/augmented/v1").mkdir(parents=True)
    noise = random.normal(size=(n, 4))
    telling = noise + 2 * np.eye(4)[classes]
    for name, values in {"telling": telling, "noise": noise}.items():
        for variant, offset in {"original": 0, "v1": 0.1}.items():
            features = np.where(fold[:, None] < 0, test_features, values + offset)
            path = folder / "data/features" / name / variant / "part-1.npy"
            path.parent.mkdir(parents=True)
            np.save(path, features.astype("float32"))

    image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(image)
    x = keras.layers.Conv2D(4, 3, name="conv")(x)
    keras_files.save(keras.Model(image, x, name="small"), folder / "models/backbones/small.keras")

    params = {
        **{name: {} for name in ("ingest", "encode", "augment", "finetune", "evaluate", "gradcam")},
        "split": {"folds": FOLDS},
        "backbones": {"small": {"network": "MobileNetV2", "weights": "none"}},
        "features": {"telling": {"backbone": "small"}, "noise": {"backbone": "small"}},
        "training": {"features": "telling", "batch_size": 8, "epochs": 5},
        "candidates": candidates,
        "tensorflow": {"threads": 2},
    }
    params["training"]["optimizer"] = {"learning_rate": 0.02}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def start_kfold(folder: Path, hash_seed: int) -> subprocess.Popen:
    environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.kfold"], cwd=folder, env=os.environ | environment
    )


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> dict[str, Path]:
    """Run the stage twice: with other candidates beside, and other values of the test images."""
    folder = tmp_path_factory.mktemp("kfold")
    fewer = {name: CANDIDATES[name] for name in ("hidden", "linear")}
    write_project(folder / "all", CANDIDATES, test_features=np.nan)
    write_project(folder / "fewer", fewer, test_features=1000.0)
    started = [start_kfold(folder / "all", 1), start_kfold(folder / "fewer", 2)]
    assert [process.wait() for process in started] == [0, 0]
    return {"all": folder / "all", "fewer": folder / "fewer"}


def folds_of(project: Path) -> pd.DataFrame:
    return pd.read_csv(project / "reports/kfold/folds.csv")


def summary_of(project: Path) -> pd.DataFrame:
    return pd.read_csv(project / "reports/kfold/summary.csv")


def test_a_row_for_each_candidate_and_fold(projects):
    folds = folds_of(projects["all"])
    assert list(folds.columns) == [
        *("candidate", "fold", "n_train", "n_validation"),
        *("accuracy", "balanced_accuracy", "macro_f1", "loss"),
    ]
    expected = [(name, fold) for name in CANDIDATES for fold in range(FOLDS)]
    assert list(zip(folds["candidate"], folds["fold"], strict=True)) == expected
    assert (folds["n_train"] + folds["n_validation"] == POOL).all()
    assert folds.groupby("candidate")["n_validation"].sum().eq(POOL).all()


def test_the_summary_is_that_of_the_folds_and_the_best_mean_is_chosen(projects):
    folds, summary = folds_of(projects["all"]), summary_of(projects["all"])
    assert list(summary.columns) == [
        *("candidate", "mean", "std", "ci95_low", "ci95_high", "selected")
    ]
    assert summary["candidate"].tolist() == list(CANDIDATES)
    accuracy = folds.groupby("candidate")["accuracy"]
    summary = summary.set_index("candidate")
    np.testing.assert_allclose(summary["mean"], accuracy.mean()[summary.index], rtol=1e-6)
    np.testing.assert_allclose(summary["std"], accuracy.std()[summary.index], rtol=1e-6)
    assert (summary["ci95_low"] <= summary["mean"]).all()
    assert (summary["mean"] <= summary["ci95_high"]).all()

    best = summary["mean"].idxmax()
    assert summary.index[summary["selected"]].tolist() == [best]
    # Features that say the class beat those that do not, though these come first.
    assert best != "random_features"
    assert summary.loc[best, "mean"] > summary.loc["random_features", "mean"] + 0.2
    choice = json.loads((projects["all"] / "models/choice.json").read_text())
    assert choice["candidate"] == best
    assert f"{summary.loc[best, 'mean']:.4f}" in choice["why"]


def test_the_features_of_test_images_are_never_read(projects):
    # They are no numbers here, so one of them in a batch would spoil weights and scores.
    folds = folds_of(projects["all"])
    assert np.isfinite(folds[["accuracy", "loss"]]).all(axis=None)


def test_a_result_depends_neither_on_the_candidates_beside_it_nor_on_their_order(projects):
    results = []
    for project in projects.values():
        text = (project / "reports/kfold/folds.csv").read_text().splitlines()
        results.append(
            {name: [line for line in text if line.startswith(name)] for name in CANDIDATES}
        )
    for name in ("linear", "hidden"):
        assert len(results[1][name]) == FOLDS
        assert results[0][name] == results[1][name]
    assert summary_of(projects["fewer"])["candidate"].tolist() == ["hidden", "linear"]


def test_the_chart_names_every_candidate(projects):
    chart = (projects["all"] / "reports/kfold/candidates.svg").read_text()
    for name in CANDIDATES:
        assert f">{name}<" in chart
