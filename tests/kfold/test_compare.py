"""Candidates compared over folds: the means, the intervals, the p-values and the choice."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.kfold.compare import reason, summarise

RATIO = 0.25  # 20 images scored for 80 trained on


def folds_table(
    metric: str = "accuracy", parameters: dict[str, int] | None = None, **scores: list[float]
) -> pd.DataFrame:
    """Return the folds of candidates with these scores; 100 parameters each unless given."""
    rows = [
        {
            "candidate": name,
            "repeat": 0,
            "fold": fold,
            "n_train": 80,
            "n_validation": 20,
            metric: score,
            "parameters": (parameters or {}).get(name, 100),
        }
        for name, values in scores.items()
        for fold, score in enumerate(values)
    ]
    return pd.DataFrame(rows)


def selected(summary: pd.DataFrame) -> str:
    return summary.loc[summary["selected"], "candidate"].item()


def corrected_p_value(differences: np.ndarray) -> float:
    """Return Nadeau and Bengio's two-sided p-value, written down anew."""
    mean = np.sum(differences) / len(differences)
    variance = np.sum((differences - mean) ** 2) / (len(differences) - 1)
    t = mean / np.sqrt(variance / len(differences) + variance * RATIO)
    return 2 * (1 - stats.t(df=len(differences) - 1).cdf(abs(t)))


def test_a_row_for_each_candidate_in_the_order_of_the_folds():
    table = folds_table(z=[0.5, 0.7, 0.6], a=[0.8, 0.9, 0.7], parameters={"z": 7, "a": 9})
    summary = summarise(table, "accuracy", "max", "best")
    assert list(summary.columns) == [
        *("candidate", "mean", "std", "ci95_low", "ci95_high", "p_value", "parameters", "selected")
    ]
    assert summary["candidate"].tolist() == ["z", "a"]
    assert summary["parameters"].tolist() == [7, 9]
    np.testing.assert_allclose(summary["mean"], [0.6, 0.8])
    np.testing.assert_allclose(summary["std"], [0.1, 0.1])


def test_the_interval_is_widened_since_folds_share_training_images():
    summary = summarise(folds_table(a=[0.5, 0.52, 0.48, 0.5]), "accuracy", "max", "best")
    variance = np.var([0.5, 0.52, 0.48, 0.5], ddof=1)
    reach = stats.t(df=3).ppf(0.975) * np.sqrt(variance * (1 / 4 + RATIO))
    np.testing.assert_allclose(summary["ci95_low"], 0.5 - reach)
    np.testing.assert_allclose(summary["ci95_high"], 0.5 + reach)


def test_an_interval_ends_where_the_metric_does():
    of_shares = summarise(folds_table(a=[0.0, 1.0, 0.5]), "accuracy", "max", "best")
    assert (of_shares["ci95_low"].item(), of_shares["ci95_high"].item()) == (0, 1)
    of_errors = summarise(folds_table("rmse", a=[10.0, 900.0, 500.0]), "rmse", "min", "best")
    assert of_errors["ci95_low"].item() == 0
    assert of_errors["ci95_high"].item() > 900


def test_the_p_value_is_that_of_the_corrected_t_test_against_the_best():
    scores = {
        "low": [0.6, 0.7, 0.5, 0.65],
        "best": [0.8, 0.75, 0.7, 0.9],
        "near": [0.8, 0.8, 0.6, 0.9],
    }
    summary = summarise(folds_table(**scores), "accuracy", "max", "best").set_index("candidate")
    best = np.array(scores["best"])
    for name in ("low", "near"):
        expected = corrected_p_value(np.array(scores[name]) - best)
        assert summary.loc[name, "p_value"] == pytest.approx(expected)
    assert summary.loc["best", "p_value"] == 1
    assert summary.loc["low", "p_value"] < summary.loc["near", "p_value"] < 1


def test_repeats_count_as_folds_of_their_own():
    once = folds_table(a=[0.6, 0.7], b=[0.8, 0.75])
    twice = pd.concat([once, once.assign(repeat=1)], ignore_index=True)
    summary = summarise(twice, "accuracy", "max", "best").set_index("candidate")
    difference = np.array([-0.2, -0.05, -0.2, -0.05])
    assert summary.loc["a", "p_value"] == pytest.approx(corrected_p_value(difference))
    assert summary.loc["a", "std"] == pytest.approx(np.std([0.6, 0.7, 0.6, 0.7], ddof=1))


@pytest.mark.parametrize(("better", "expected"), [("max", "high"), ("min", "low")])
def test_the_best_mean_is_the_highest_or_the_lowest(better, expected):
    table = folds_table("log_loss", middle=[0.5, 0.6], high=[0.7, 0.8], low=[0.2, 0.4])
    summary = summarise(table, "log_loss", better, "best")
    assert selected(summary) == expected
    assert summary.set_index("candidate").loc[expected, "p_value"] == 1


def test_of_equal_means_the_first_is_the_best():
    table = folds_table(worse=[0.1, 0.2], first=[0.5, 0.7], second=[0.7, 0.5])
    assert selected(summarise(table, "accuracy", "max", "best")) == "first"
    assert selected(summarise(table.iloc[::-1], "accuracy", "max", "best")) == "second"


# One standard error


BEST = [0.80, 0.90, 0.85, 0.85]  # mean 0.85, standard error 0.0408 / 2 = 0.0204
PARAMETERS = {"best": 900, "near": 50, "far": 10, "nearest": 60}


def test_the_simplest_within_one_standard_error_is_selected():
    table = folds_table(
        best=BEST, near=[0.83] * 4, far=[0.829] * 4, nearest=[0.84] * 4, parameters=PARAMETERS
    )
    # 0.8296 is the mean less one standard error.
    assert selected(summarise(table, "accuracy", "max", "one_standard_error")) == "near"
    assert selected(summarise(table, "accuracy", "max", "best")) == "best"


def test_of_errors_the_simplest_is_at_most_one_standard_error_above():
    errors = {"best": BEST, "near": [0.87] * 4, "far": [0.871] * 4, "nearest": [0.86] * 4}
    table = folds_table("rmse", **errors, parameters=PARAMETERS)
    assert selected(summarise(table, "rmse", "min", "one_standard_error")) == "near"


def test_of_equally_simple_ones_the_first_is_selected():
    table = folds_table(best=BEST, second=[0.84] * 4, parameters={"best": 9, "second": 9})
    assert selected(summarise(table, "accuracy", "max", "one_standard_error")) == "best"
    assert (
        selected(summarise(table.iloc[::-1], "accuracy", "max", "one_standard_error")) == "second"
    )


def test_the_best_stays_if_none_is_near():
    table = folds_table(best=BEST, far=[0.5] * 4, parameters=PARAMETERS)
    assert selected(summarise(table, "accuracy", "max", "one_standard_error")) == "best"


# Test images, and words


def test_scores_of_the_test_images_stand_beside_and_choose_nothing():
    table = folds_table(a=[0.9, 0.8], b=[0.5, 0.6])
    table["test_accuracy"] = [0.1, 0.3, 1.0, 1.0]
    summary = summarise(table, "accuracy", "max", "best")
    assert list(summary.columns[-3:]) == ["test_mean", "test_std", "selected"]
    np.testing.assert_allclose(summary["test_mean"], [0.2, 1])
    np.testing.assert_allclose(summary["test_std"], [np.std([0.1, 0.3], ddof=1), 0])
    assert selected(summary) == "a"


@pytest.mark.parametrize(("better", "extreme"), [("max", "highest"), ("min", "lowest")])
def test_the_reason_for_the_best_names_its_figures(better, extreme):
    table = folds_table("log_loss", a=[0.4, 0.5], b=[0.4, 0.5])
    summary = summarise(table, "log_loss", better, "best")
    why = reason(summary, "log_loss", better, "best")
    assert why.startswith(f"{extreme} mean validation log_loss of 2 candidates: 0.4500 (95 % ")
    assert f"{summary['ci95_high'][0]:.4f}" in why


@pytest.mark.parametrize("better", ["max", "min"])
def test_the_reason_for_the_simplest_names_the_best(better):
    table = folds_table("r2", best=BEST, near=[0.85] * 4, parameters={"best": 9000, "near": 1234})
    table.loc[table["candidate"] == "best", "r2"] += 0.001 if better == "max" else -0.001
    summary = summarise(table, "r2", better, "one_standard_error")
    why = reason(summary, "r2", better, "one_standard_error")
    assert selected(summary) == "near"
    assert "the fewest trained parameters (1,234)" in why
    assert "(that of best): 0.8500" in why
