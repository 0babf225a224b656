"""Training from rows: the same start each time, each image once an epoch, and no other image."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from stages.common.params import EarlyStopping, Optimizer, Training
from stages.common.training import Batches, Trainer

ROOT = Path(__file__).parents[2]


class ArrayRows:
    """Rows from an array (images, variants, columns) that remember what was taken."""

    def __init__(self, values: np.ndarray):
        self.variants = values.shape[1]
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


def linear_softmax(columns: int, classes: int, kernel: np.ndarray | None = None) -> keras.Model:
    """Return logits = x @ kernel + bias with a softmax behind."""
    inputs = keras.Input((columns,))
    dense = keras.layers.Dense(classes, kernel_initializer="zeros")
    model = keras.Model(inputs, keras.layers.Activation("softmax")(dense(inputs)))
    if kernel is not None:
        dense.kernel.assign(kernel)
    return model


def codes(images: int, classes: int = 2) -> np.ndarray:
    return np.arange(images)[:, None] % classes


def shown(batches: Batches) -> tuple[list, list]:
    """Return what an epoch shows: all rows, and all targets."""
    pairs = [batches[number] for number in range(len(batches))]
    rows, targets = zip(*pairs, strict=True)
    return np.concatenate(rows).tolist(), np.concatenate(targets).tolist()


SPARSE = "sparse_categorical_crossentropy"


# Batches


def test_an_epoch_shows_every_image_exactly_once_with_its_own_target():
    # Row i of variant v holds i and v, so that what is shown says where it comes from.
    values = np.stack(np.meshgrid(np.arange(50), np.arange(4), indexing="ij"), axis=-1)
    images = np.arange(3, 47, 2)
    batches = Batches(ArrayRows(values), codes(50, 7), images, batch_size=5, seed=1)
    seen_variants = set()
    for epoch in range(5):
        batches.start_epoch(epoch)
        rows, targets = shown(batches)
        assert sorted(image for image, _ in rows) == images.tolist()
        assert targets == [[image % 7] for image, _ in rows]
        seen_variants |= {variant for _, variant in rows}
    assert seen_variants == {0, 1, 2, 3}


def test_the_last_batch_is_as_small_as_what_is_left():
    batches = Batches(random_rows(20), codes(20), np.arange(13), batch_size=5, seed=0)
    assert [len(batches[number][0]) for number in range(len(batches))] == [5, 5, 3]
    whole = Batches(random_rows(20), codes(20), np.arange(10), batch_size=5, seed=0)
    assert [len(whole[number][0]) for number in range(len(whole))] == [5, 5]


def test_order_and_variants_depend_on_seed_and_epoch_alone():
    rows, targets, images = random_rows(20), codes(20), np.arange(16)
    batches = Batches(rows, targets, images, batch_size=4, seed=1)
    epochs = []
    for epoch in range(3):
        batches.start_epoch(epoch)
        epochs.append(shown(batches))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]

    np.random.default_rng(9).random()
    keras.utils.set_random_seed(77)
    again = Batches(rows, targets, images, batch_size=4, seed=1)
    again.start_epoch(2)
    assert shown(again) == epochs[2]
    again.start_epoch(0)
    assert shown(again) == epochs[0]
    other_size = Batches(rows, targets, images, batch_size=7, seed=1)
    assert shown(other_size) == epochs[0]
    other_seed = Batches(rows, targets, images, batch_size=4, seed=2)
    assert shown(other_seed) != epochs[0]


def test_without_a_seed_the_originals_come_in_the_order_of_the_images():
    rows, targets, images = random_rows(20), codes(20), np.array([7, 3, 11, 0, 2])
    batches = Batches(rows, targets, images, batch_size=2)
    for epoch in range(2):
        batches.start_epoch(epoch)
        assert shown(batches)[0] == rows.take(images, 0).tolist()
        assert shown(batches)[1] == targets[images].tolist()


def test_each_epoch_of_a_fit_has_the_order_that_is_its_own():
    rows, train = random_rows(20), np.arange(8)
    training = Training(batch_size=8, epochs=3, seed=5)
    Trainer(linear_softmax(4, 2), training, SPARSE).fit(rows, codes(20), train)
    planned = random_rows(20)
    batches = Batches(planned, codes(20), train, batch_size=8, seed=5)
    for epoch in range(3):
        batches.start_epoch(epoch)
        shown(batches)
    # Keras takes a first batch once more, to see what it looks like.
    assert rows.taken[-3 * 8 :] == planned.taken


# Which images are read


def test_training_takes_the_given_images_and_no_other():
    rows = random_rows(30)
    train, validation = np.arange(0, 20, 2), np.arange(1, 10, 2)  # the others are the test set
    trainer = Trainer(
        linear_softmax(4, 2), Training(batch_size=4, epochs=3, early_stopping=None), SPARSE
    )

    trainer.fit(rows, codes(30), train)
    assert {image for image, _ in rows.taken} == set(train)
    assert {variant for _, variant in rows.taken} == {0, 1, 2}

    rows.taken = []
    trainer.fit(rows, codes(30), train, validation)
    watched = [(image, variant) for image, variant in rows.taken if image % 2]
    assert {image for image, _ in rows.taken} == {*train, *validation}
    assert set(watched) == {(image, 0) for image in validation}

    rows.taken = []
    trainer.predict(rows, np.array([25, 26]))
    assert set(rows.taken) == {(25, 0), (26, 0)}


def test_targets_of_other_images_change_nothing():
    train, targets = np.arange(10), codes(20)
    others = targets.copy()
    others[10:] = 1 - others[10:]
    histories = [
        Trainer(network_with_every_kind_of_state(), Training(epochs=2), SPARSE).fit(
            random_rows(20), one, train
        )
        for one in (targets, others)
    ]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


# From the same start


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_every_fit_begins_at_the_same_start(optimizer):
    rows, targets = random_rows(20), codes(20)
    model = network_with_every_kind_of_state()
    training = Training(
        optimizer=Optimizer(name=optimizer, learning_rate=0.05),
        batch_size=4,
        epochs=4,
        early_stopping=EarlyStopping(patience=1),
    )
    start = [weight.copy() for weight in model.get_weights()]
    trainer = Trainer(model, training, SPARSE)

    first = trainer.fit(rows, targets, np.arange(12), np.arange(12, 20))
    weights, outputs = model.get_weights(), trainer.predict(rows, np.arange(20))
    # Another fold in between, with other images, another watched set and another best epoch.
    trainer.fit(rows, 1 - targets, np.arange(8, 20), np.arange(8))
    again = trainer.fit(rows, targets, np.arange(12), np.arange(12, 20))

    assert not any(np.array_equal(one, two) for one, two in zip(weights, start, strict=True))
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    for one, two in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(trainer.predict(rows, np.arange(20)), outputs)


FIT = """
import sys
import numpy as np
from stages.common.determinism import make_deterministic
from stages.common.params import Training
from stages.common.training import Trainer
make_deterministic(threads=2, seed=0)
sys.path.insert(0, sys.argv[1])
from test_training import codes, network_with_every_kind_of_state, random_rows
model = network_with_every_kind_of_state()
trainer = Trainer(model, Training(batch_size=4, epochs=3), "sparse_categorical_crossentropy")
rows, images = random_rows(20), np.arange(20)
trainer.fit(rows, codes(20), images)
np.savez(sys.argv[2], *model.get_weights(), trainer.predict(rows, images))
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
        model = linear_softmax(4, 2)
        Trainer(model, Training(batch_size=4, epochs=1, seed=seed), SPARSE).fit(
            random_rows(20), codes(20), np.arange(20)
        )
        weights.append(model.get_weights()[0])
    assert not np.allclose(weights[0], weights[1])


# The steps


@pytest.mark.parametrize("loss", [SPARSE, "categorical_crossentropy"])
def test_one_plain_step_is_the_one_computed_by_hand(loss):
    random = np.random.default_rng(3)
    x, kernel = random.normal(size=(6, 1, 4)), random.normal(size=(4, 3))
    one_hot = np.eye(3)[codes(6, 3)[:, 0]]
    model = linear_softmax(4, 3, kernel)
    training = Training(optimizer=Optimizer(name="sgd", learning_rate=0.5), batch_size=6, epochs=1)
    history = Trainer(model, training, loss).fit(
        ArrayRows(x.astype("float32")), codes(6, 3) if loss == SPARSE else one_hot, np.arange(6)
    )

    powers = np.exp(x[:, 0] @ kernel)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    error = (probabilities - one_hot) / 6
    received_kernel, received_bias = model.get_weights()
    np.testing.assert_allclose(received_kernel, kernel - 0.5 * x[:, 0].T @ error, atol=1e-6)
    np.testing.assert_allclose(received_bias, -0.5 * error.sum(axis=0), atol=1e-6)
    expected_loss = -np.log(probabilities[one_hot == 1]).mean()
    assert history["loss"].item() == pytest.approx(expected_loss, rel=1e-5)


def test_the_history_has_a_row_for_each_epoch_and_the_steps_are_those_planned():
    model = linear_softmax(4, 2)
    training = Training(batch_size=8, epochs=3, early_stopping=None)
    history = Trainer(model, training, SPARSE).fit(
        random_rows(20), codes(20), np.arange(20), np.arange(5)
    )
    assert list(history.columns) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert history["epoch"].tolist() == [1, 2, 3]
    assert int(model.optimizer.iterations) == 3 * 3  # 20 images are 3 batches of at most 8


# Stopping early


def overtrained(training: Training) -> tuple[Trainer, pd.DataFrame, ArrayRows, np.ndarray]:
    """Train on ten images of class 1 while seven of ten watched ones are of it.

    All look the same. The watched loss falls until the model says 70 %, and rises after it.
    """
    rows = ArrayRows(np.ones((20, 1, 1), dtype="float32"))
    targets = np.array([1] * 10 + [1] * 7 + [0] * 3)[:, None]
    trainer = Trainer(linear_softmax(1, 2), training, SPARSE)
    history = trainer.fit(rows, targets, np.arange(10), np.arange(10, 20))
    return trainer, history, rows, targets


def watched_loss(trainer: Trainer, rows: ArrayRows, targets: np.ndarray) -> float:
    watched = np.arange(10, 20)
    outputs = trainer.predict(rows, watched)
    return float(-np.log(outputs[np.arange(10), targets[watched, 0]]).mean())


@pytest.mark.parametrize("epochs", [30, 7], ids=["stopped early", "planned epochs done"])
def test_the_weights_of_the_best_epoch_are_kept(epochs):
    training = Training(
        optimizer=Optimizer(name="sgd", learning_rate=0.1),
        epochs=epochs,
        early_stopping=EarlyStopping(patience=3),
    )
    trainer, history, rows, targets = overtrained(training)
    best = int(history["val_loss"].argmin())
    assert 0 < best < len(history) - 1, "the best epoch must be neither the first nor the last"
    assert len(history) == min(epochs, best + 1 + 3)
    assert watched_loss(trainer, rows, targets) == pytest.approx(
        history["val_loss"][best], rel=1e-5
    )


def test_without_early_stopping_every_epoch_is_trained_and_the_last_kept():
    training = Training(
        optimizer=Optimizer(name="sgd", learning_rate=0.1), epochs=12, early_stopping=None
    )
    trainer, history, rows, targets = overtrained(training)
    assert len(history) == 12
    assert history["val_loss"].argmin() < 11
    assert watched_loss(trainer, rows, targets) == pytest.approx(
        history["val_loss"].iloc[-1], rel=1e-5
    )


def test_stopping_may_watch_the_accuracy():
    # It cannot rise above 70 %, so the first epoch is the best, though the loss falls on.
    training = Training(
        optimizer=Optimizer(name="sgd", learning_rate=0.01),
        epochs=10,
        early_stopping=EarlyStopping(monitor="accuracy", patience=2),
    )
    trainer, history, rows, targets = overtrained(training)
    assert history["val_accuracy"].tolist() == pytest.approx([0.7] * 3)
    assert history["val_loss"].is_monotonic_decreasing
    assert watched_loss(trainer, rows, targets) == pytest.approx(history["val_loss"][0], rel=1e-5)
