"""Stage `finetune`: the chosen candidate is trained on train, watches validation, and is saved."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from stages.common.candidates import Candidate, build_candidate
from stages.common.charts import BLUE, ORANGE, save_chart
from stages.common.dataset import Dataset, read_dataset
from stages.common.determinism import make_deterministic
from stages.common.features import open_images
from stages.common.keras_files import load, save
from stages.common.networks import layer_table
from stages.common.params import Params, Training
from stages.common.paths import CHOICE, MODEL, REPORTS
from stages.common.quiet_tensorflow import keras
from stages.common.stage import log, run
from stages.common.tables import read_json, write_json, write_table

_TOLERANCE = 1e-4


def main(params: Params) -> None:
    """Train the model and save it whole: raw uint8 images in, probabilities out."""
    make_deterministic(params.tensorflow.threads, seed=params.training.seed)
    name = params.finetune.candidate
    if name == "choice":
        name = read_json(CHOICE)["candidate"]
    dataset, training = read_dataset(), params.candidate(name)
    candidate = build_candidate(params, name, dataset)
    train, validation = dataset.side("train"), dataset.side("validation")
    log(f"finetune: {name} on {len(train)} images, watching {len(validation)}")
    history = candidate.trainer.fit(candidate.rows, dataset.targets, train, validation, verbose=2)
    with tempfile.TemporaryDirectory(dir=MODEL.parent, prefix=".") as folder:
        fresh = Path(folder, MODEL.name)
        save(candidate.whole, fresh)
        _check_joined(load(fresh), candidate, dataset)
        fresh.replace(MODEL)
    write_table(history, REPORTS / "finetune" / "history.csv")
    _draw(history)
    write_table(layer_table(candidate.whole), REPORTS / "finetune" / "layers.csv")
    facts = {
        "candidate": name,
        **_facts(history, training, len(train)),
        **_parameters(candidate.whole),
    }
    write_json(facts, REPORTS / "finetune" / "summary.json")
    log(
        f"finetune: {facts['iterations_done']} of {facts['iterations_planned']} iterations, best "
        f"epoch {facts['best_epoch']}, trained {facts['trainable_parameters']:,} of "
        f"{facts['parameters']:,} parameters"
    )


def _check_joined(model: keras.Model, candidate: Candidate, dataset: Dataset) -> None:
    """The saved whole must predict what the frozen part and the trained rest predict together."""
    images = dataset.side("validation")[:64]
    expected = candidate.rest.predict(candidate.rows.take(images), verbose=0)
    received = model.predict(open_images(dataset.manifest).take(images), verbose=0)
    difference = np.abs(expected - received).max()
    if not difference <= _TOLERANCE:
        raise RuntimeError(
            f"expected the joined model to predict what its parts do within {_TOLERANCE}, "
            f"received a difference of {difference:.2g}; is data/features of this backbone?"
        )


def _facts(history: pd.DataFrame, training: Training, images: int) -> dict:
    """What was planned and what was done."""
    steps = math.ceil(images / training.batch_size)
    stopping = training.early_stopping
    best = len(history)
    if stopping is not None:
        watched = history[f"val_{stopping.monitor}"]
        best = int(watched.argmin() if stopping.monitor == "loss" else watched.argmax()) + 1
    return {
        "train_images": images,
        "epochs_planned": training.epochs,
        "epochs_done": len(history),
        "best_epoch": best,
        "iterations_per_epoch": steps,
        "iterations_planned": steps * training.epochs,
        "iterations_done": steps * len(history),
    }


def _draw(history: pd.DataFrame) -> None:
    """Loss and accuracy by epoch, of training and validation images."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.2))
    for axes, name in zip(panels, ["loss", "accuracy"], strict=True):
        axes.plot(history["epoch"], history[name], color=BLUE, label="train")
        axes.plot(history["epoch"], history[f"val_{name}"], color=ORANGE, label="validation")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
    save_chart(figure, REPORTS / "finetune" / "curves.svg")


def _parameters(model: keras.Model) -> dict:
    trainable = sum(weight.numpy().size for weight in model.trainable_weights)
    return {"parameters": model.count_params(), "trainable_parameters": int(trainable)}


if __name__ == "__main__":
    run(main)
