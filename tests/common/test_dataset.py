import numpy as np
import pandas as pd
import pytest

from stages.common.dataset import Dataset, read_dataset
from stages.common.paths import CLASSES, MANIFEST, SPLITS, TARGETS
from stages.common.tables import write_json, write_table

IDS = ["a", "b", "c", "d"]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(task: str, encoder: str, classes: list[str], **targets: list) -> Dataset:
    """What is read after the stages before wrote these targets of four images."""
    write_table(pd.DataFrame({"id": IDS, "label": "x"}), MANIFEST)
    write_table(pd.DataFrame({"id": IDS, **targets}), TARGETS)
    write_json({"task": task, "encoder": encoder, "classes": classes}, CLASSES)
    sides = ["train", "test", "validation", "train"]
    folds = {"fold": [0, -1, 1, 1], **{f"fold_{i}": [1, -1, 0, i] for i in range(2, 12)}}
    write_table(pd.DataFrame({"id": IDS, "split": sides, **folds}), SPLITS)
    return read_dataset()


def test_sides_and_the_folds_of_each_repeat_are_those_of_the_split():
    dataset = written("binary", "label", ["x", "y"], target=[0, 1, 1, 0])
    assert dataset.side("train").tolist() == [0, 3]
    assert dataset.folds.shape == (4, 11)
    assert dataset.folds[:, 0].tolist() == [0, -1, 1, 1]
    assert dataset.folds[3].tolist() == [1, *range(2, 12)]
    assert dataset.folds.dtype == np.int64


def test_the_code_of_the_class_is_true_whatever_the_encoder():
    label = written("binary", "label", ["x", "y"], target=[0, 1, 1, 0])
    one_hot = written("binary", "onehot", ["x", "y"], target_x=[1, 0, 0, 1], target_y=[0, 1, 1, 0])
    assert label.truth.tolist() == one_hot.truth.tolist() == [0, 1, 1, 0]
    assert (label.targets.shape, one_hot.targets.shape) == ((4, 1), (4, 2))
    assert (label.task, label.encoder) == ("binary", "label")


def test_several_labels_and_numbers_are_true_as_they_are():
    several = written(
        "multilabel", "binarizer", ["x", "y"], target_x=[1, 1, 0, 0], target_y=[0, 1, 0, 1]
    )
    assert several.truth.tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]]
    numbers = written("regression", "none", [], target=[1, 2, 3, 4])
    assert numbers.truth.tolist() == [1, 2, 3, 4]
    assert numbers.targets.shape == (4, 1)
    assert numbers.truth.dtype == numbers.targets.dtype == np.float64
