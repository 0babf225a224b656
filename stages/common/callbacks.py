"""Keras's callbacks as params set them: new objects for every fold and phase."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from stages.common.params import CALLBACKS, Checkpoint, EarlyStopping, ReduceOnPlateau, Training
from stages.common.quiet_tensorflow import keras
from stages.common.tasks import TASKS


def build_callbacks(
    training: Training, task: str, watching: bool, checkpoints: Path | None
) -> list[keras.callbacks.Callback]:
    """The callbacks of one fit of one phase.

    Args:
        training: The params.
        task: Tells which metrics are better when lower.
        watching: Whether there are validation images. Without, the callbacks that watch them are
            left out.
        checkpoints: A folder for `checkpoint`, or None to keep none.
    """
    callbacks = []
    for name in CALLBACKS:
        params = getattr(training, name)
        unwatched = params is not None and params.monitor.startswith("val_") and not watching
        if params is None or unwatched or (name == "checkpoint" and checkpoints is None):
            continue
        options = params.model_dump() | {"mode": _mode(params, task)}
        callbacks.append(_CLASSES[name](**options, **_paths(params, checkpoints)))
    return callbacks


def replay(
    callbacks: Iterable[keras.callbacks.Callback], history: list[dict[str, float]], steps: int
) -> None:
    """Bring fresh callbacks into the state that they had after the epochs of a history.

    What they do to the model (its weights, its rate, files) is theirs to do once only: the caller
    puts that back from what was saved.

    Args:
        callbacks: Begun, and with a model that `Idle` stands for.
        history: What each epoch gave.
        steps: Batches in an epoch.
    """
    for callback in callbacks:
        for epoch, logs in enumerate(history):
            callback.on_epoch_begin(epoch)
            for batch in range(steps):
                callback.on_train_batch_end(batch, {})
            callback.on_epoch_end(epoch, dict(logs))


class Idle:
    """A model to replay callbacks on: takes every command of theirs and does nothing."""

    stop_training = False

    def __init__(self, rate: float):
        self.optimizer = self
        self.learning_rate = rate

    def get_weights(self) -> list:
        return []

    def save(self, path: str, overwrite: bool) -> None:
        pass

    def save_weights(self, path: str, overwrite: bool) -> None:
        pass


def _mode(params: EarlyStopping | ReduceOnPlateau | Checkpoint, task: str) -> Literal["min", "max"]:
    metric = params.monitor.removeprefix("val_")
    if params.mode != "auto":
        return params.mode
    return "min" if metric == "loss" else TASKS[task].better(metric)


def _paths(
    params: EarlyStopping | ReduceOnPlateau | Checkpoint, folder: Path | None
) -> dict[str, str]:
    if not isinstance(params, Checkpoint):
        return {}
    name = "best" if params.save_best_only else "epoch-{epoch:04d}"
    if params.save_freq != "epoch" and not params.save_best_only:
        name += "-step-{batch:06d}"
    suffix = ".weights.h5" if params.save_weights_only else ".keras"
    return {"filepath": str(folder / (name + suffix))}


_CLASSES = {
    "early_stopping": keras.callbacks.EarlyStopping,
    "reduce_on_plateau": keras.callbacks.ReduceLROnPlateau,
    "checkpoint": keras.callbacks.ModelCheckpoint,
}
