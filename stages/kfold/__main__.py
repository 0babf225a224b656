"""Stage `kfold`: every candidate is trained and scored K times, and one is chosen."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from stages.common.charts import BLUE, GREY, ORANGE, save_chart
from stages.common.dataset import Dataset, read_dataset
from stages.common.encoding import decode
from stages.common.features import open_images
from stages.common.imports import code_digest
from stages.common.log import log
from stages.common.params import Params
from stages.common.paths import CHOICE, CLASSES, MANIFEST, REPORTS, SPLITS, TARGETS
from stages.common.pictures import save_photo
from stages.common.plans import Plan, make_plans
from stages.common.scores import scores
from stages.common.shard_map import Task, map_shards
from stages.common.stage import run
from stages.common.tables import write_json, write_table
from stages.common.tasks import TASKS
from stages.kfold.compare import reason, summarise
from stages.kfold.fit_fold import connect, divide, fit_fold, follow
from stages.kfold.label_errors import SHOWN, draw_label_errors, find_label_errors

FOLDER = REPORTS / "kfold"


def main(params: Params) -> None:
    """Compare the candidates over the folds of the train and validation images."""
    if params.training.distribution.strategy == "single":
        dataset = read_dataset()
        _compare(params, dataset, _score(params, dataset, make_plans(params, dataset)))
    else:
        _main_with_replicas(params)


def _main_with_replicas(params: Params) -> None:
    replicas = connect(params.training.distribution)
    with replicas.together():
        dataset = read_dataset()
        with replicas.chief_first():
            plans = make_plans(params, dataset)
        tasks = [_task(params, plan, name, 0, 0).inputs for name, plan in plans.items()]
        replicas.agree(f"{tasks} {code_digest('stages.kfold.fit_fold')}")
        if replicas.chief:
            scored = _score(params, dataset, plans)
            replicas.share(None)
            _compare(params, dataset, scored)
        else:
            follow(params, plans, replicas)


def _compare(
    params: Params, dataset: Dataset, scored: tuple[pd.DataFrame, dict[str, np.ndarray]]
) -> None:
    metric = params.metric(dataset.task)
    comparison = (metric, TASKS[dataset.task].better(metric), params.kfold.rule)
    folds, predictions = scored
    summary = summarise(folds, *comparison)
    chosen = summary.loc[summary["selected"], "candidate"].item()
    write_table(folds, FOLDER / "folds.csv")
    write_table(summary, FOLDER / "summary.csv")
    write_table(_out_of_fold(params, dataset, predictions), FOLDER / "out_of_fold.csv")
    _report_label_errors(params, dataset, predictions[chosen])
    _draw(folds, summary, metric)
    write_json({"candidate": chosen, "why": reason(summary, *comparison)}, CHOICE)
    log(summary.to_string(index=False))


def _score(
    params: Params, dataset: Dataset, plans: dict[str, Plan]
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """A row for each candidate, repeat and fold, and the out-of-fold predictions of each candidate:
    (repeats, n, ...), without meaning for test images."""
    jobs = [
        (name, repeat, fold)
        for name in params.overrides
        for repeat in range(params.split.repeats)
        for fold in range(params.split.folds)
    ]
    tasks = [_task(params, plans[name], name, repeat, fold) for name, repeat, fold in jobs]
    settings = {"predict_test": params.kfold.predict_test}
    # Replicas share the devices, so their fits come one after the other, where they are.
    where = "apart" if params.training.distribution.strategy == "single" else "here"
    found = map_shards(fit_fold, tasks, settings, "kfold", unit="fit", where=where)
    rows, predictions = [], {}
    for (name, repeat, fold), folder in zip(jobs, found, strict=True):
        train, held_out = divide(dataset, repeat, fold)
        predicted = np.load(folder / "held_out.npy")
        shape = (params.split.repeats, len(dataset.truth), *predicted.shape[1:])
        predictions.setdefault(name, np.zeros(shape))[repeat, held_out] = predicted
        row = {"candidate": name, "repeat": repeat, "fold": fold}
        row |= {"n_train": len(train), "n_validation": len(held_out)}
        row |= scores(dataset.task, dataset.truth[held_out], predicted)
        row |= {
            "loss": np.load(folder / "loss.npy")[-1],
            "parameters": int(np.load(folder / "parameters.npy")),
        }
        if params.kfold.predict_test:
            of_test = dataset.truth[dataset.side("test")]
            on_test = scores(dataset.task, of_test, np.load(folder / "test.npy"))
            row |= {f"test_{key}": value for key, value in on_test.items()}
        rows.append(row)
    return pd.DataFrame(rows), predictions


def _task(params: Params, plan: Plan, name: str, repeat: int, fold: int) -> Task:
    """One fit; its result is kept as long as nothing changes that it depends on."""
    training = params.candidate(name).model_dump_json(exclude={"features"})
    inputs = (plan.identity(), training, str(repeat), str(fold))
    return Task((params, name, plan, repeat, fold), inputs, (MANIFEST, CLASSES, TARGETS, SPLITS))


def _out_of_fold(
    params: Params, dataset: Dataset, predictions: dict[str, np.ndarray]
) -> pd.DataFrame:
    """What each candidate said of each pool image when it was trained without it."""
    tables = []
    for name, of_candidate in predictions.items():
        for repeat, predicted in enumerate(of_candidate):
            pool = dataset.folds[:, repeat] >= 0
            said = predicted[pool]
            table = dataset.manifest.loc[pool, ["id", "label"]].reset_index(drop=True)
            table.insert(1, "candidate", name)
            table.insert(2, "repeat", repeat)
            table.insert(3, "fold", dataset.folds[pool, repeat])
            table["predicted"] = decode(
                said, dataset.task, dataset.classes, params.encode.separator
            )
            columns = [f"p_{one}" for one in dataset.classes]
            if columns:
                table = pd.concat([table, pd.DataFrame(said, columns=columns)], axis=1)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _report_label_errors(params: Params, dataset: Dataset, predictions: np.ndarray) -> None:
    """List and show the pool images whose label is probably wrong, by the chosen candidate."""
    pool = np.flatnonzero(dataset.folds[:, 0] >= 0)
    said = predictions.mean(axis=0)[pool]
    separator = params.encode.separator
    found = find_label_errors(dataset.task, dataset.truth[pool], said, dataset.classes, separator)
    images = pool[found.pop("position").to_numpy(dtype=int)]
    about = dataset.manifest.iloc[images][["id", "source", "label"]].reset_index(drop=True)
    write_table(pd.concat([about, found], axis=1), FOLDER / "label_errors.csv")
    photos = open_images(dataset.manifest).take(images[:SHOWN])
    sheet = draw_label_errors(about["label"].to_numpy(), found["suggested"].to_numpy(), photos)
    save_photo(sheet, FOLDER / "label_errors.jpg")
    log(f"kfold: {len(images)} labels are probably wrong, see {FOLDER / 'label_errors.csv'}")


def _draw(folds: pd.DataFrame, summary: pd.DataFrame, metric: str) -> None:
    """The score of each fold, with mean and interval of each candidate."""
    figure, axes = plt.subplots(figsize=(6, 1 + 0.5 * len(summary)))
    for place, candidate in summary.iterrows():
        values = folds.loc[folds["candidate"] == candidate["candidate"], metric]
        color = ORANGE if candidate["selected"] else BLUE
        axes.plot(values, [place] * len(values), "|", color=GREY, markersize=10)
        axes.plot([candidate["ci95_low"], candidate["ci95_high"]], [place] * 2, color=color)
        axes.plot(candidate["mean"], place, "o", color=color)
    axes.set_yticks(range(len(summary)), summary["candidate"])
    axes.set(
        xlabel=f"{metric} (| folds, o mean, line 95 % interval)", ylim=(len(summary) - 0.5, -0.5)
    )
    save_chart(figure, FOLDER / "candidates.svg")


if __name__ == "__main__":
    run(main)
