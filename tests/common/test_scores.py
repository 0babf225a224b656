import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics

from stages.common.scores import (
    bounds,
    calibration,
    corrected_interval,
    corrected_t_test,
    intervals,
    scores,
    wilson_interval,
)
from stages.common.tasks import METRICS, TASKS

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
    result = scores("multiclass", TRUTH, PROBABILITIES)
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
    result = scores("multiclass", np.array(truth), probabilities)
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


def multilabel(seed: int, images: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, (images, labels))
    return truth, random.uniform(0.01, 0.99, (images, labels)).astype(np.float32)


def example(task: str, images: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Truth and moderately good predictions of any task."""
    random = np.random.default_rng(7)
    if task == "regression":
        truth = random.normal(50, 10, images)
        return truth, truth + random.normal(0, 5, images)
    if task == "multilabel":
        truth = random.integers(0, 2, (images, 3))
        return truth, np.clip(0.3 + 0.4 * truth + random.normal(0, 0.3, truth.shape), 0.01, 0.99)
    classes = 2 if task == "binary" else 4
    probabilities = random.dirichlet(np.ones(classes), images)
    return np.array([random.choice(classes, p=one) for one in probabilities]), probabilities


@pytest.mark.parametrize("task", TASKS)
def test_the_scores_are_those_that_the_task_promises_in_its_order(task):
    result = scores(task, *example(task))
    assert tuple(result) == TASKS[task].metrics
    assert all(type(value) is float for value in result.values())


@pytest.mark.filterwarnings("error")
@given(images=st.integers(1, 30), labels=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_scores_of_labels_are_those_of_scikit_learn(images, labels, seed):
    truth, probabilities = multilabel(seed, images, labels)
    predicted = probabilities >= 0.5
    for average in ("macro", "micro"):
        f1 = metrics.f1_score(truth, predicted, average=average, zero_division=0)
        result = scores("multilabel", truth, probabilities)
        assert result[f"{average}_f1"] == pytest.approx(f1)
    assert result["exact_match"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert result["label_accuracy"] == pytest.approx(1 - metrics.hamming_loss(truth, predicted))
    log_loss = metrics.log_loss(truth.ravel(), probabilities.ravel().astype(float), labels=[0, 1])
    assert result["log_loss"] == pytest.approx(log_loss, rel=1e-5)


def test_a_probability_of_a_half_says_yes():
    result = scores("multilabel", np.array([[1, 0]]), np.array([[0.5, 0.49]]))
    assert (result["exact_match"], result["macro_f1"], result["micro_f1"]) == (1, 0.5, 1)


@pytest.mark.filterwarnings("error")
@given(
    truth=arrays(
        float, st.integers(2, 30), elements=st.floats(-1e3, 1e3).map(lambda x: round(x, 3))
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_of_numbers_are_those_of_scikit_learn(truth, seed):
    predictions = truth + np.random.default_rng(seed).normal(size=len(truth))
    result = scores("regression", truth, predictions)
    assert result["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, predictions))
    assert result["mae"] == pytest.approx(metrics.mean_absolute_error(truth, predictions))
    assert result["r2"] == pytest.approx(metrics.r2_score(truth, predictions), rel=1e-6)


@pytest.mark.parametrize(("predicted", "r2"), [([2.0, 2.0], 1), ([2.0, 3.0], 0)])
def test_numbers_that_are_all_the_same_are_met_or_not(predicted, r2):
    truth = np.array([2.0, 2.0])
    assert scores("regression", truth, np.array(predicted))["r2"] == r2
    assert metrics.r2_score(truth, predicted) == r2


@pytest.mark.parametrize("task", TASKS)
def test_intervals_hold_the_scores_and_are_the_same_each_time(task):
    truth, predictions = example(task)
    found, reached = intervals(task, truth, predictions), scores(task, truth, predictions)
    assert tuple(found) == TASKS[task].metrics
    for name, (low, high) in found.items():
        assert low < reached[name] < high
        assert bounds(name)[0] <= low and high <= bounds(name)[1]
    assert intervals(task, truth, predictions) == found


@pytest.mark.parametrize("task", TASKS)
def test_bootstrap_intervals_are_those_of_samples_scored_one_by_one(task):
    """Drawn by another generator, so the ends agree only about as well as 2,000 draws can."""
    truth, predictions = example(task, images=60)
    random = np.random.default_rng(123)
    samples = [random.integers(0, 60, 60) for _ in range(2000)]
    drawn = [scores(task, truth[one], predictions[one]) for one in samples]
    for name, (low, high) in intervals(task, truth, predictions).items():
        if name in ("accuracy", "exact_match"):
            continue
        values = np.array([one[name] for one in drawn])
        expected = np.percentile(values, [2.5, 97.5])
        assert [low, high] == pytest.approx(expected, abs=0.25 * values.std())


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    """The mean absolute error of many images is nearly normal."""
    residuals = np.random.default_rng(3).normal(size=2000)
    low, high = intervals("regression", np.zeros(2000), residuals)["mae"]
    error = np.abs(residuals).std() / math.sqrt(2000)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.05)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_a_share_of_images_has_wilsons_interval(task):
    truth, predictions = example(task)
    name = "accuracy" if task == "binary" else "exact_match"
    share = scores(task, truth, predictions)[name]
    found = intervals(task, truth, predictions)[name]
    assert found == wilson_interval(round(40 * share), 40)


@pytest.mark.filterwarnings("error")
def test_without_an_error_to_resample_there_is_no_interval_but_wilsons():
    found = intervals("multiclass", np.array([0, 1, 2] * 10), np.eye(3)[[0, 1, 2] * 10])
    assert found["accuracy"][0] < 1
    assert "macro_f1" not in found
    assert "log_loss" not in found


def test_one_image_has_no_bootstrap():
    assert list(intervals("multiclass", np.array([0]), np.eye(2)[:1])) == ["accuracy"]
    assert intervals("regression", np.array([1.0]), np.array([2.0])) == {}


def test_ten_thousand_images_take_seconds():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(10), 10_000)
    started = time.perf_counter()
    intervals("multiclass", random.integers(0, 10, 10_000), probabilities)
    assert time.perf_counter() - started < 20


def test_a_class_that_does_not_occur_has_no_recall_but_an_f1_of_zero():
    result = scores("multiclass", np.array([0, 1]), np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]))
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
    loss = scores("multiclass", np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], np.float32))[
        "log_loss"
    ]
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


def test_an_interval_of_another_score_ends_elsewhere():
    values = np.array([0.1, 2.0, 4.0])
    assert corrected_interval(values, 0.5, bounds("rmse"))[0] == 0
    assert corrected_interval(values, 0.5, bounds("rmse"))[1] > 4
    assert corrected_interval(values - 3.5, 0.5, bounds("r2"))[0] < -3
    assert corrected_interval(values - 3.5, 0.5, bounds("r2"))[1] == 1


def test_every_score_has_bounds():
    assert {name: bounds(name) for name in METRICS if bounds(name) != (0, 1)} == {
        "log_loss": (0, math.inf),
        "rmse": (0, math.inf),
        "mae": (0, math.inf),
        "r2": (-math.inf, 1),
    }


def test_the_corrected_t_test_by_hand():
    # Mean 0.02, variance 0.0001, so the error is sqrt((1/3 + 1/2) / 10000) and t is 2.190890.
    p_value = corrected_t_test(np.array([0.01, 0.02, 0.03]), test_to_train=0.5)
    # Student's t of 2 degrees of freedom has a closed form.
    t = 0.02 / math.sqrt((1 / 3 + 0.5) * 0.0001)
    assert p_value == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert corrected_t_test(np.array([-0.01, -0.02, -0.03]), 0.5) == pytest.approx(p_value)


@given(arrays(float, st.integers(2, 20), elements=st.floats(-0.5, 0.5)))
def test_without_the_correction_it_is_students_test(differences):
    # Differences that hardly differ have a variance of rounding errors alone.
    if np.ptp(differences) < 1e-6:
        return
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert corrected_t_test(differences, test_to_train=0) == pytest.approx(expected, abs=1e-12)
    assert corrected_t_test(differences, test_to_train=0.25) >= expected - 1e-12


@pytest.mark.filterwarnings("error")
def test_candidates_that_never_differ_do_not_differ():
    assert corrected_t_test(np.zeros(5), test_to_train=0.25) == 1


@pytest.mark.filterwarnings("error")
def test_a_difference_that_never_changes_is_no_chance():
    assert corrected_t_test(np.full(4, 0.5), test_to_train=0.25) == 0


def test_the_test_and_the_interval_agree():
    """The interval of the difference holds 0 if and only if p is above 5 %."""
    random = np.random.default_rng(5)
    for _ in range(50):
        differences = random.normal(0.1, 0.1, 5)
        low, high = corrected_interval(differences, 0.25, (-math.inf, math.inf))
        assert (low <= 0 <= high) == (corrected_t_test(differences, 0.25) >= 0.05)
