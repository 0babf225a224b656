"""The callbacks as params set them, on made-up figures of epochs; nothing is trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common.callbacks import Idle, build_callbacks, replay
from stages.common.params import Training
from stages.common.quiet_tensorflow import keras


class Recorder:
    """A model whose weight counts the epochs, and that remembers what was asked of it."""

    def __init__(self, rate: float = 1.0):
        self.optimizer = self
        self.learning_rate = rate
        self.stop_training = False
        self.epoch = 0
        self.saved: list[str] = []

    def get_weights(self) -> list[np.ndarray]:
        return [np.array(self.epoch)]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self.epoch = int(weights[0])

    def save(self, path: str, overwrite: bool) -> None:
        self.saved.append(f"{Path(path).name} after epoch {self.epoch}")

    def save_weights(self, path: str, overwrite: bool) -> None:
        self.saved.append(f"weights {Path(path).name} after epoch {self.epoch}")


def callbacks_of(
    task: str = "multiclass", watching: bool = True, checkpoints: Path | None = None, **section: Any
) -> list[keras.callbacks.Callback]:
    """Return what a section of `training` builds, and no early stopping unless it is that."""
    training = Training(**{"early_stopping": None} | section)
    return build_callbacks(training, task, watching, checkpoints)


def run(
    callbacks: list[keras.callbacks.Callback],
    *losses: float | dict[str, float],
    steps: int = 1,
    end: bool = True,
) -> tuple[Recorder, list[float]]:
    """Show epochs to callbacks; the model as it is left, and the learning rate of each epoch."""
    model, rates = Recorder(), []
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, figures in enumerate(losses):
        if model.stop_training:
            break
        show(callbacks, model, epoch, figures, steps)
        rates.append(model.learning_rate)
    for callback in callbacks if end else []:
        callback.on_train_end()
    return model, rates


def show(
    callbacks: list[keras.callbacks.Callback],
    model: Recorder,
    epoch: int,
    figures: float | dict[str, float],
    steps: int,
) -> None:
    logs = figures if isinstance(figures, dict) else {"val_loss": figures}
    for callback in callbacks:
        callback.on_epoch_begin(epoch)
    for step in range(steps):
        for callback in callbacks:
            callback.on_train_batch_end(step, {})
    model.epoch = epoch + 1
    for callback in callbacks:
        callback.on_epoch_end(epoch, dict(logs))


# EarlyStopping


def stopped(*losses: float | dict[str, float], task: str = "multiclass", **options: Any) -> tuple:
    """Return after how many epochs training stopped, and of which epoch its weights are."""
    model, rates = run(callbacks_of(task, early_stopping=options), *losses)
    return len(rates), model.epoch


FALLING_THEN_RISING = [0.9, 0.8, 0.7, 0.75, 0.8, 0.85, 0.9]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_training_stops_after_patience_epochs_without_a_better_one(patience):
    assert stopped(*FALLING_THEN_RISING, patience=patience) == (3 + patience, 3)


def test_a_better_epoch_starts_patience_anew():
    assert stopped(0.9, 1, 0.8, 1, 0.7, 1, 1, 1, patience=2) == (7, 5)


def test_a_patience_of_0_stops_at_the_first_worse_epoch():
    assert stopped(*FALLING_THEN_RISING, patience=0)[0] == 4


def test_a_loss_that_only_falls_never_stops_training():
    assert stopped(0.9, 0.8, 0.7, 0.6, patience=1) == (4, 4)


def test_an_improvement_below_min_delta_is_none():
    losses = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7]
    assert stopped(*losses, patience=1, min_delta=0.1)[0] == 2
    assert stopped(*losses, patience=1, min_delta=0.04)[0] == 7


def test_epochs_that_do_not_beat_the_baseline_are_no_progress():
    losses = [0.9, 0.8, 0.7, 0.75, 0.74]
    assert stopped(*losses, patience=3) == (5, 3)
    assert stopped(*losses, patience=3, baseline=0.6) == (4, 3)
    assert stopped(*losses, patience=3, baseline=0.75) == (5, 3)


def test_epochs_before_start_from_epoch_do_not_count():
    losses = [0.1, 0.9, 0.9, 0.8, 0.9, 0.9, 0.9]
    assert stopped(*losses, patience=2) == (3, 1)
    # Of those that count, the fourth is the best.
    assert stopped(*losses, patience=2, start_from_epoch=2) == (6, 4)


def test_without_restoring_the_last_weights_stay():
    assert stopped(*FALLING_THEN_RISING, patience=2, restore_best_weights=False) == (5, 5)


def test_the_best_weights_are_restored_if_the_planned_epochs_end_first():
    assert stopped(0.9, 0.7, 0.8, patience=5) == (3, 2)


@pytest.mark.parametrize(
    ("task", "metric", "mode"),
    [
        ("multiclass", "accuracy", "max"),
        ("multiclass", "log_loss", "min"),
        ("multilabel", "macro_f1", "max"),
        ("regression", "rmse", "min"),
        ("regression", "r2", "max"),
    ],
)
def test_whether_a_metric_should_rise_is_known(task, metric, mode):
    monitor = f"val_{metric}"
    rising = [{monitor: value} for value in (0.1, 0.2, 0.3)]
    epochs, best = stopped(*rising, task=task, monitor=monitor, patience=1)
    assert (epochs, best) == ((3, 3) if mode == "max" else (2, 1))


def test_the_mode_can_be_turned_around():
    assert stopped(0.1, 0.2, 0.3, patience=1, mode="max") == (3, 3)
    falling = [{"val_accuracy": value} for value in (0.3, 0.2, 0.1)]
    assert stopped(*falling, patience=1, mode="min", monitor="val_accuracy") == (3, 3)


def test_the_training_loss_can_be_watched():
    logs = [{"loss": one, "val_loss": 9 - one} for one in (3.0, 2.0, 2.5, 1.0)]
    assert stopped(*logs, monitor="loss", patience=1) == (3, 2)


# ReduceLROnPlateau


def rates_after(*losses: float, **options: Any) -> list[float]:
    """Return the learning rate after each epoch; it begins with 1."""
    return run(callbacks_of(reduce_on_plateau=options), *losses)[1]


def test_the_rate_falls_by_the_factor_after_patience_epochs():
    assert rates_after(0.5, 0.5, 0.5, 0.5, 0.5, patience=2, factor=0.5) == [1, 1, 0.5, 0.5, 0.25]
    assert rates_after(0.5, 0.5, 0.5, patience=1, factor=0.1) == pytest.approx([1, 0.1, 0.01])


def test_a_better_epoch_keeps_the_rate():
    assert rates_after(0.5, 0.6, 0.4, 0.6, 0.3, patience=2) == [1] * 5


def test_a_smaller_improvement_than_min_delta_counts_as_a_plateau():
    losses = [0.5, 0.45, 0.4, 0.35]
    assert rates_after(*losses, patience=1, factor=0.5, min_delta=0.06) == [1, 0.5, 0.5, 0.25]
    assert rates_after(*losses, patience=1, factor=0.5, min_delta=0.04) == [1, 1, 1, 1]


def test_the_cooldown_waits_before_the_next_reduction():
    found = rates_after(*[0.5] * 7, patience=1, factor=0.5, cooldown=2)
    assert found == [1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert rates_after(*[0.5] * 4, patience=1, factor=0.5) == [1, 0.5, 0.25, 0.125]


def test_the_rate_never_falls_below_min_lr():
    found = rates_after(*[0.5] * 5, patience=1, factor=0.5, min_lr=0.2)
    assert found == [1, 0.5, 0.25, 0.2, 0.2]


def test_a_plateau_of_a_metric_that_should_rise():
    options = {"monitor": "val_accuracy", "patience": 1, "factor": 0.5}
    rising = [{"val_accuracy": one} for one in (0.1, 0.2, 0.3)]
    assert run(callbacks_of(reduce_on_plateau=options), *rising)[1] == [1, 1, 1]
    assert run(callbacks_of(reduce_on_plateau=options | {"mode": "min"}), *rising)[1][-1] < 1


# ModelCheckpoint


def saved(folder: Path, *losses: float | dict, steps: int = 1, **options: Any) -> list[str]:
    return run(callbacks_of(checkpoints=folder, checkpoint=options), *losses, steps=steps)[0].saved


def test_the_best_epochs_alone_are_saved_over_each_other(tmp_path):
    assert saved(tmp_path, 0.9, 0.7, 0.8, 0.6) == [
        "best.keras after epoch 1",
        "best.keras after epoch 2",
        "best.keras after epoch 4",
    ]


def test_every_epoch_is_saved_under_its_number(tmp_path):
    assert saved(tmp_path, 0.9, 0.7, 0.8, save_best_only=False) == [
        "epoch-0001.keras after epoch 1",
        "epoch-0002.keras after epoch 2",
        "epoch-0003.keras after epoch 3",
    ]


def test_the_weights_alone_can_be_saved(tmp_path):
    assert saved(tmp_path, 0.9, save_weights_only=True) == ["weights best.weights.h5 after epoch 1"]
    assert saved(tmp_path, 0.9, save_weights_only=True, save_best_only=False) == [
        "weights epoch-0001.weights.h5 after epoch 1"
    ]


def test_every_so_many_steps_are_counted_through_the_epochs(tmp_path):
    found = saved(tmp_path, 0.9, 0.8, 0.7, steps=4, save_best_only=False, save_freq=3)
    assert [one.split(".")[0] for one in found] == [
        *("epoch-0001-step-000003", "epoch-0002-step-000002"),
        *("epoch-0003-step-000001", "epoch-0003-step-000004"),
    ]


def test_only_what_beats_the_initial_threshold_is_saved(tmp_path):
    found = saved(tmp_path, 0.9, 0.7, 0.6, initial_value_threshold=0.65)
    assert found == ["best.keras after epoch 3"]


@pytest.mark.parametrize(("mode", "epochs"), [("auto", [1, 3]), ("min", [1, 2])])
def test_the_best_of_a_metric_follows_its_mode(tmp_path, mode, epochs):
    logs = [{"val_accuracy": one} for one in (0.5, 0.4, 0.6)]
    found = saved(tmp_path, *logs, monitor="val_accuracy", mode=mode)
    assert found == [f"best.keras after epoch {one}" for one in epochs]


def test_without_a_folder_nothing_is_saved():
    assert callbacks_of(checkpoint={}) == []


# Which are built

ALL = {
    "early_stopping": {"patience": 2},
    "reduce_on_plateau": {"patience": 1, "factor": 0.5},
    "checkpoint": {},
}


def test_each_is_built_if_it_is_set(tmp_path):
    kinds = [type(one).__name__ for one in callbacks_of(checkpoints=tmp_path, **ALL)]
    assert kinds == ["EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint"]
    assert callbacks_of(checkpoints=tmp_path) == []


def test_each_fit_has_new_ones_that_remember_nothing(tmp_path):
    first, second = (callbacks_of(checkpoints=tmp_path, **ALL) for _ in range(2))
    model, rates = run(first, 0.1, 0.2, 0.3)
    assert model.stop_training
    model, rates = run(second, 0.9, 0.8, 0.7)
    assert not model.stop_training
    assert rates == [1, 1, 1]
    assert model.saved == [f"best.keras after epoch {epoch}" for epoch in (1, 2, 3)]


def test_those_that_watch_validation_are_left_out_without_it(tmp_path):
    assert callbacks_of(watching=False, checkpoints=tmp_path, **ALL) == []
    of_training = {name: options | {"monitor": "loss"} for name, options in ALL.items()}
    assert len(callbacks_of(watching=False, checkpoints=tmp_path, **of_training)) == 3


# Replay

LOSSES = [0.9, 0.7, 0.72, 0.71, 0.5, 0.6, 0.61, 0.62, 0.63]
OPTIONS = {
    "patient": {
        "early_stopping": {"patience": 3},
        "reduce_on_plateau": {"patience": 2, "factor": 0.5, "cooldown": 1},
        "checkpoint": {},
    },
    "by steps, from a later epoch": {
        "early_stopping": {"patience": 2, "start_from_epoch": 3, "baseline": 0.6},
        "reduce_on_plateau": {"patience": 1, "factor": 0.5, "min_lr": 0.3},
        "checkpoint": {"save_best_only": False, "save_freq": 5},
    },
}


def replayed(callbacks: list[keras.callbacks.Callback], *losses: float, steps: int = 1) -> Idle:
    """Begin callbacks and show them what was; the model that stood for the true one."""
    idle = Idle(1.0)
    for callback in callbacks:
        callback.set_model(idle)
        callback.on_train_begin()
    replay(callbacks, [{"val_loss": one} for one in losses], steps)
    return idle


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("killed_after", range(1, 7))
def test_replayed_callbacks_go_on_as_undisturbed_ones(tmp_path, options, killed_after):
    undisturbed, expected_rates = run(
        callbacks_of(checkpoints=tmp_path, **options), *LOSSES, steps=3
    )
    before, rates = run(
        callbacks_of(checkpoints=tmp_path, **options), *LOSSES[:killed_after], steps=3, end=False
    )

    fresh = callbacks_of(checkpoints=tmp_path, **options)
    replayed(fresh, *LOSSES[:killed_after], steps=3)
    # The caller puts back what was saved: weights, rate and files.
    for callback in fresh:
        callback.set_model(before)
        if getattr(callback, "best_weights", None) is not None:
            callback.best_weights = [np.array(callback.best_epoch + 1)]
    for epoch in range(killed_after, len(LOSSES)):
        if before.stop_training:
            break
        show(fresh, before, epoch, LOSSES[epoch], steps=3)
        rates.append(before.learning_rate)
    for callback in fresh:
        callback.on_train_end()

    assert rates == expected_rates
    assert before.saved == undisturbed.saved
    assert before.epoch == undisturbed.epoch
    assert before.stop_training == undisturbed.stop_training


def test_a_replay_writes_nothing(tmp_path):
    replayed(callbacks_of(checkpoints=tmp_path / "kept", **ALL), *LOSSES)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("losses", "stopped"), [([0.5], False), ([0.5, 0.6], True)])
def test_a_replay_tells_whether_training_had_stopped(losses, stopped):
    assert replayed(callbacks_of(early_stopping={"patience": 1}), *losses).stop_training == stopped
