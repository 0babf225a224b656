import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from stages.common.scores import calibration, corrected_interval, scores, wilson_interval

TRUTH = np.array([0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.6, 0.3, 0.1],
        [0.1, 0.8, 0.1],
        [0.2, 0.5, 0.3],
        [0.3, 0.3, 0.4],
        [0.1, 0.1, 0.8],
    ]
)


def test_scores_by_hand():
    result = scores(TRUTH, PROBABILITIES)
    # Predicted 0 0 1 1 2 2: recalls 2/3, 1/2, 1; precisions 1, 1/2, 1/2.
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result["macro_f1"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    losses = -np.log([0.7, 0.6, 0.1, 0.5, 0.3, 0.8])
    assert result["log_loss"] == pytest.approx(np.mean(losses))
    assert all(type(value) is float for value in result.values())


@pytest.mark.filterwarnings("error")
@given(
    truth=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_are_those_of_scikit_learn(truth, seed):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(4), len(truth)).astype(np.float32)
    predicted = probabilities.argmax(axis=1)
    result = scores(np.array(truth), probabilities)
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    seen = sorted(set(truth))
    recall = metrics.recall_score(truth, predicted, labels=seen, average="macro", zero_division=0)
    assert result["balanced_accuracy"] == pytest.approx(recall)
    f1 = metrics.f1_score(truth, predicted, labels=range(4), average=None, zero_division=0)
    assert result["macro_f1"] == pytest.approx(np.mean(f1))
    exact = probabilities.astype(float)
    exact /= exact.sum(axis=1, keepdims=True)
    log_loss = metrics.log_loss(truth, exact, labels=range(4))
    assert result["log_loss"] == pytest.approx(log_loss, rel=1e-5, abs=1e-6)


def test_a_class_that_does_not_occur_has_no_recall_but_an_f1_of_zero():
    result = scores(np.array([0, 1]), np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]))
    assert result["balanced_accuracy"] == 1
    assert result["macro_f1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_of_newcombe(correct, total, low, high):
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", method 3."""
    assert wilson_interval(correct, total) == pytest.approx([low, high], abs=5e-5)
    mirrored = wilson_interval(total - correct, total)
    assert mirrored == pytest.approx([1 - high, 1 - low], abs=5e-5)


@given(st.data(), st.integers(1, 5000))
def test_wilson_limits_solve_the_equation_of_the_score(data, total):
    """A limit is the share that lies 1.96 of its own standard errors from what was seen."""
    correct = data.draw(st.integers(0, total))
    share = correct / total
    for limit in wilson_interval(correct, total):
        assert (share - limit) ** 2 == pytest.approx(
            1.959964**2 * limit * (1 - limit) / total, rel=1e-4, abs=1e-12
        )


def test_calibration_by_hand():
    error, table = calibration(TRUTH, PROBABILITIES, bins=2)
    # Confidences 0.7 0.6 0.8 0.5 0.8 above a half, 0.4 below; right 1 1 0 1 1, and 0.
    assert [one["images"] for one in table] == [1, 5]
    assert [one["confidence"] for one in table] == pytest.approx([0.4, 3.4 / 5])
    assert [one["accuracy"] for one in table] == pytest.approx([0, 4 / 5])
    assert error == pytest.approx((0.4 * 1 + 0.12 * 5) / 6)


def test_a_wrong_certainty_costs_much_but_not_everything():
    loss = scores(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], np.float32))["log_loss"]
    assert 10 < loss < 100


def test_the_last_bin_holds_certainty_too():
    _, table = calibration(np.array([0, 0]), np.array([[0.95, 0.05], [1, 0]]), bins=10)
    assert [one["images"] for one in table] == [2]


def test_gaps_of_different_bins_do_not_cancel():
    """Too sure by 0.4 in one bin, too modest by 0.4 in the other: right on average, and wrong."""
    truth = np.array([0] * 10 + [0] * 5 + [1] * 5)
    probabilities = np.array([[0.6, 0.4]] * 10 + [[0.9, 0.1]] * 10)
    assert calibration(truth, probabilities, bins=4)[0] == pytest.approx(0.4)


@pytest.mark.parametrize("bins", [1, 2, 10])
def test_perfect_and_certain_predictions_have_no_error(bins):
    error, table = calibration(np.array([0, 1, 1]), np.eye(2)[[0, 1, 1]], bins)
    assert error == 0
    assert table == [{"confidence": 1.0, "accuracy": 1.0, "images": 3}]


def test_the_corrected_interval_by_hand():
    low, high = corrected_interval(np.array([0.5, 0.6, 0.7]), test_to_train=0.5)
    reach = 4.302653 * math.sqrt((1 / 3 + 0.5) * 0.01)  # t of 2 degrees of freedom; variance 0.01
    assert (low, high) == pytest.approx((0.6 - reach, 0.6 + reach), abs=1e-6)


def test_an_interval_ends_where_a_score_does():
    assert corrected_interval(np.array([0.0, 1.0]), test_to_train=0.5) == (0, 1)


@given(arrays(float, st.integers(2, 10), elements=st.floats(0.48, 0.52)))
def test_shared_training_images_widen_the_interval(values):
    plain = corrected_interval(values, test_to_train=0)
    wide = corrected_interval(values, test_to_train=0.25)
    k = len(values)
    ratio = math.sqrt((1 / k + 0.25) * k)
    assert wide[1] - wide[0] == pytest.approx((plain[1] - plain[0]) * ratio)
    assert sum(wide) / 2 == pytest.approx(values.mean())
