"""Candidates compared over folds: what is written, what is read, and which one is chosen."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.kfold.compare import reason, summarise

ROOT = Path(__file__).parents[2]
FOLDS, REPEATS, POOL, TEST = 3, 2, 36, 9
MISLABELLED = 7

CANDIDATES = {
    "random_features": {"features": "noise"},
    "linear": {},
    "hidden": {"head": {"layers": [{"units": 8, "activation": "relu", "dropout": 0.5}]}},
}


def write_project(folder: Path, candidates: dict, test_features: float, **kfold: Any) -> None:
    """Write what the stages before `kfold` leave, for 45 images in three classes.

    The features of an entry `telling` say the class, but for one image with a wrong label; those of
    `noise` do not. A test image holds `test_features`, so that reading it would show.
    """
    n, random = POOL + TEST, np.random.default_rng(0)
    rows = np.arange(n)
    classes = np.where(rows == MISLABELLED, (rows + 1) % 3, rows % 3)
    folds = {"fold": rows // 3 % FOLDS, "fold_2": rows // 12}
    ids = [f"{row:04x}" for row in rows]
    tables = {
        "manifest": {"id": ids, "label": np.array(list("abc"))[classes], "part": "part-1.npy"},
        "targets": {"id": ids, "target": classes},
        "splits": {"id": ids, "split": np.where(rows < POOL, "train", "test")}
        | {name: np.where(rows < POOL, of_fold, -1) for name, of_fold in folds.items()},
    }
    tables["manifest"] |= {"row": rows, "group": ids, "source": [f"{one}.png" for one in ids]}
    (folder / "data").mkdir(parents=True)
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(folder / f"data/{name}.csv", index=False)
    facts = {"task": "multiclass", "encoder": "label", "classes": ["a", "b", "c"]}
    (folder / "data/classes.json").write_text(json.dumps(facts))

    for images in ("images", "augmented/v1"):
        (folder / "data" / images).mkdir(parents=True)
        np.save(folder / "data" / images / "part-1.npy", np.zeros((n, 8, 8, 3), np.uint8))
    noise = random.normal(0, 0.5, size=(n, 4))
    telling = noise + 2 * np.eye(4)[rows % 3]
    for name, values in {"telling": telling, "noise": noise}.items():
        for variant, offset in {"original": 0, "v1": 0.1}.items():
            features = np.where(rows[:, None] < POOL, values + offset, test_features)
            path = folder / "data/features" / name / variant / "part-1.npy"
            path.parent.mkdir(parents=True)
            np.save(path, features.astype("float32"))

    params = {
        **{name: {} for name in ("ingest", "encode", "augment", "finetune", "evaluate", "gradcam")},
        "split": {"folds": FOLDS, "repeats": REPEATS},
        "backbones": {"small": {"network": "MobileNetV2", "weights": "none"}},
        "features": {"telling": {"backbone": "small"}, "noise": {"backbone": "small"}},
        "training": {"features": "telling", "batch_size": 8, "epochs": 6},
        "candidates": candidates,
        "kfold": kfold,
        "tensorflow": {"threads": 2},
    }
    params["training"]["optimizer"] = {"learning_rate": 0.05}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def start_kfold(folder: Path, workers: int) -> subprocess.Popen:
    environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(workers)}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.kfold"],
        cwd=folder,
        env=os.environ | environment | {"DARKROOM_WORKERS": str(workers)},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> dict[str, Path]:
    """Run the stage twice: with other candidates beside, and other values of the test images."""
    folder = tmp_path_factory.mktemp("kfold")
    fewer = {name: CANDIDATES[name] for name in ("hidden", "linear")}
    write_project(folder / "all", CANDIDATES, test_features=np.nan)
    write_project(folder / "fewer", fewer, 1000.0, predict_test=True, rule="one_standard_error")
    for started in [start_kfold(folder / "all", 1), start_kfold(folder / "fewer", 2)]:
        finish(started)
    return {"all": folder / "all", "fewer": folder / "fewer"}


def table_of(project: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(project / f"reports/kfold/{name}.csv", dtype={"id": str})


def choice_of(project: Path) -> dict:
    return json.loads((project / "models/choice.json").read_text())


def test_a_row_for_each_candidate_repeat_and_fold(projects):
    folds = table_of(projects["all"], "folds")
    assert list(folds.columns) == [
        *("candidate", "repeat", "fold", "n_train", "n_validation"),
        *("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "loss", "parameters"),
    ]
    keys = folds[["candidate", "repeat", "fold"]].itertuples(index=False, name=None)
    assert list(keys) == list(itertools.product(CANDIDATES, range(REPEATS), range(FOLDS)))
    assert (folds["n_train"] + folds["n_validation"] == POOL).all()
    assert folds.groupby(["candidate", "repeat"])["n_validation"].sum().eq(POOL).all()
    # A normalisation of 2 * 4 and a layer of 4 * 3 + 3, or two of 4 * 8 + 8 and 8 * 3 + 3.
    parameters = folds.groupby("candidate")["parameters"].unique().map(list).to_dict()
    assert parameters == {"random_features": [23], "linear": [23], "hidden": [75]}


def test_the_summary_is_that_of_the_folds_and_the_best_mean_is_chosen(projects):
    folds, summary = table_of(projects["all"], "folds"), table_of(projects["all"], "summary")
    expected = summarise(folds, "accuracy", "max", "best")
    pd.testing.assert_frame_equal(summary, expected, check_exact=False, rtol=1e-6)
    summary = summary.set_index("candidate")
    best = summary["mean"].idxmax()
    # Features that say the class beat those that do not, though these come first.
    assert summary.loc[best, "mean"] > summary.loc["random_features", "mean"] + 0.2
    assert choice_of(projects["all"]) == {
        "candidate": best,
        "why": reason(expected, "accuracy", "max", "best"),
    }


def test_by_the_other_rule_the_simplest_of_the_good_ones_is_chosen(projects):
    summary = table_of(projects["fewer"], "summary").set_index("candidate")
    choice = choice_of(projects["fewer"])
    assert choice["candidate"] == summary.index[summary["selected"]].item() == "linear"
    assert "one standard error" in choice["why"]


def test_out_of_fold_holds_every_pool_image_once_for_each_candidate_and_repeat(projects):
    table, folds = table_of(projects["all"], "out_of_fold"), table_of(projects["all"], "folds")
    assert list(table.columns) == [
        *("id", "candidate", "repeat", "fold", "label", "predicted", "p_a", "p_b", "p_c")
    ]
    for _, part in table.groupby(["candidate", "repeat"]):
        assert part["id"].tolist() == [f"{row:04x}" for row in range(POOL)]
    probabilities = table[["p_a", "p_b", "p_c"]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities.idxmax(axis=1).str.removeprefix("p_") == table["predicted"]).all()
    right = (table["label"] == table["predicted"]).rename("accuracy")
    keys = [table[name] for name in ("candidate", "repeat", "fold")]
    accuracy = right.groupby(keys, sort=False).mean().sort_index()
    expected = folds.set_index(["candidate", "repeat", "fold"])["accuracy"].sort_index()
    np.testing.assert_allclose(accuracy, expected, rtol=1e-6)


def test_a_wrong_label_is_reported(projects):
    errors = table_of(projects["all"], "label_errors")
    assert f"{MISLABELLED:04x}" in errors["id"].tolist()
    assert (projects["all"] / "reports/kfold/label_errors.jpg").exists()


def test_the_features_of_test_images_are_never_read(projects):
    # They are no numbers here, so one of them in a batch would spoil weights and scores.
    folds = table_of(projects["all"], "folds")
    assert np.isfinite(folds[["accuracy", "loss", "log_loss"]]).all(axis=None)


def test_test_images_are_scored_beside_if_asked(projects):
    folds, summary = (table_of(projects["fewer"], name) for name in ("folds", "summary"))
    of_test = ["test_accuracy", "test_balanced_accuracy", "test_macro_f1", "test_log_loss"]
    assert list(folds.columns[-4:]) == of_test
    # All test images look the same, so one class of three is right.
    np.testing.assert_allclose(folds["test_accuracy"], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(summary["test_mean"], 1 / 3, rtol=1e-6)


def test_a_result_depends_neither_on_the_candidates_beside_it_nor_on_workers_or_rules(projects):
    everything, fewer = (table_of(project, "folds") for project in projects.values())
    assert list(dict.fromkeys(fewer["candidate"])) == ["hidden", "linear"]
    for name in ("linear", "hidden"):
        received, expected = (
            table.loc[table["candidate"] == name, everything.columns].reset_index(drop=True)
            for table in (fewer, everything)
        )
        assert len(expected) == REPEATS * FOLDS
        pd.testing.assert_frame_equal(received, expected, check_exact=True)


def test_a_second_run_trains_nothing_and_writes_the_same(projects):
    folder = projects["fewer"]
    files = ["reports/kfold/folds.csv", "reports/kfold/out_of_fold.csv", "models/choice.json"]
    before = [(folder / name).read_bytes() for name in files]
    assert "kfold: computed 0 of 12 fits" in finish(start_kfold(folder, 1))
    assert [(folder / name).read_bytes() for name in files] == before


def test_the_chart_names_every_candidate(projects):
    chart = (projects["all"] / "reports/kfold/candidates.svg").read_text()
    for name in CANDIDATES:
        assert f">{name}<" in chart
