"""How good predictions are, as numbers with intervals."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from stages.common.encoding import APPLIES
from stages.common.tasks import TASKS

# The scores of which each image is either right or wrong.
_SHARES_OF_IMAGES = ("accuracy", "exact_match")
_BOUNDS = {
    "log_loss": (0.0, np.inf),
    "rmse": (0.0, np.inf),
    "mae": (0.0, np.inf),
    "r2": (-np.inf, 1.0),
}
_RESAMPLES = 2000
_SMALLEST = np.finfo(np.float32).tiny

# From positions (b, n) of drawn images to the scores (scores, b) of each draw.
Statistic = Callable[[np.ndarray], np.ndarray]


def scores(task: str, truth: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """The scores of `TASKS[task].metrics`, in that order.

    Classes: `accuracy`; `balanced_accuracy`, the mean recall of the classes that occur;
    `macro_f1`, the mean F1 of all classes; `log_loss` in nats.
    Labels, where a probability of 0.5 or more says yes: `macro_f1`; `micro_f1`, of the decisions
    on all labels together; `exact_match`, the share of images with every label right;
    `label_accuracy`, the share of right decisions; `log_loss`, the mean binary cross-entropy of
    a decision in nats. The F1 of a class or label that neither occurs nor is predicted is 0.
    Numbers: `rmse` and `mae` in their own unit; `r2`, where numbers that are all the same give 1
    if they are met and else 0.

    Args:
        task: One of `TASKS`.
        truth: int (n,) code of the class, 0 or 1 (n, labels), or float (n,).
        predictions: Probabilities (n, classes) whose rows sum to 1, probabilities (n, labels), or
            numbers (n,).
    """
    values = _statistic(task, truth, predictions)(np.arange(len(truth))[None])
    return {name: float(value[0]) for name, value in zip(TASKS[task].metrics, values, strict=True)}


def intervals(task: str, truth: np.ndarray, predictions: np.ndarray) -> dict[str, list[float]]:
    """95 % intervals of the scores: Wilson's for shares of images, else a percentile bootstrap.

    Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13: the scores of 2,000
    samples, of as many images, drawn with replacement by a fixed seed.

    Args:
        task, truth, predictions: As for `scores`.

    Returns:
        The lower and the upper end by the name of the score. A score that is the same in every
        sample (no image is wrong, say) has none: errors that did not happen cannot be resampled.
    """
    reached = scores(task, truth, predictions)
    images = len(truth)
    result = _bootstrap(task, truth, predictions) if images > 1 else {}
    for name in set(_SHARES_OF_IMAGES) & set(reached):
        result[name] = wilson_interval(round(reached[name] * images), images)
    return {name: result[name] for name in reached if name in result}


def _bootstrap(task: str, truth: np.ndarray, predictions: np.ndarray) -> dict[str, list[float]]:
    statistic = _statistic(task, truth, predictions)
    found = stats.bootstrap(
        (np.arange(len(truth)),),
        lambda drawn, axis: statistic(np.atleast_2d(drawn)),
        n_resamples=_RESAMPLES,
        batch=100,
        vectorized=True,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ends = zip(TASKS[task].metrics, found.low, found.high, strict=True)
    return {name: [float(low), float(high)] for name, low, high in ends if low < high}


def wilson_interval(correct: int, total: int) -> list[float]:
    """95 % interval of a share, by Wilson's score.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    interval = stats.binomtest(correct, total).proportion_ci(0.95, "wilson")
    return [float(interval.low), float(interval.high)]


def calibration(
    truth: np.ndarray, probabilities: np.ndarray, bins: int
) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error of the predicted class, and the bins that it sums over.

    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning": the mean
    gap between confidence and accuracy over bins of equal width, weighted by their images.

    Args:
        truth: (n,) code of the true class.
        probabilities: (n, classes).
        bins: How many bins of confidence between 0 and 1.

    Returns:
        The error, and for each bin with images `confidence`, `accuracy` and `images`.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    table = [
        {
            "confidence": float(confidence[bin_of == one].mean()),
            "accuracy": float(correct[bin_of == one].mean()),
            "images": int(np.sum(bin_of == one)),
        }
        for one in np.unique(bin_of)
    ]
    gaps = [abs(one["confidence"] - one["accuracy"]) * one["images"] for one in table]
    return float(sum(gaps) / len(truth)), table


def bounds(metric: str) -> tuple[float, float]:
    """The lowest and the highest value that a score can have."""
    return _BOUNDS.get(metric, (0.0, 1.0))


def corrected_interval(
    values: np.ndarray, test_to_train: float, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """95 % interval of the mean of a score over folds.

    The folds share most of their training images, so their spread understates the error of the
    mean; Nadeau and Bengio 2003, "Inference for the generalization error", widen it by the ratio
    of test to training images.

    Args:
        values: (k,) score of each fold, k at least 2.
        test_to_train: Images scored over images trained on, in one fold.
        bounds: Where the interval ends at the latest, see the function `bounds`.
    """
    reach = stats.t.ppf(0.975, len(values) - 1) * _corrected_error(values, test_to_train)
    lowest, highest = bounds
    return float(max(np.mean(values) - reach, lowest)), float(min(np.mean(values) + reach, highest))


def corrected_t_test(differences: np.ndarray, test_to_train: float) -> float:
    """Two-sided p-value of the corrected resampled t-test of two candidates on the same folds.

    Nadeau and Bengio 2003; over repeats of a k-fold as Bouckaert and Frank 2004, "Evaluating the
    replicability of significance tests for comparing learning algorithms", with k * r - 1
    degrees of freedom.

    Args:
        differences: (k * r,) score of the one less that of the other, at least 2.
        test_to_train: Images scored over images trained on, in one fold.

    Returns:
        Between 0 and 1; 1 if the candidates scored the same in every fold.
    """
    if not np.any(differences):
        return 1.0
    error = _corrected_error(differences, test_to_train)
    if error == 0:
        return 0.0
    return float(2 * stats.t.sf(abs(np.mean(differences)) / error, len(differences) - 1))


def _corrected_error(values: np.ndarray, test_to_train: float) -> float:
    """Standard error of the mean over folds that share training images."""
    return float(np.sqrt((1 / len(values) + test_to_train) * np.var(values, ddof=1)))


def _statistic(task: str, truth: np.ndarray, predictions: np.ndarray) -> Statistic:
    """The scores of a task as a function of the images that are drawn."""
    if task == "regression":
        return _of_numbers(truth, predictions)
    if task == "multilabel":
        return _of_labels(truth, predictions)
    return _of_classes(truth, predictions)


def _of_classes(truth: np.ndarray, probabilities: np.ndarray) -> Statistic:
    classes = np.arange(probabilities.shape[1])
    actual = truth[:, None] == classes
    guessed = probabilities.argmax(axis=1)[:, None] == classes
    loss = _cross_entropy(probabilities[np.arange(len(truth)), truth])

    def statistic(drawn: np.ndarray) -> np.ndarray:
        weights = _weights(drawn)
        hits, of_class, predicted = (
            weights @ one.astype(float) for one in (actual & guessed, actual, guessed)
        )
        recall = np.divide(hits, of_class, out=np.zeros_like(hits), where=of_class > 0)
        return np.stack(
            [
                hits.sum(axis=1) / drawn.shape[1],
                recall.sum(axis=1) / (of_class > 0).sum(axis=1),
                _f1(hits, of_class, predicted).mean(axis=1),
                loss[drawn].mean(axis=1),
            ]
        )

    return statistic


def _of_labels(truth: np.ndarray, probabilities: np.ndarray) -> Statistic:
    actual, guessed = truth == 1, probabilities >= APPLIES
    right = actual == guessed
    exact, share_right = right.all(axis=1), right.mean(axis=1)
    of_truth = np.where(actual, probabilities, 1 - probabilities.astype(np.float64))
    loss = _cross_entropy(of_truth).mean(axis=1)

    def statistic(drawn: np.ndarray) -> np.ndarray:
        weights = _weights(drawn)
        counts = [weights @ one.astype(float) for one in (actual & guessed, actual, guessed)]
        return np.stack(
            [
                _f1(*counts).mean(axis=1),
                _f1(*(one.sum(axis=1) for one in counts)),
                exact[drawn].mean(axis=1),
                share_right[drawn].mean(axis=1),
                loss[drawn].mean(axis=1),
            ]
        )

    return statistic


def _of_numbers(truth: np.ndarray, predictions: np.ndarray) -> Statistic:
    truth = truth.astype(np.float64)
    residuals = truth - predictions

    def statistic(drawn: np.ndarray) -> np.ndarray:
        squared = (residuals[drawn] ** 2).mean(axis=1)
        variance = truth[drawn].var(axis=1)
        perfect = np.where(squared == 0, 0.0, 1.0)
        unexplained = np.divide(squared, variance, out=perfect, where=variance > 0)
        return np.stack([np.sqrt(squared), np.abs(residuals)[drawn].mean(axis=1), 1 - unexplained])

    return statistic


def _weights(drawn: np.ndarray) -> np.ndarray:
    """How often each of n images stands in each of b draws of n, (b, n).

    Sums of whole numbers are exact in any order, so products with it are the same on any number
    of cores; those of fractions are not, and are taken over the drawn images one by one.
    """
    draws, images = drawn.shape
    places = drawn + images * np.arange(draws)[:, None]
    counts = np.bincount(places.ravel(), minlength=draws * images)
    return counts.reshape(draws, images).astype(float)


def _f1(hits: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    total = actual + predicted
    return np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)


def _cross_entropy(of_truth: np.ndarray) -> np.ndarray:
    """Of the probability of what is true; a wrong certainty costs much, but not everything."""
    return -np.log(np.maximum(of_truth.astype(np.float64), _SMALLEST))
