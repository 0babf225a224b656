"""Stage `finetune`: the chosen candidate is trained on train, watches validation, and is saved."""

import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from tqdm import tqdm

from stages.common.candidates import ALL, HEAD, Candidate, Phase
from stages.common.charts import BLUE, ORANGE, save_chart
from stages.common.dataset import Dataset, read_dataset
from stages.common.determinism import make_deterministic
from stages.common.distribution import Replicas, distribute
from stages.common.encoding import to_predictions
from stages.common.features import open_images, predict
from stages.common.files import publish
from stages.common.imports import code_digest
from stages.common.keras_files import load, save
from stages.common.log import log
from stages.common.machine import cache_folder
from stages.common.networks import layer_table
from stages.common.params import Params
from stages.common.paths import CHECKPOINTS, CHOICE, MODEL, REPORTS
from stages.common.plans import Plan, make_plan
from stages.common.quiet_tensorflow import keras
from stages.common.snapshots import finished_epochs
from stages.common.stage import run
from stages.common.tables import read_json, write_json, write_table

FOLDER = REPORTS / "finetune"
_TOLERANCE = 1e-4  # of the largest prediction


def main(params: Params) -> None:
    """Train the model and save it whole: raw uint8 images in, predictions out."""
    name = params.finetune.candidate
    if name == "choice":
        name = read_json(CHOICE)["candidate"]
    make_deterministic(params.tensorflow.threads, seed=params.training.seed)
    replicas = distribute(params.training.distribution)
    with replicas.together():
        _finetune(params, name, replicas)


def _finetune(params: Params, name: str, replicas: Replicas) -> None:
    dataset = read_dataset()
    with replicas.chief_first():
        plan = make_plan(params, name, dataset)
    candidate = Candidate(params, name, dataset, plan, with_backbone=True)
    train, watched = dataset.side("train"), dataset.side("validation")
    if params.finetune.with_validation:
        train, watched = np.sort(np.concatenate([train, watched])), None
    phases = _planned(candidate, len(train))
    _announce(name, plan, phases, watched)
    history = _train(params, name, plan, candidate, train, watched, replicas)
    if not replicas.chief:
        return
    _save(candidate, dataset)
    metric = candidate.training.metric_names(dataset.task)[0]
    _report(name, plan, candidate, history, phases, metric)


def _train(
    params: Params,
    name: str,
    plan: Plan,
    candidate: Candidate,
    train: np.ndarray,
    watched: np.ndarray | None,
    replicas: Replicas,
) -> pd.DataFrame:
    """Train, going on after the last finished epoch of a killed run of the same training."""
    facts = [
        plan.identity(),
        params.candidate(name).model_dump_json(exclude={"features"}),
        params.tensorflow.model_dump_json(),
        str(watched is None),
        code_digest("stages.finetune"),
    ]
    identity = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
    replicas.agree(identity)
    folder = cache_folder() / "training" / identity
    state, kept = folder / "state.npz", folder / "checkpoints"
    done = sum(map(len, replicas.share(finished_epochs(state))))
    if done:
        log(f"finetune: goes on after epoch {done} of a run that was stopped")
    epochs = sum(phase.epochs for phase in candidate.phases)
    with tqdm(total=epochs, initial=done, desc="finetune", unit="epoch") as progress:

        def show(phase: Phase, logs: dict[str, float]) -> None:
            progress.set_postfix({key: f"{value:.4g}" for key, value in logs.items()})
            progress.update()

        history = candidate.fit(train, watched, state, kept if replicas.chief else None, show)
    if replicas.chief:
        _keep(folder, kept)
    return history


def _keep(folder: Path, kept: Path) -> None:
    """Publish the checkpoints of a training that is finished, and forget its state."""
    publish(
        ((file, file.relative_to(kept)) for file in sorted(kept.rglob("*")) if file.is_file()),
        CHECKPOINTS,
    )
    shutil.rmtree(folder, ignore_errors=True)


def _save(candidate: Candidate, dataset: Dataset) -> None:
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MODEL.parent, prefix=".") as folder:
        fresh = Path(folder, MODEL.name)
        save(candidate.whole, fresh)
        _check_joined(load(fresh), candidate, dataset)
        fresh.replace(MODEL)


def _check_joined(model: keras.Model, candidate: Candidate, dataset: Dataset) -> None:
    """The saved whole must predict what the frozen part and the trained rest predict together."""
    images = dataset.side("validation")[:64]
    expected = candidate.predict(images)
    rows = open_images(dataset.manifest)
    received = to_predictions(predict(model.predict_on_batch, rows, images), dataset.task)
    difference = np.abs(expected - received).max() / max(1, np.abs(expected).max())
    if not difference <= _TOLERANCE:
        raise RuntimeError(
            f"expected the joined model to predict what its parts do within {_TOLERANCE}, "
            f"received a difference of {difference:.2g}; is data/features of this backbone?"
        )


def _planned(candidate: Candidate, images: int) -> list[dict]:
    """Batches, epochs and iterations of each phase, before the first."""
    steps = -(-images // candidate.training.batch_size)
    return [
        {
            "phase": phase.name,
            "epochs_planned": phase.epochs,
            "iterations_per_epoch": steps,
            "iterations_planned": steps * phase.epochs,
            "images": images,
            "batch_size": candidate.training.batch_size,
        }
        for phase in candidate.phases
    ]


def _announce(name: str, plan: Plan, phases: list[dict], watched: np.ndarray | None) -> None:
    cut = f" behind {plan.features.cut}" if plan.features.cut else ""
    log(f"finetune: candidate {name}, strategy {plan.features.strategy}{cut}")
    if plan.why:
        log(f"finetune: strategy auto became {plan.features.strategy}, since {plan.why}")
    what = {HEAD: "the head", ALL: "all behind the cut"}
    for phase in phases:
        log(
            f"finetune: {what[phase['phase']]} on {phase['images']:,} images in batches of "
            f"{phase['batch_size']} for {phase['epochs_planned']} epochs: "
            f"{phase['iterations_per_epoch']} iterations an epoch, "
            f"{phase['iterations_planned']} in all; watching "
            f"{0 if watched is None else len(watched):,} images"
        )


def _report(
    name: str,
    plan: Plan,
    candidate: Candidate,
    history: pd.DataFrame,
    phases: list[dict],
    metric: str,
) -> None:
    done = history["phase"].value_counts()
    for phase in phases:
        phase["epochs_done"] = int(done[phase["phase"]])
        phase["iterations_done"] = phase["epochs_done"] * phase["iterations_per_epoch"]
    totals = {
        key: sum(phase[key] for phase in phases)
        for key in ("epochs_planned", "epochs_done", "iterations_planned", "iterations_done")
    }
    facts = {
        "candidate": name,
        "strategy": plan.features.strategy,
        "cut": plan.features.cut,
        "why": plan.why,
        "phases": phases,
        **totals,
        "iterations_per_epoch": phases[-1]["iterations_per_epoch"],
        "train_images": phases[-1]["images"],
        "best_epoch": int(history.loc[history["kept"], "epoch"].item()),
        "parameters": candidate.whole.count_params(),
        "trainable_parameters": candidate.trained_parameters,
    }
    write_json(facts, FOLDER / "summary.json")
    write_table(history, FOLDER / "history.csv")
    layers = layer_table(candidate.whole, candidate.trainable_before, candidate.head)
    write_table(layers, FOLDER / "layers.csv")
    _draw(history, metric)
    log(
        f"finetune: {facts['iterations_done']} of {facts['iterations_planned']} iterations, best "
        f"epoch {facts['best_epoch']}, trained {facts['trainable_parameters']:,} of "
        f"{facts['parameters']:,} parameters"
    )


def _draw(history: pd.DataFrame, metric: str) -> None:
    """Loss and first metric by epoch, of training and validation images."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.2))
    joints = np.flatnonzero(history["phase"] != history["phase"].shift())[1:]
    for axes, name in zip(panels, ["loss", metric], strict=True):
        axes.plot(history["epoch"], history[name], color=BLUE, label="train")
        if f"val_{name}" in history:
            axes.plot(history["epoch"], history[f"val_{name}"], color=ORANGE, label="validation")
        for joint in joints:
            axes.axvline(history["epoch"][joint] - 0.5, color="black", linewidth=0.8, linestyle=":")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
    save_chart(figure, FOLDER / "curves.svg")


if __name__ == "__main__":
    run(main)
