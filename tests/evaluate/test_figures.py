"""The numbers and tables of the test results, for every task."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from stages.common.scores import scores
from stages.common.tasks import TASKS
from stages.evaluate.figures import baseline, calibrated, confusions, headline, per_class


def example(task: str, images: int = 60) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Truth, moderately good predictions and classes of any task."""
    random = np.random.default_rng(7)
    if task == "regression":
        truth = random.normal(50, 10, images)
        return truth, truth + random.normal(0, 5, images), []
    if task == "multilabel":
        truth = random.integers(0, 2, (images, 3))
        noisy = np.clip(0.3 + 0.4 * truth + random.normal(0, 0.3, truth.shape), 0.01, 0.99)
        return truth, noisy, ["a", "b", "c"]
    classes = ["a", "b"] if task == "binary" else ["a", "b", "c", "d"]
    probabilities = random.dirichlet(np.ones(len(classes)), images)
    truth = np.array([random.choice(len(classes), p=one) for one in probabilities])
    return truth, probabilities, classes


@pytest.mark.parametrize("task", TASKS)
def test_the_headline_holds_every_score_its_interval_and_a_baseline(task):
    truth, predictions, _ = example(task)
    facts = headline(task, truth, predictions, truth)
    compared = baseline(task, truth, truth)
    assert set(facts) == {
        "n",
        *TASKS[task].metrics,
        *(f"{name}_ci95" for name in TASKS[task].metrics),
        *compared,
    }
    assert facts["n"] == 60
    assert scores(task, truth, predictions).items() <= facts.items()
    for name in TASKS[task].metrics:
        low, high = facts[f"{name}_ci95"]
        assert low < facts[name] < high


def test_the_commonest_class_is_that_of_the_training_images():
    of_training = np.array([1, 1, 1, 0, 0, 2])
    assert baseline("multiclass", np.array([0, 0, 1, 2]), of_training) == {
        "majority_baseline": 0.25
    }


def test_the_commonest_set_of_labels_is_that_of_the_training_images():
    of_training = np.array([[1, 0], [1, 0], [0, 1], [1, 1], [1, 1], [1, 1]])
    truth = np.array([[1, 1], [1, 0], [1, 1], [0, 0]])
    assert baseline("multilabel", truth, of_training) == {"baseline_exact_match": 0.5}


def test_a_number_is_compared_with_the_mean_of_the_training_images():
    found = baseline("regression", np.array([3.0, 7.0]), np.array([2.0, 4.0]))
    assert found == {
        "baseline_mae": 2.0,
        "baseline_rmse": pytest.approx(np.sqrt((0 + 16) / 2)),
    }


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_each_class_and_label_has_the_figures_of_scikit_learn(task):
    truth, probabilities, classes = example(task)
    table = per_class(task, classes, truth, probabilities)
    assert table["label"].tolist() == classes
    for code, row in table.iterrows():
        if task == "multilabel":
            of_class, predicted = truth[:, code], probabilities[:, code] >= 0.5
        else:
            of_class, predicted = truth == code, probabilities.argmax(axis=1) == code
        assert row["precision"] == pytest.approx(metrics.precision_score(of_class, predicted))
        assert row["recall"] == pytest.approx(metrics.recall_score(of_class, predicted))
        assert row["f1"] == pytest.approx(metrics.f1_score(of_class, predicted))
        assert row["images"] == of_class.sum()
    mean_f1 = scores(task, truth, probabilities)["macro_f1"]
    assert table["f1"].mean() == pytest.approx(mean_f1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_a_class_without_images_has_figures_of_zero(task):
    truth = np.array([[1, 0]]) if task == "multilabel" else np.array([0])
    table = per_class(task, ["a", "b"], truth, np.array([[0.9, 0.1]]))
    assert table.loc[1, ["precision", "recall", "f1", "images"]].tolist() == [0, 0, 0, 0]


def test_the_calibration_of_labels_is_that_of_all_decisions():
    truth = np.array([[1, 0], [1, 1]])
    # Sure of yes, of no, of yes by 0.9; and of no by 0.7, which is wrong.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.3]])
    error, bins = calibrated("multilabel", truth, probabilities, bins=2)
    assert list(bins) == ["confidence", "accuracy", "decisions"]
    assert bins["decisions"].tolist() == [4]
    assert bins["confidence"].item() == pytest.approx((3 * 0.9 + 0.7) / 4)
    assert bins["accuracy"].item() == pytest.approx(3 / 4)
    assert error == pytest.approx(0.85 - 0.75)


def test_pairs_of_classes_are_their_names():
    table = confusions("binary", ["cat", "dog"], np.array([0, 1]), np.eye(2)[[1, 1]], np.array([]))
    assert table.to_dict("list") == {"label": ["cat", "dog"], "predicted": ["dog", "dog"]}


def test_pairs_of_labels_are_decisions():
    table = confusions(
        "multilabel", ["cat", "dog"], np.array([[1, 0]]), np.array([[0.5, 0.8]]), np.array([])
    )
    assert table.to_dict("list") == {"label": ["cat", "not dog"], "predicted": ["cat", "dog"]}


def test_pairs_of_numbers_are_fifths_of_the_training_values_that_sort_as_they_rise():
    of_training = np.arange(101.0)
    truth = np.array([-5.0, 10, 30, 50, 70, 90, 500])
    table = confusions("regression", [], truth, truth[::-1], of_training)
    assert sorted(set(table["label"])) == [
        "1: to 20",
        "2: 20 to 40",
        "3: 40 to 60",
        "4: 60 to 80",
        "5: above 80",
    ]
    assert table["label"].is_monotonic_increasing
    assert table["predicted"].tolist() == table["label"].tolist()[::-1]


@pytest.mark.parametrize("task", TASKS)
def test_right_predictions_stand_on_the_diagonal(task):
    truth, _, classes = example(task)
    certain = truth if task in ("regression", "multilabel") else np.eye(len(classes))[truth]
    table = confusions(task, classes, truth, certain, truth)
    pd.testing.assert_series_equal(table["label"], table["predicted"], check_names=False)
