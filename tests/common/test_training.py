"""Training from rows: each image once an epoch, no other image, and the steps of the formulas."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn import metrics

from stages.common import training as training_module
from stages.common.errors import InputError
from stages.common.features import predict
from stages.common.params import Training
from stages.common.scaling import Scaling
from stages.common.training import Batches, Examples, Trainer

ROOT = Path(__file__).parents[2]
SPARSE = "sparse_categorical_crossentropy"


class ArrayRows:
    """Rows from an array (images, variants, columns) that remember what was taken."""

    def __init__(self, values: np.ndarray):
        self.variants = values.shape[1]
        self.shape, self.dtype = values.shape[2:], values.dtype
        self._values = values
        self.taken = []

    def take(self, images: np.ndarray, variants: np.ndarray | int = 0) -> np.ndarray:
        variants = np.broadcast_to(variants, len(images))
        self.taken += zip(images.tolist(), variants.tolist(), strict=True)
        return self._values[images, variants]


def random_rows(images: int = 20, variants: int = 3, columns: int = 4) -> ArrayRows:
    values = np.random.default_rng(0).normal(size=(images, variants, columns))
    return ArrayRows(values.astype("float32"))


def network_with_every_kind_of_state() -> keras.Model:
    """Return a network with weights, a moving statistic and a random generator."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(8, "relu")(x)
    return keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))


def linear(
    columns: int,
    outputs: int,
    activation: str = "softmax",
    kernel: np.ndarray | None = None,
    penalty: keras.Regularizer | None = None,
) -> keras.Model:
    """Return logits = x @ kernel + bias with an activation behind."""
    inputs = keras.Input((columns,))
    dense = keras.layers.Dense(outputs, kernel_initializer="zeros", kernel_regularizer=penalty)
    model = keras.Model(inputs, keras.layers.Activation(activation)(dense(inputs)))
    if kernel is not None:
        dense.kernel.assign(kernel)
    return model


def codes(images: int = 20, classes: int = 2) -> np.ndarray:
    return np.arange(images)[:, None] % classes


def examples_of(
    targets: np.ndarray,
    task: str = "multiclass",
    encoder: str = "label",
    weights: np.ndarray | None = None,
    scaling: Scaling | None = None,
) -> Examples:
    weights = np.ones(len(targets)) if weights is None else weights
    return Examples(task, encoder, targets, weights.astype("float32"), scaling or Scaling())


def params(**options: Any) -> Training:
    """Return training params with plain steps of gradient descent, without early stopping."""
    optimizer = {"name": "sgd", "learning_rate": 0.1} | options.pop("optimizer", {})
    return Training(**{"early_stopping": None, "optimizer": optimizer} | options)


def trainer_of(
    model: keras.Model,
    rows: ArrayRows,
    training: Training,
    loss: str = SPARSE,
    columns: int = 1,
    factor: float = 1.0,
) -> Trainer:
    return Trainer(model, rows, columns, training, loss, factor)


def all_of(trainer: Trainer) -> list[np.ndarray]:
    """Return the weights, the statistics and the random states of what was trained."""
    return [one.numpy() for one in trainer.model.variables]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


# Batches


def shown(batches: Batches, epoch: int, at_once: int = 1) -> tuple[list, ...]:
    """Return what an epoch shows: all positions, rows, targets and weights."""
    chunks = list(batches.epoch(epoch, at_once))
    flat = [[one.reshape(-1, *one.shape[2:]) for one in chunk] for chunk in chunks]
    return tuple(np.concatenate(parts).tolist() for parts in zip(*flat, strict=True))


def test_an_epoch_shows_every_image_exactly_once_with_its_own_target_and_weight():
    # Row i of variant v holds i and v, so that what is shown says where it comes from.
    values = np.stack(np.meshgrid(np.arange(50), np.arange(4), indexing="ij"), axis=-1)
    images, examples = np.arange(3, 47, 2), examples_of(codes(50, 7), weights=np.arange(50) / 4)
    batches = Batches(ArrayRows(values), examples, images, batch_size=5, seed=1)
    seen_variants = set()
    for epoch in range(5):
        positions, rows, targets, weights = shown(batches, epoch)
        assert sorted(positions) == images.tolist()
        assert [image for image, _ in rows] == positions
        assert targets == [[image % 7] for image in positions]
        assert weights == [image / 4 for image in positions]
        seen_variants |= {variant for _, variant in rows}
    assert seen_variants == {0, 1, 2, 3}


def test_the_last_batch_is_as_small_as_what_is_left():
    batches = Batches(random_rows(), examples_of(codes()), np.arange(13), batch_size=5, seed=0)
    assert len(batches) == 3
    assert [one.shape for one, *_ in batches.epoch(0, at_once=1)] == [(1, 5), (1, 5), (1, 3)]
    whole = Batches(random_rows(), examples_of(codes()), np.arange(10), batch_size=5, seed=0)
    assert [one.shape for one, *_ in whole.epoch(0, at_once=1)] == [(1, 5), (1, 5)]


def test_a_chunk_has_at_most_so_many_batches_of_one_size():
    batches = Batches(random_rows(), examples_of(codes()), np.arange(18), batch_size=4, seed=0)
    chunks = list(batches.epoch(0, at_once=3))
    assert [one.shape for one, *_ in chunks] == [(3, 4), (1, 4), (1, 2)]
    assert [one.shape for _, one, *_ in chunks] == [(3, 4, 4), (1, 4, 4), (1, 2, 4)]


@pytest.mark.parametrize("at_once", [2, 3, 100])
def test_chunks_of_any_size_show_the_same(at_once):
    batches = Batches(random_rows(), examples_of(codes()), np.arange(18), batch_size=4, seed=0)
    assert shown(batches, 2, at_once) == shown(batches, 2, 1)


def test_order_and_variants_depend_on_seed_and_epoch_alone():
    def epoch(number: int, batch_size: int = 4, seed: int = 1) -> tuple[list, ...]:
        batches = Batches(random_rows(), examples_of(codes()), np.arange(16), batch_size, seed)
        return shown(batches, number)

    epochs = [epoch(number) for number in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    np.random.default_rng(9).random()
    keras.utils.set_random_seed(77)
    assert epoch(2) == epochs[2]
    assert epoch(0) == epochs[0]
    assert epoch(0, batch_size=7) == epochs[0]
    assert epoch(0, seed=2) != epochs[0]


# Which images are read


def test_training_takes_the_given_images_and_no_other():
    rows = random_rows(30)
    train, validation = np.arange(0, 20, 2), np.arange(1, 10, 2)  # the others are the test set
    trainer = trainer_of(linear(4, 2), rows, params(batch_size=4, epochs=3))

    trainer.fit(examples_of(codes(30)), train)
    assert {image for image, _ in rows.taken} == set(train)
    assert {variant for _, variant in rows.taken} == {0, 1, 2}

    rows.taken = []
    trainer.fit(examples_of(codes(30)), train, validation)
    watched = [(image, variant) for image, variant in rows.taken if image % 2]
    assert {image for image, _ in rows.taken} == {*train, *validation}
    assert sorted(watched) == sorted([(image, 0) for image in validation] * 3)


def test_each_epoch_of_a_fit_has_the_order_that_is_its_own():
    rows, planned, examples = random_rows(), random_rows(), examples_of(codes())
    trainer_of(linear(4, 2), rows, params(batch_size=8, epochs=3, seed=5)).fit(
        examples, np.arange(12)
    )
    batches = Batches(planned, examples, np.arange(12), batch_size=8, seed=5)
    for epoch in range(3):
        shown(batches, epoch)
    assert rows.taken == planned.taken


def test_targets_and_weights_of_other_images_change_nothing():
    train, results = np.arange(10), []
    for others in (0, 1):
        targets, weights = codes(), np.ones(20)
        targets[10:], weights[10:] = others, 5 * others
        trainer = trainer_of(network_with_every_kind_of_state(), random_rows(), params(epochs=2))
        results.append(trainer.fit(examples_of(targets, weights=weights), train))
    assert results[0] == results[1]


# The same again


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_a_fit_remembers_nothing_of_the_one_before(optimizer):
    options = {"name": optimizer, "learning_rate": 0.05}
    training = params(
        optimizer=options,
        batch_size=4,
        epochs=4,
        early_stopping={"patience": 1},
        reduce_on_plateau={"patience": 1},
    )
    trainer = trainer_of(network_with_every_kind_of_state(), random_rows(), training)
    start = [(one, one.numpy()) for one in trainer.model.variables]

    def fit(targets: np.ndarray, train: np.ndarray, validation: np.ndarray) -> tuple:
        for variable, value in start:
            variable.assign(value)
        return trainer.fit(examples_of(targets), train, validation), all_of(trainer)

    first, weights = fit(codes(), np.arange(12), np.arange(12, 20))
    # Another fold in between, with other images, another watched set and another best epoch.
    fit(1 - codes(), np.arange(8, 20), np.arange(8))
    again, same_weights = fit(codes(), np.arange(12), np.arange(12, 20))
    assert not any(np.array_equal(one, two) for one, (_, two) in zip(weights, start, strict=True))
    assert again == first
    np.testing.assert_equal(same_weights, weights)


FIT = """
import sys
import numpy as np
from stages.common.determinism import make_deterministic
make_deterministic(threads=2, seed=0)
sys.path.insert(0, sys.argv[1])
from test_training import *
trainer = trainer_of(
    network_with_every_kind_of_state(), random_rows(), params(batch_size=4, epochs=3)
)
history, _ = trainer.fit(examples_of(codes()), np.arange(20))
np.savez(sys.argv[2], *all_of(trainer), [list(logs.values()) for logs in history])
"""


def test_another_process_trains_to_the_same_bits(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", FIT, Path(__file__).parent, tmp_path / f"{seed}.npz"],
            env=os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
        )
        for seed in (1, 2)
    ]
    assert [process.wait() for process in started] == [0, 0]
    first, second = (np.load(tmp_path / f"{seed}.npz") for seed in (1, 2))
    assert len(first.files) > 8
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])


def test_the_seed_decides_the_order_and_so_the_weights():
    weights = []
    for seed in (0, 1):
        training = params(batch_size=4, epochs=1, seed=seed)
        trainer = trainer_of(linear(4, 2), random_rows(), training)
        trainer.fit(examples_of(codes()), np.arange(20))
        weights.append(all_of(trainer)[0])
    assert not np.allclose(weights[0], weights[1])


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_chunks_of_any_size_train_to_the_same_weights(steps, monkeypatch):
    def fitted() -> tuple:
        training = params(
            batch_size=4, epochs=3, schedule={"name": "cosine"}, optimizer={"name": "adam"}
        )
        trainer = trainer_of(network_with_every_kind_of_state(), random_rows(), training)
        return trainer.fit(examples_of(codes()), np.arange(18), np.arange(18, 20)), all_of(trainer)

    history, weights = fitted()  # an epoch is one chunk of four batches, and one of two images
    monkeypatch.setattr(training_module, "_CHUNK_BYTES", steps * 4 * 4 * 4)
    taken = []
    monkeypatch.setattr(Batches, "_chunk", spy(Batches._chunk, taken))
    again, same_weights = fitted()
    assert max(len(positions) // size for positions, _, size in taken) == steps
    assert again == history
    np.testing.assert_equal(same_weights, weights)


def spy(function: Any, calls: list) -> Any:
    def called(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        return function(self, *arguments)

    return called


# The steps


@pytest.mark.parametrize("loss", [SPARSE, "categorical_crossentropy"])
def test_one_plain_step_is_the_one_computed_by_hand(loss):
    random = np.random.default_rng(3)
    x, kernel = random.normal(size=(6, 1, 4)), random.normal(size=(4, 3))
    one_hot = np.eye(3)[codes(6, 3)[:, 0]]
    sparse = loss == SPARSE
    examples = examples_of(codes(6, 3)) if sparse else examples_of(one_hot, encoder="onehot")
    training = params(optimizer={"learning_rate": 0.5}, batch_size=6, epochs=1)
    rows = ArrayRows(x.astype("float32"))
    trainer = trainer_of(linear(4, 3, kernel=kernel), rows, training, loss, 1 if sparse else 3)
    history, _ = trainer.fit(examples, np.arange(6))

    probabilities = softmax(x[:, 0] @ kernel)
    error = (probabilities - one_hot) / 6
    received_kernel, received_bias = all_of(trainer)
    np.testing.assert_allclose(received_kernel, kernel - 0.5 * x[:, 0].T @ error, atol=1e-6)
    np.testing.assert_allclose(received_bias, -0.5 * error.sum(axis=0), atol=1e-6)
    assert history[0]["loss"] == pytest.approx(-np.log(probabilities[one_hot == 1]).mean())


def test_two_epochs_of_momentum_with_a_penalty_are_those_computed_by_hand():
    rows, examples, train = random_rows(), examples_of(codes()), np.arange(10)
    training = params(
        optimizer={"learning_rate": 0.5, "momentum": 0.9, "decay": 0.1},
        batch_size=4,
        epochs=2,
    )
    start = np.random.default_rng(1).normal(size=(4, 2))
    model = linear(4, 2, kernel=start, penalty=keras.regularizers.L1L2(0.02, 0.03))
    trainer = trainer_of(model, rows, training)
    history, _ = trainer.fit(examples, train)

    kernel, bias, velocity, step = start, np.zeros(2), [0.0, 0.0], 0
    batches = Batches(rows, examples, train, batch_size=4, seed=0)
    for epoch in range(2):
        losses = []
        for _, x, y, _ in batches.epoch(epoch, at_once=1):
            x, one_hot = x[0].astype(float), np.eye(2)[y[0, :, 0].astype(int)]
            probabilities = softmax(x @ kernel + bias)
            of_batch = -np.log(probabilities[one_hot == 1]).mean()
            penalty = 0.02 * np.abs(kernel).sum() + 0.03 * np.square(kernel).sum()
            losses += [of_batch + penalty] * len(x)
            error = (probabilities - one_hot) / len(x)
            gradients = [
                x.T @ error + 0.02 * np.sign(kernel) + 0.06 * kernel,
                error.sum(axis=0),
            ]
            rate = 0.5 / (1 + 0.1 * step)
            velocity = [0.9 * v - rate * g for v, g in zip(velocity, gradients, strict=True)]
            kernel, bias, step = kernel + velocity[0], bias + velocity[1], step + 1
        # Each image counts alike, also in the smaller last batch.
        assert history[epoch]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert history[epoch]["learning_rate"] == pytest.approx(rate)
    np.testing.assert_allclose(all_of(trainer)[0], kernel, atol=1e-5)
    np.testing.assert_allclose(all_of(trainer)[1], bias, atol=1e-5)


def first_loss(
    loss: str, outputs: np.ndarray, examples: Examples, activation: str = "linear", **options: Any
) -> float:
    """Return the training loss of a network that gives these outputs before its first step."""
    images, columns = outputs.shape
    rows = ArrayRows(outputs[:, None].astype("float32"))
    model = linear(columns, columns, activation, kernel=np.eye(columns))
    training = params(batch_size=images, epochs=1, **options)
    trainer = trainer_of(model, rows, training, loss, examples.targets.shape[1])
    history, _ = trainer.fit(examples, np.arange(images))
    return history[0]["loss"]


LOGITS = np.random.default_rng(5).normal(size=(7, 3))
ONE_HOT = np.eye(3)[codes(7, 3)[:, 0]]
LOG_P = np.log(softmax(LOGITS))
VALUES = np.random.default_rng(6).normal(size=(7, 1))


def test_the_losses_of_classes_are_cross_entropies():
    expected = -(ONE_HOT * LOG_P).sum(axis=1).mean()
    sparse = first_loss(SPARSE, LOGITS, examples_of(codes(7, 3)), "softmax")
    assert sparse == pytest.approx(expected, rel=1e-5)
    examples = examples_of(ONE_HOT, encoder="onehot")
    found = first_loss("categorical_crossentropy", LOGITS, examples, "softmax")
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_labels_is_the_binary_cross_entropy_of_each():
    labels = np.random.default_rng(7).integers(0, 2, (7, 3))
    p = 1 / (1 + np.exp(-LOGITS))
    expected = -np.where(labels == 1, np.log(p), np.log(1 - p)).mean()
    examples = examples_of(labels, "multilabel", "binarizer")
    found = first_loss("binary_crossentropy", LOGITS, examples, "sigmoid")
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "formula"), [("mean_squared_error", np.square), ("mean_absolute_error", np.abs)]
)
def test_the_losses_of_numbers_are_means_of_errors(loss, formula):
    examples = examples_of(VALUES, "regression", "none")
    expected = formula(LOGITS[:, :1] - VALUES).mean()
    assert first_loss(loss, LOGITS[:, :1], examples) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_gives_every_class_a_share():
    smooth = 0.8 * ONE_HOT + 0.2 / 3
    examples = examples_of(ONE_HOT, encoder="onehot")
    found = first_loss("categorical_crossentropy", LOGITS, examples, "softmax", label_smoothing=0.2)
    assert found == pytest.approx(-(smooth * LOG_P).sum(axis=1).mean(), rel=1e-5)


def test_label_smoothing_moves_yes_and_no_towards_a_half():
    smooth, p = 0.8 * ONE_HOT + 0.1, 1 / (1 + np.exp(-LOGITS))
    examples = examples_of(ONE_HOT, "multilabel", "binarizer")
    found = first_loss("binary_crossentropy", LOGITS, examples, "sigmoid", label_smoothing=0.2)
    expected = -(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).mean()
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_weight_multiplies_the_loss_of_its_image():
    weights = np.array([0.5, 2, 1, 0, 3, 1, 1])
    found = first_loss(SPARSE, LOGITS, examples_of(codes(7, 3), weights=weights), "softmax")
    assert found == pytest.approx((weights * -(ONE_HOT * LOG_P).sum(axis=1)).mean(), rel=1e-5)


def test_a_weight_multiplies_the_gradient_of_its_image():
    weights = np.array([0.5, 2, 1, 0, 3, 1, 1])
    training = params(optimizer={"learning_rate": 0.5}, batch_size=7, epochs=1)
    rows = ArrayRows(LOGITS[:, None].astype("float32"))
    trainer = trainer_of(linear(3, 3, kernel=np.eye(3)), rows, training)
    trainer.fit(examples_of(codes(7, 3), weights=weights), np.arange(7))
    error = weights[:, None] * (softmax(LOGITS) - ONE_HOT) / 7
    np.testing.assert_allclose(all_of(trainer)[0], np.eye(3) - 0.5 * LOGITS.T @ error, atol=1e-6)


def test_the_watched_loss_is_not_weighted():
    weights, images = np.full(7, 9.0), np.arange(7)
    rows = ArrayRows(LOGITS[:, None].astype("float32"))
    training = params(optimizer={"learning_rate": 1e-9}, epochs=1)
    trainer = trainer_of(linear(3, 3, kernel=np.eye(3)), rows, training)
    history, _ = trainer.fit(examples_of(codes(7, 3), weights=weights), images, images)
    assert history[0]["loss"] == pytest.approx(9 * history[0]["val_loss"], rel=1e-4)


# The rate of each step


def moves(training: Training, images: int = 8, factor: float = 1.0) -> tuple[list, list]:
    """Return how far each epoch moves a weight whose gradient is 1, and the rates of the history.

    The mean absolute error of an output that is far too large falls by 1 for each 1 of its offset,
    so with plain descent the weight moves by the rate of each step.
    """
    rows = ArrayRows(np.zeros((images, 1, 1), "float32"))
    examples = examples_of(np.full((images, 1), -100.0), "regression", "none")
    trainer = trainer_of(linear(1, 1, "linear"), rows, training, "mean_absolute_error", 1, factor)
    offsets = [0.0]
    history, _ = trainer.fit(
        examples,
        np.arange(images),
        np.arange(images),
        report=lambda logs: offsets.append(-float(trainer.model.get_weights()[1][0])),
    )
    return np.diff(offsets).tolist(), [logs["learning_rate"] for logs in history]


def test_every_step_has_its_planned_rate():
    moved, rates = moves(params(batch_size=4, epochs=3, optimizer={"decay": 1.0}))
    expected = [0.1 / (1 + step) for step in range(6)]
    assert moved == pytest.approx([sum(expected[i : i + 2]) for i in (0, 2, 4)], rel=1e-4)
    assert rates == pytest.approx(expected[1::2])


def test_a_schedule_with_warm_up_sets_the_rate():
    schedule = {"name": "exponential", "warmup_epochs": 2, "decay_rate": 0.5}
    moved, rates = moves(params(batch_size=8, epochs=5, schedule=schedule))
    assert moved == pytest.approx([0.05, 0.1, 0.1, 0.05, 0.025], rel=1e-4)
    assert rates == pytest.approx(moved, rel=1e-4)


def test_the_factor_of_a_phase_is_on_the_rate():
    moved, rates = moves(params(batch_size=8, epochs=2), factor=0.25)
    assert moved == pytest.approx([0.025] * 2, rel=1e-4)
    assert rates == pytest.approx([0.025] * 2)


def test_a_plateau_lowers_the_rate_of_the_steps_behind_it():
    plateau = {"patience": 1, "factor": 0.5, "min_delta": 1000.0}
    moved, rates = moves(params(batch_size=4, epochs=4, reduce_on_plateau=plateau))
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.025])
    assert moved == pytest.approx([0.2, 0.2, 0.1, 0.05], rel=1e-4)


def test_a_second_fit_begins_with_the_first_rate():
    rows, examples = random_rows(), examples_of(codes())
    plateau = {"patience": 1, "factor": 0.5, "min_delta": 1000.0}
    trainer = trainer_of(linear(4, 2), rows, params(epochs=4, reduce_on_plateau=plateau))
    for _ in range(2):
        history, _ = trainer.fit(examples, np.arange(20), np.arange(20))
        rates = [logs["learning_rate"] for logs in history]
        assert rates == pytest.approx([0.1, 0.1, 0.05, 0.025])


# The history


def test_the_history_has_an_entry_for_each_epoch_and_the_steps_are_those_planned():
    training = params(batch_size=8, epochs=3)
    trainer = trainer_of(linear(4, 2), random_rows(), training)
    reported = []
    history, last = trainer.fit(
        examples_of(codes()), np.arange(20), np.arange(5), report=reported.append
    )
    names = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    assert [list(logs) for logs in history] == [names] * 3
    assert all(type(value) is float for logs in history for value in logs.values())
    assert reported == history
    assert last == 3
    assert int(trainer.model.optimizer.iterations) == 3 * 3  # 20 images: 3 batches of at most 8


def test_without_validation_there_is_nothing_of_it_in_the_history():
    trainer = trainer_of(linear(4, 2), random_rows(), params(epochs=1))
    history, _ = trainer.fit(examples_of(codes()), np.arange(20))
    assert list(history[0]) == ["loss", "accuracy", "learning_rate"]


def standing_still(metric_names: list[str] | str) -> Training:
    """Return params under which the network stays as it is, so that its figures can be checked."""
    return params(optimizer={"learning_rate": 1e-9}, batch_size=5, epochs=1, metrics=metric_names)


def test_metrics_are_those_of_all_images_of_the_epoch_and_of_the_watched_ones():
    rows, targets = random_rows(40, variants=1, columns=3), codes(40, 3)
    train, watched = np.arange(25), np.arange(25, 40)
    training = standing_still(["balanced_accuracy", "log_loss", "accuracy"])
    trainer = trainer_of(linear(3, 3, kernel=np.eye(3)), rows, training)
    history, _ = trainer.fit(examples_of(targets), train, watched)
    for images, prefix in [(train, ""), (watched, "val_")]:
        probabilities, truth = softmax(rows.take(images).astype(float)), targets[images, 0]
        said = probabilities.argmax(axis=1)
        expected = {
            "accuracy": metrics.accuracy_score(truth, said),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, said),
            "log_loss": metrics.log_loss(truth, probabilities),
        }
        for name, value in expected.items():
            assert history[0][prefix + name] == pytest.approx(value, rel=1e-5)


def test_metrics_of_numbers_are_in_their_units():
    values = np.random.default_rng(0).normal(5000, 800, (12, 1))
    scaling = Scaling(5000.0, 800.0)
    rows = ArrayRows(np.random.default_rng(1).normal(size=(12, 1, 1)).astype("float32"))
    examples = examples_of(scaling.scaled(values), "regression", "none", scaling=scaling)
    model = linear(1, 1, "linear", kernel=np.ones((1, 1)))
    trainer = trainer_of(model, rows, standing_still(["mae", "rmse"]), "mean_squared_error")
    history, _ = trainer.fit(examples, np.arange(8), np.arange(8, 12))
    said = 5000 + 800 * rows.take(np.arange(12)).astype(float)
    errors = np.abs(said - values)[:, 0]
    assert history[0]["mae"] == pytest.approx(errors[:8].mean(), rel=1e-4)
    assert history[0]["val_mae"] == pytest.approx(errors[8:].mean(), rel=1e-4)
    assert history[0]["val_rmse"] == pytest.approx(np.sqrt((errors[8:] ** 2).mean()), rel=1e-4)


def test_the_watched_loss_holds_the_penalty_and_dropout_is_off():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.9)(inputs)
    outputs = keras.layers.Dense(2, "softmax", kernel_regularizer=keras.regularizers.L2(0.1))(x)
    model, rows, watched = keras.Model(inputs, outputs), random_rows(variants=1), np.arange(5)
    trainer = trainer_of(model, rows, standing_still("auto"))
    history, _ = trainer.fit(examples_of(codes()), np.arange(20), watched)
    kernel, bias = model.get_weights()
    log_p = np.log(softmax(rows.take(watched) @ kernel + bias))
    expected = -log_p[np.arange(5), codes()[:5, 0]].mean() + 0.1 * np.square(kernel).sum()
    assert history[0]["val_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_no_number_is_refused():
    trainer = trainer_of(
        linear(4, 1, "linear"),
        random_rows(),
        params(optimizer={"learning_rate": 1e25}, batch_size=4),
        "mean_squared_error",
    )
    examples = examples_of(codes().astype(float), "regression", "none")
    with pytest.raises(InputError, match=r"learning_rate: expected .* received 1e\+25; lower it"):
        trainer.fit(examples, np.arange(20))


# Stopping early


def overtrained(**options: Any) -> tuple[list[dict], int, float]:
    """Train on ten images of class 1 while seven of ten watched ones are of it.

    All look the same. The watched loss falls until the model says 70 %, and rises after it.

    Returns:
        The history, of which epoch the weights are said to be, and their watched loss.
    """
    rows = ArrayRows(np.ones((20, 1, 1), dtype="float32"))
    targets, watched = np.array([1] * 10 + [1] * 7 + [0] * 3)[:, None], np.arange(10, 20)
    trainer = trainer_of(linear(1, 2), rows, params(**options))
    history, kept = trainer.fit(examples_of(targets), np.arange(10), watched)
    outputs = predict(trainer.infer, rows, watched)
    return history, kept, float(-np.log(outputs[np.arange(10), targets[watched, 0]]).mean())


def of_epochs(history: list[dict], name: str) -> list[float]:
    return [logs[name] for logs in history]


@pytest.mark.parametrize("epochs", [30, 7], ids=["stopped early", "planned epochs done"])
def test_the_weights_of_the_best_epoch_are_kept(epochs):
    history, kept, loss = overtrained(epochs=epochs, early_stopping={"patience": 3})
    watched = of_epochs(history, "val_loss")
    best = int(np.argmin(watched))
    assert 0 < best < len(history) - 1, "the best epoch must be neither the first nor the last"
    assert len(history) == min(epochs, best + 1 + 3)
    assert kept == best + 1
    assert loss == pytest.approx(watched[best], rel=1e-5)


@pytest.mark.parametrize("stopping", [None, {"restore_best_weights": False, "patience": 12}])
def test_the_last_weights_are_kept_if_nothing_restores_better_ones(stopping):
    history, kept, loss = overtrained(epochs=12, early_stopping=stopping)
    assert len(history) == kept == 12
    assert np.argmin(of_epochs(history, "val_loss")) < 11
    assert loss == pytest.approx(history[-1]["val_loss"], rel=1e-5)


def test_stopping_may_watch_the_accuracy():
    # It cannot rise above 70 %, so the first epoch is the best, though the loss falls on.
    history, kept, loss = overtrained(
        optimizer={"learning_rate": 0.01},
        epochs=10,
        early_stopping={"monitor": "val_accuracy", "patience": 2},
    )
    assert of_epochs(history, "val_accuracy") == pytest.approx([0.7] * 3)
    watched = of_epochs(history, "val_loss")
    assert watched == sorted(watched, reverse=True)
    assert kept == 1
    assert loss == pytest.approx(watched[0], rel=1e-5)
