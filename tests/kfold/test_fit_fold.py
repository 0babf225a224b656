"""One fold of one candidate: what it trains on, what it predicts, and that nothing is left over."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.common.dataset import read_dataset
from stages.common.features import feature_shards
from stages.common.params import Params
from stages.common.plans import Plan
from stages.kfold import fit_fold as module
from stages.kfold.fit_fold import divide, fit_fold

POOL, TEST, FOLDS = 24, 6, 3


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write what the stages before leave, for features that say the class."""
    monkeypatch.chdir(tmp_path)
    # It can be set in a new process alone.
    monkeypatch.setattr("stages.common.determinism.make_deterministic", lambda threads, seed: None)
    module._build.cache_clear()
    rows = np.arange(POOL + TEST)
    ids, in_pool = [f"{row:04x}" for row in rows], rows < POOL
    split = np.where(in_pool, np.where(rows % 4 < 3, "train", "validation"), "test")
    tables = {
        "manifest": {"id": ids, "part": "part.npy", "row": rows},
        "targets": {"id": ids, "target": rows % 3},
        "splits": {
            "id": ids,
            "split": split,
            "fold": np.where(in_pool, rows // 3 % FOLDS, -1),
            "fold_2": np.where(in_pool, rows // 8, -1),
        },
    }
    Path("data/augmented").mkdir(parents=True)
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(f"data/{name}.csv", index=False)
    facts = {"task": "multiclass", "encoder": "label", "classes": ["a", "b", "c"]}
    Path("data/classes.json").write_text(json.dumps(facts))
    noise = np.random.default_rng(0).normal(0, 0.3, (len(rows), 3))
    write_features(noise + 2 * np.eye(3)[rows % 3])


def write_features(features: np.ndarray) -> None:
    path = Path("data/features/some/original/part.npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, features.astype("float32"))
    module._build.cache_clear()


def params_of(**training: Any) -> Params:
    sections = ("ingest", "encode", "split", "augment", "kfold", "finetune", "evaluate", "gradcam")
    options = {"batch_size": 8, "epochs": 12, "optimizer": {"learning_rate": 0.05}}
    return Params.model_validate(
        {name: {} for name in sections}
        | {
            "backbones": {"small": {"network": "VGG16"}},
            "features": {"some": {"backbone": "small"}},
            "training": options | {"features": "some"} | training,
            "candidates": {"plain": {}, "hidden": {"head": {"layers": [{"units": 4}]}}},
            "tensorflow": {},
        }
    )


def fitted(
    fold: int = 0,
    repeat: int = 0,
    name: str = "plain",
    predict_test: bool = False,
    **training: Any,
) -> dict[str, np.ndarray]:
    params = params_of(**training)
    shards = feature_shards("some", augmented=True)
    plan = Plan(params.features["some"], None, shards, None, None)
    return fit_fold(params, name, plan, repeat, fold, predict_test)


def assert_same(received: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    np.testing.assert_equal(received, expected)


# The division


@pytest.mark.parametrize("repeat", [0, 1])
def test_each_pool_image_is_held_out_once_and_test_images_never(repeat):
    dataset, seen = read_dataset(), []
    for fold in range(FOLDS):
        train, held_out = divide(dataset, repeat, fold)
        assert sorted([*train, *held_out]) == list(range(POOL))
        assert set(dataset.folds[held_out, repeat]) == {fold}
        seen += held_out.tolist()
    assert sorted(seen) == list(range(POOL))


def test_each_repeat_divides_anew():
    dataset = read_dataset()
    assert divide(dataset, 0, 0)[1].tolist() != divide(dataset, 1, 0)[1].tolist()


# The fit


def test_it_predicts_the_fold_that_it_was_trained_without():
    _, held_out = divide(read_dataset(), 0, 1)
    found = fitted(fold=1)
    assert found["held_out"].shape == (len(held_out), 3)
    assert (found["held_out"].argmax(axis=1) == held_out % 3).mean() > 0.8
    assert found["loss"].shape == (12,)
    assert found["loss"][-1] < 0.5 * found["loss"][0]
    assert found["test"].size == 0


def test_the_repeat_says_which_images_are_held_out():
    _, held_out = divide(read_dataset(), 1, 2)
    found = fitted(fold=2, repeat=1)["held_out"]
    assert found.shape == (len(held_out), 3)
    assert (found.argmax(axis=1) == held_out % 3).mean() > 0.8


def test_neither_the_fold_nor_the_test_images_are_trained_on():
    before = fitted(fold=0)
    _, held_out = divide(read_dataset(), 0, 0)
    features = np.load("data/features/some/original/part.npy")
    features[[*held_out, *range(POOL, POOL + TEST)]] = np.nan
    write_features(features)
    np.testing.assert_array_equal(fitted(fold=0)["loss"], before["loss"])


def test_test_images_are_predicted_if_asked_and_change_nothing():
    plain, with_test = fitted(), fitted(predict_test=True)
    assert with_test["test"].shape == (TEST, 3)
    truth = np.arange(POOL, POOL + TEST) % 3
    assert (with_test["test"].argmax(axis=1) == truth).mean() > 0.8
    for name in ("held_out", "loss", "parameters"):
        np.testing.assert_array_equal(with_test[name], plain[name])


@pytest.mark.parametrize(("name", "expected"), [("plain", 18), ("hidden", 37)])
def test_the_parameters_are_those_that_were_trained(name, expected):
    # A normalisation of 2 * 3, and layers of 3 * 3 + 3, or of 3 * 4 + 4 and 4 * 3 + 3.
    assert fitted(name=name)["parameters"] == expected


def test_the_scored_images_do_not_decide_when_to_stop():
    never_better = {"patience": 1, "min_delta": 100.0}
    assert len(fitted(early_stopping=never_better)["loss"]) == 12
    of_training = never_better | {"monitor": "loss"}
    assert len(fitted(early_stopping=of_training)["loss"]) == 2


# Kept for the next fold


def test_a_fold_gives_the_same_whatever_was_fitted_before():
    options = {"head": {"dropout": 0.4, "layers": [{"units": 4, "dropout": 0.4}]}}
    alone = fitted(fold=2, **options)
    for fold in (0, 1):
        fitted(fold=fold, **options)
    assert module._build.cache_info().hits == 2
    assert_same(fitted(fold=2, **options), alone)
    module._build.cache_clear()
    assert_same(fitted(fold=2, **options), alone)


def test_another_candidate_is_built_anew():
    plain = fitted()
    assert not np.array_equal(fitted(name="hidden")["held_out"], plain["held_out"])
    assert not np.array_equal(fitted(epochs=3)["held_out"], plain["held_out"])
    assert_same(fitted(), plain)
