"""Training what lies behind the cut, on rows that the frozen part gave once."""

import numpy as np
import pandas as pd

from stages.common.errors import InputError
from stages.common.features import Rows
from stages.common.params import EarlyStopping, Optimizer, Training
from stages.common.quiet_tensorflow import keras
from stages.common.randomness import generator

_OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "adagrad": keras.optimizers.Adagrad,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
}


_SHOWN_AT_ONCE = 256


class Batches(keras.utils.PyDataset):
    """Batches of some images and their targets.

    Args:
        rows: The arrays of all images.
        targets: (n, columns) of all images.
        images: (m,) positions of the images to show.
        batch_size: Images in a batch; the last of an epoch may have fewer.
        seed: With a seed, each epoch has its own order and shows one variant of each image, the
            original among them. Without, the originals come in the order of `images`.
    """

    def __init__(
        self,
        rows: Rows,
        targets: np.ndarray,
        images: np.ndarray,
        batch_size: int,
        seed: int | None = None,
    ):
        super().__init__()
        self._rows, self._targets, self._images = rows, targets, images
        self._batch_size, self._seed = batch_size, seed
        self._order, self._variants = images, np.zeros(len(images), dtype=np.int64)
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order and the variants of one epoch; they depend on seed and epoch alone."""
        if self._seed is not None:
            random = generator(self._seed, "epoch", epoch)
            self._order = random.permutation(self._images)
            self._variants = random.integers(0, self._rows.variants, len(self._images))

    def __len__(self) -> int:
        return -(-len(self._images) // self._batch_size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        batch = slice(number * self._batch_size, (number + 1) * self._batch_size)
        images = self._order[batch]
        return self._rows.take(images, self._variants[batch]), self._targets[images]


class Trainer:
    """A network that can be trained again and again, each time from the same start.

    Args:
        model: What lies behind the cut, as it is to start.
        training: The params.
        loss: Name of the Keras loss.
    """

    def __init__(self, model: keras.Model, training: Training, loss: str):
        self._model, self._training = model, training
        model.compile(_optimizer(training.optimizer), loss, metrics=["accuracy"])
        model.optimizer.build(model.trainable_variables)
        self._start = [(one, one.numpy()) for one in [*model.variables, *model.optimizer.variables]]

    def fit(
        self,
        rows: Rows,
        targets: np.ndarray,
        train: np.ndarray,
        validation: np.ndarray | None = None,
        verbose: int | str = 0,
    ) -> pd.DataFrame:
        """Train from the start.

        Args:
            rows, targets: Of all images.
            train: (m,) positions of the images to train on.
            validation: (k,) positions of the images to watch; with them, training stops early as
                params say and keeps the weights of the best epoch.
            verbose: As in Keras.

        Returns:
            The history: a row for each epoch, with the columns that Keras names.
        """
        for variable, value in self._start:
            variable.assign(value)
        batches = Batches(rows, targets, train, self._training.batch_size, self._training.seed)
        watched = None
        if validation is not None:
            watched = Batches(rows, targets, validation, _SHOWN_AT_ONCE)
        callbacks = [
            keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, _: batches.start_epoch(epoch)
            )
        ]
        if watched is not None and self._training.early_stopping is not None:
            callbacks.append(_stopper(self._training.early_stopping))
        history = self._model.fit(
            batches,
            epochs=self._training.epochs,
            validation_data=watched,
            callbacks=callbacks,
            verbose=verbose,
            shuffle=False,  # `Batches` does, by seed and epoch alone
        )
        table = pd.DataFrame(history.history)
        if not np.isfinite(table.to_numpy()).all():
            raise InputError(
                "training.optimizer.learning_rate: expected a rate that keeps the loss a number, "
                f"received {self._training.optimizer.learning_rate}; lower it"
            )
        table.insert(0, "epoch", np.arange(1, len(table) + 1))
        return table

    def predict(self, rows: Rows, images: np.ndarray) -> np.ndarray:
        """The outputs (m, outputs) for the originals of some images."""
        starts = range(0, len(images), _SHOWN_AT_ONCE)
        batches = (rows.take(images[start : start + _SHOWN_AT_ONCE]) for start in starts)
        return np.concatenate([self._model.predict_on_batch(batch) for batch in batches])


def _optimizer(params: Optimizer) -> keras.optimizers.Optimizer:
    return _OPTIMIZERS[params.name](learning_rate=params.learning_rate)


def _stopper(params: EarlyStopping) -> keras.callbacks.EarlyStopping:
    return keras.callbacks.EarlyStopping(
        monitor=f"val_{params.monitor}",
        mode="min" if params.monitor == "loss" else "max",
        patience=params.patience,
        restore_best_weights=True,
    )
