"""How good probabilities are, as numbers."""

import numpy as np
from scipy import stats
from sklearn import metrics


def scores(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Scores of a classifier.

    Args:
        truth: (n,) code of the true class.
        probabilities: (n, classes), rows sum to 1.

    Returns:
        `accuracy`; `balanced_accuracy`, the mean recall of the classes that occur; `macro_f1`, the
        mean F1 of all classes; and `log_loss` in nats.
    """
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(probabilities.shape[1])
    of_truth = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    recalls = [np.mean(predicted[truth == one] == one) for one in np.unique(truth)]
    return {
        "accuracy": float(np.mean(predicted == truth)),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(
            metrics.f1_score(truth, predicted, labels=classes, average="macro", zero_division=0)
        ),
        "log_loss": float(-np.mean(np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)))),
    }


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


def corrected_interval(values: np.ndarray, test_to_train: float) -> tuple[float, float]:
    """95 % interval of the mean of a score between 0 and 1 over folds.

    The folds share most of their training images, so their spread understates the error of the
    mean; Nadeau and Bengio 2003, "Inference for the generalization error", widen it by the ratio
    of test to training images.

    Args:
        values: (k,) score of each fold, k at least 2.
        test_to_train: Images scored over images trained on, in one fold.
    """
    k = len(values)
    error = np.sqrt((1 / k + test_to_train) * np.var(values, ddof=1))
    reach = stats.t.ppf(0.975, k - 1) * error
    return float(max(np.mean(values) - reach, 0)), float(min(np.mean(values) + reach, 1))
