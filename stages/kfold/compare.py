"""Candidates compared by their scores over the same folds."""

import numpy as np
import pandas as pd

from stages.common.scores import bounds, corrected_interval, corrected_t_test

_COLUMNS = ("candidate", "mean", "std", "ci95_low", "ci95_high", "p_value", "parameters")


def summarise(folds: pd.DataFrame, metric: str, better: str, rule: str) -> pd.DataFrame:
    """One row for each candidate, in the order of the folds table.

    Args:
        folds: For each candidate, repeat and fold the `metric`, `n_train`, `n_validation`,
            `parameters` and perhaps `test_<metric>`.
        metric: What is compared.
        better: `max` or `min`.
        rule: `best` or `one_standard_error`.

    Returns:
        `candidate`, `mean`, `std`, `ci95_low`, `ci95_high` of the metric; `p_value`: that the
        candidate is as good as the best one (Nadeau and Bengio 2003), 1 for the best one itself;
        `parameters`; `test_mean` and `test_std` if the test images were predicted; `selected`.
    """
    by_name = dict(list(folds.groupby("candidate", sort=False)))
    summary = pd.DataFrame([_describe(name, table, metric) for name, table in by_name.items()])
    best = _best(summary, better)
    best_scores = by_name[summary["candidate"][best]][metric].to_numpy()
    summary["p_value"] = [
        corrected_t_test(by_name[name][metric].to_numpy() - best_scores, _ratio(by_name[name]))
        for name in summary["candidate"]
    ]
    selected = best if rule == "best" else _simplest(summary, best, len(best_scores))
    shown = [*_COLUMNS, *(name for name in ("test_mean", "test_std") if name in summary)]
    return summary[shown].assign(selected=summary.index == selected)


def reason(summary: pd.DataFrame, metric: str, better: str, rule: str) -> str:
    """Why the selected candidate was selected, in words."""
    chosen = summary[summary["selected"]].iloc[0]
    figures = (
        f"{chosen['mean']:.4f} (95 % interval {chosen['ci95_low']:.4f} to "
        f"{chosen['ci95_high']:.4f})"
    )
    extreme = "highest" if better == "max" else "lowest"
    if rule == "best":
        return f"{extreme} mean validation {metric} of {len(summary)} candidates: {figures}"
    best = summary.loc[_best(summary, better), "candidate"]
    return (
        f"the fewest trained parameters ({chosen['parameters']:,}) of those within one standard "
        f"error of the {extreme} mean validation {metric} (that of {best}): {figures}"
    )


def _describe(name: str, table: pd.DataFrame, metric: str) -> dict:
    values = table[metric].to_numpy()
    low, high = corrected_interval(values, _ratio(table), bounds(metric))
    row = {
        "candidate": name,
        "mean": values.mean(),
        "std": values.std(ddof=1),
        "ci95_low": low,
        "ci95_high": high,
        "parameters": int(table["parameters"].iloc[0]),
    }
    if f"test_{metric}" in table:
        of_test = table[f"test_{metric}"]
        row |= {"test_mean": of_test.mean(), "test_std": of_test.std(ddof=1)}
    return row


def _ratio(table: pd.DataFrame) -> float:
    """Images scored over images trained on, in a fold."""
    return float((table["n_validation"] / table["n_train"]).mean())


def _best(summary: pd.DataFrame, better: str) -> int:
    # The first of equals: params list the simplest candidate first.
    return summary["mean"].idxmax() if better == "max" else summary["mean"].idxmin()


def _simplest(summary: pd.DataFrame, best: int, folds: int) -> int:
    """Breiman et al. 1984, "Classification and regression trees": of all that are at most one
    standard error behind the best, the simplest."""
    error = summary["std"][best] / np.sqrt(folds)
    # No mean lies beyond the best one, so its distance tells how far behind it is.
    near = summary[(summary["mean"][best] - summary["mean"]).abs() <= error]
    return near["parameters"].idxmin()
