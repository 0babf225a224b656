"""Stage `kfold`: every candidate is trained and scored K times, and the best mean is chosen."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from tqdm import tqdm

from stages.common.candidates import build_candidate
from stages.common.charts import BLUE, GREY, ORANGE, save_chart
from stages.common.dataset import Dataset, read_dataset
from stages.common.determinism import make_deterministic
from stages.common.encoding import to_probabilities
from stages.common.params import Params
from stages.common.paths import CHOICE, REPORTS
from stages.common.scores import corrected_interval, scores
from stages.common.stage import log, run
from stages.common.tables import write_json, write_table


def main(params: Params) -> None:
    """Compare the candidates over the folds of the train and validation images."""
    make_deterministic(params.tensorflow.threads, seed=params.training.seed)
    dataset = read_dataset()
    folds = pd.concat([_score(params, name, dataset) for name in params.candidates])
    summary = _summarise(folds)
    write_table(folds, REPORTS / "kfold" / "folds.csv")
    write_table(summary, REPORTS / "kfold" / "summary.csv")
    _draw(folds, summary)
    write_json(_choice(summary), CHOICE)
    log(summary.to_string(index=False))


def _score(params: Params, name: str, dataset: Dataset) -> pd.DataFrame:
    """Train on all folds but one and score on that one, for each fold.

    Every epoch that params plan is trained: to stop early on the images that are scored would
    flatter the candidates that stop.
    """
    candidate = build_candidate(params, name, dataset)
    fold_of = dataset.manifest["fold"].to_numpy()
    results = []
    for fold in tqdm(range(params.split.folds), desc=f"kfold {name}", unit="fold"):
        train, held_out = (
            np.flatnonzero((fold_of >= 0) & (fold_of != fold)),
            np.flatnonzero(fold_of == fold),
        )
        candidate.trainer.fit(candidate.rows, dataset.targets, train)
        probabilities = to_probabilities(candidate.trainer.predict(candidate.rows, held_out))
        result = scores(dataset.truth[held_out], probabilities)
        result["loss"] = result.pop("log_loss")
        counts = {"n_train": len(train), "n_validation": len(held_out)}
        results.append({"candidate": name, "fold": fold, **counts, **result})
    return pd.DataFrame(results)


def _summarise(folds: pd.DataFrame) -> pd.DataFrame:
    """Mean, spread and interval of each candidate's accuracy, in the order of the params."""
    rows = []
    for name, of_candidate in folds.groupby("candidate", sort=False):
        accuracy = of_candidate["accuracy"].to_numpy()
        ratio = (of_candidate["n_validation"] / of_candidate["n_train"]).mean()
        low, high = corrected_interval(accuracy, ratio)
        rows.append(
            {
                "candidate": name,
                "mean": accuracy.mean(),
                "std": accuracy.std(ddof=1),
                "ci95_low": low,
                "ci95_high": high,
            }
        )
    summary = pd.DataFrame(rows)
    # The first of equals: params list the simplest candidate first.
    return summary.assign(selected=summary.index == summary["mean"].idxmax())


def _draw(folds: pd.DataFrame, summary: pd.DataFrame) -> None:
    """The accuracy of each fold, with mean and interval of each candidate."""
    figure, axes = plt.subplots(figsize=(6, 1 + 0.5 * len(summary)))
    for place, candidate in summary.iterrows():
        accuracy = folds.loc[folds["candidate"] == candidate["candidate"], "accuracy"]
        color = ORANGE if candidate["selected"] else BLUE
        axes.plot(accuracy, [place] * len(accuracy), "|", color=GREY, markersize=10)
        axes.plot([candidate["ci95_low"], candidate["ci95_high"]], [place] * 2, color=color)
        axes.plot(candidate["mean"], place, "o", color=color)
    axes.set_yticks(range(len(summary)), summary["candidate"])
    axes.set(
        xlabel="accuracy (| folds, o mean, line 95 % interval)", ylim=(len(summary) - 0.5, -0.5)
    )
    save_chart(figure, REPORTS / "kfold" / "candidates.svg")


def _choice(summary: pd.DataFrame) -> dict:
    """The chosen candidate and the reason, in words."""
    best = summary[summary["selected"]].iloc[0]
    return {
        "candidate": best["candidate"],
        "why": f"highest mean validation accuracy of {len(summary)} candidates: "
        f"{best['mean']:.4f} (95 % interval {best['ci95_low']:.4f} to {best['ci95_high']:.4f})",
    }


if __name__ == "__main__":
    run(main)
