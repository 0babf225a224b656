"""Training what lies behind the cut, on rows that the frozen part gave once.

The steps of a whole chunk of batches run inside TensorFlow, in one call: for small networks the
calls of a step by step loop, and not the arithmetic, would take most of the time. Callbacks are
Keras's own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.common.callbacks import Idle, build_callbacks, replay
from stages.common.distribution import Replicas, bounds, copies
from stages.common.encoding import to_predictions, truth
from stages.common.errors import InputError
from stages.common.features import Rows
from stages.common.optimizers import build_optimizer
from stages.common.params import Training
from stages.common.quiet_tensorflow import keras, tf
from stages.common.randomness import generator
from stages.common.scaling import Scaling
from stages.common.schedules import learning_rates
from stages.common.scores import scores
from stages.common.snapshots import History, Resume
from stages.common.whole_batch import whole_batch

_CHUNK_BYTES = 2**24
_WATCHED_AT_ONCE = 256
_AS_THEY_ARE = Scaling()
_ALONE = Replicas(None)
_LOSSES = {
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "mean_squared_error": keras.losses.MeanSquaredError,
    "mean_absolute_error": keras.losses.MeanAbsoluteError,
}


@dataclass(frozen=True)
class Examples:
    """What there is to learn from, of all images.

    Attributes:
        task: Name of the task.
        encoder: Which made the targets.
        targets: (n, columns), as the loss wants them.
        weights: float32 (n,) how much each image counts in the loss of training.
        scaling: Of the targets; scores are in their units.
    """

    task: str
    encoder: str
    targets: np.ndarray
    weights: np.ndarray
    scaling: Scaling = _AS_THEY_ARE


class Batches:
    """Batches of some images, in another order and other variants each epoch.

    Args:
        rows: The arrays of all images.
        examples: Targets and weights of all images.
        images: (m,) positions of the images to show.
        batch_size: Images in a batch; the last of an epoch may have fewer.
        seed: Decides order and variants, together with the epoch alone.
        replicas: Tell which rows of each batch are read in this process.
    """

    def __init__(
        self,
        rows: Rows,
        examples: Examples,
        images: np.ndarray,
        batch_size: int,
        seed: int,
        replicas: Replicas = _ALONE,
    ):
        self._rows, self._examples, self._images = rows, examples, images
        self._batch_size, self._seed, self._replicas = batch_size, seed, replicas

    def __len__(self) -> int:
        return -(-len(self._images) // self._batch_size)

    def epoch(self, number: int, at_once: int) -> Iterator[tuple[np.ndarray, ...]]:
        """The batches of one epoch, as chunks of at most `at_once` batches of one size.

        Yields:
            Positions (steps, batch), and of what this process reads of each batch: rows
            (steps, read, ...), targets (steps, read, columns) and weights (steps, read).
        """
        random = generator(self._seed, "epoch", number)
        order = random.permutation(self._images)
        variants = random.integers(0, self._rows.variants, len(order))
        full = len(order) // self._batch_size * self._batch_size
        chunk = at_once * self._batch_size
        for start in range(0, full, chunk):
            end = min(start + chunk, full)
            yield self._chunk(order[start:end], variants[start:end], self._batch_size)
        if full < len(order):
            yield self._chunk(order[full:], variants[full:], len(order) - full)

    def _chunk(self, images: np.ndarray, variants: np.ndarray, batch: int) -> tuple:
        images, variants = images.reshape(-1, batch), variants.reshape(-1, batch)
        local = self._replicas.local(batch)
        read = images[:, local]
        rows = self._rows.take(read.ravel(), variants[:, local].ravel())
        return (
            images,
            rows.reshape(*read.shape, *rows.shape[1:]),
            self._examples.targets[read].astype(np.float32),
            self._examples.weights[read],
        )


class Trainer:
    """Trains a network through one phase, as often as wanted, each time with a fresh optimizer.

    Args:
        model: What is trained. Its weights are left as the last fit made them.
        rows: What it is shown.
        columns: Of the targets.
        training: The params; `epochs` are those of this phase.
        loss: Name of the Keras loss.
        factor: On the learning rate.
        replicas: Which share the batches; `model` was made in their scope.
    """

    def __init__(
        self,
        model: keras.Model,
        rows: Rows,
        columns: int,
        training: Training,
        loss: str,
        factor: float = 1.0,
        replicas: Replicas = _ALONE,
    ):
        self.model, self._rows, self._training, self._factor = model, rows, training, factor
        self._replicas = replicas
        smoothing = (
            {"label_smoothing": training.label_smoothing} if training.label_smoothing else {}
        )
        self._loss = _LOSSES[loss](**smoothing)
        self._summed_loss = _LOSSES[loss](**smoothing, reduction="sum")
        with replicas.scope():
            model.compile(build_optimizer(training.optimizer), self._loss)
            model.optimizer.build(model.trainable_variables)
        self._fresh = [(one, one.numpy()) for one in model.optimizer.variables]
        shown = tf.TensorSpec((None, *rows.shape), tf.as_dtype(rows.dtype))
        self.infer = tf.function(lambda batch: model(batch, training=False), [shown])
        # One signature for all sizes of chunk and batch, so that they are compiled once.
        batches = [
            tf.TensorSpec((None, *shown.shape), shown.dtype),
            tf.TensorSpec((None, None, columns), tf.float32),
            tf.TensorSpec((None, None), tf.float32),
            tf.TensorSpec((None,), tf.float32),
        ]
        if replicas.strategy is None:
            self._train = tf.function(self._steps, batches)
        else:
            # The gradients are those of the whole batch already, so that they can be clipped.
            model.optimizer._all_reduce_sum_gradients = list
            size = tf.TensorSpec((), tf.int32)
            self._train = tf.function(self._divided_steps, [*batches, size])
        self._judge = tf.function(self._judged, [shown, tf.TensorSpec((None, columns), tf.float32)])

    def fit(
        self,
        examples: Examples,
        train: np.ndarray,
        validation: np.ndarray | None = None,
        *,
        resume: Resume | None = None,
        saved: keras.Model | None = None,
        checkpoints: Path | None = None,
        report: Callable[[dict[str, float]], None] = lambda logs: None,
    ) -> tuple[History, int]:
        """Train from where the weights are.

        Args:
            examples: Targets and weights of all images.
            train: (m,) positions of the images to train on.
            validation: (k,) positions of the images to watch.
            resume: Where to keep the state after each epoch, and to go on from.
            saved: The model that checkpoints are made of.
            checkpoints: The folder for them.
            report: Called with the figures of each epoch.

        Returns:
            The figures of each epoch (`loss`, the metrics, the same of the watched images with
            `val_` in front, and `learning_rate`, that of the last step), and how many epochs lie
            behind the weights that were kept.

        Raises:
            InputError: The loss is no number any more.
        """
        training, model = self._training, self.model
        for variable, value in self._fresh:
            variable.assign(value)
        batches = Batches(
            self._rows, examples, train, training.batch_size, training.seed, self._replicas
        )
        rates = learning_rates(training, self._factor, len(batches))
        callbacks = build_callbacks(training, examples.task, validation is not None, checkpoints)
        history = self._begin(callbacks, saved, resume, rates[0], len(batches))
        for epoch in range(len(history), training.epochs):
            if model.stop_training:
                break
            for callback in callbacks:
                callback.on_epoch_begin(epoch)
            logs = self._epoch(epoch, batches, rates, examples, callbacks)
            if validation is not None:
                logs |= self._watch(examples, validation)
            logs["learning_rate"] = float(model.optimizer.learning_rate.numpy())
            # Last bits may differ from machine to machine; what callbacks decide must not.
            logs = self._replicas.share(logs)
            history.append(dict(logs))
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs)
            report(history[-1])
            if resume is not None:
                resume.save(history, _best_weights(callbacks))
        for callback in callbacks:
            callback.on_train_end()
        return history, _kept_epochs(callbacks, len(history))

    def _begin(
        self,
        callbacks: list[keras.callbacks.Callback],
        saved: keras.Model | None,
        resume: Resume | None,
        rate: float,
        steps: int,
    ) -> History:
        """Start the callbacks and, after a kill, put everything back; the history so far."""
        kept = resume.load() if resume is not None else None
        history, best = kept if kept is not None else ([], None)
        idle = Idle(rate)
        for callback in callbacks:
            callback.set_model(idle)
            callback.on_train_begin()
        replay(callbacks, history, steps)
        self.model.stop_training = idle.stop_training
        for callback in callbacks:
            checkpoints = isinstance(callback, keras.callbacks.ModelCheckpoint)
            callback.set_model(saved if checkpoints and saved is not None else self.model)
            if best is not None and hasattr(callback, "best_weights"):
                callback.best_weights = best
        if not history:
            self.model.optimizer.learning_rate = rate
        return history

    def _epoch(
        self,
        epoch: int,
        batches: Batches,
        rates: np.ndarray,
        examples: Examples,
        callbacks: list[keras.callbacks.Callback],
    ) -> dict[str, float]:
        checkpoint = self._training.checkpoint
        by_step = checkpoint is not None and checkpoint.save_freq != "epoch"
        row_bytes = int(np.prod(self._rows.shape)) * np.dtype(self._rows.dtype).itemsize
        at_once = 1 if by_step else max(1, _CHUNK_BYTES // (row_bytes * self._training.batch_size))
        done, losses, outputs, shown = 0, [], [], []
        for images, rows, targets, weights in batches.epoch(epoch, at_once):
            count, first = len(images), epoch * len(batches) + done
            chunk = self._rates(rates[first : first + count])
            size = () if self._replicas.strategy is None else (images.shape[1],)
            loss, output = self._train(rows, targets, weights, chunk, *size)
            losses.append((loss.numpy() * images.shape[1]).sum())
            outputs.append(output.numpy().reshape(images.size, -1))
            shown.append(images.ravel())
            done += count
            for callback in callbacks:
                callback.on_train_batch_end(done - 1, {})
        shown = np.concatenate(shown)
        loss = float(sum(losses) / len(shown))
        if not np.isfinite(loss):
            raise InputError(
                "training.optimizer.learning_rate: expected a rate that keeps the loss a number, "
                f"received {self._training.optimizer.learning_rate}; lower it"
            )
        return {"loss": loss, **self._metrics(examples, shown, np.concatenate(outputs))}

    def _rates(self, planned: np.ndarray) -> np.ndarray:
        """The rates of a chunk: as planned, or what a callback has set since."""
        if self._training.reduce_on_plateau is not None:
            planned = np.full(len(planned), float(self.model.optimizer.learning_rate.numpy()))
        return planned.astype(np.float32)

    def _steps(
        self, rows: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, rates: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One step for each batch of a chunk; the loss and the outputs of each before it."""
        model, count = self.model, tf.shape(rows)[0]
        losses = tf.TensorArray(tf.float32, count)
        outputs = tf.TensorArray(tf.float32, count)
        for step in tf.range(count):
            with tf.GradientTape() as tape:
                output = model(rows[step], training=True)
                loss = self._loss(targets[step], output, sample_weight=weights[step])
                loss = tf.add_n([loss, *model.losses])
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.learning_rate = rates[step]
            model.optimizer.apply(gradients, model.trainable_variables)
            losses = losses.write(step, loss)
            outputs = outputs.write(step, output)
        return losses.stack(), outputs.stack()

    def _divided_steps(
        self,
        rows: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        rates: tf.Tensor,
        size: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As `_steps`, each batch of `size` divided over the replicas."""
        strategy, count = self._replicas.strategy, tf.shape(rows)[0]
        losses = tf.TensorArray(tf.float32, count)
        outputs = tf.TensorArray(tf.float32, count)
        for step in tf.range(count):
            self.model.optimizer.learning_rate = rates[step]
            shares = [self._share(one[step], size) for one in (rows, targets, weights)]
            with whole_batch(self.model, size):
                results = strategy.run(self._share_of_step, (*shares, size))
            loss, output = (strategy.experimental_local_results(one)[0] for one in results)
            losses = losses.write(step, loss)
            outputs = outputs.write(step, output)
        return losses.stack(), outputs.stack()

    def _share(self, batch: tf.Tensor, size: tf.Tensor) -> tf.distribute.DistributedValues:
        """For each replica here its share of what this process has of a batch."""
        read = self._replicas.local(size).start

        def of_replica(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
            start, end = bounds(size, context.replica_id_in_sync_group, self._replicas.count)
            return batch[start - read : end - read]

        strategy = self._replicas.strategy
        return strategy.experimental_distribute_values_from_function(of_replica)

    def _share_of_step(
        self, rows: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, size: tf.Tensor
    ) -> list[tf.Tensor]:
        """One step of one replica; the loss and the outputs of the whole batch before it."""
        model, count = self.model, self._replicas.count
        replica, times = tf.distribute.get_replica_context(), copies(size, count)
        with tf.GradientTape() as tape:
            output = model(rows, training=True)
            loss = self._summed_loss(targets, output, sample_weight=weights)
            penalties = [one / count for one in model.losses]
            loss = tf.add_n([loss / tf.cast(size * times, loss.dtype), *penalties])
        gradients = tape.gradient(loss, model.trainable_variables)
        start, end = bounds(size, replica.replica_id_in_sync_group, count)
        outputs = tf.pad(output / tf.cast(times, output.dtype), [[start, size - end], [0, 0]])
        loss, outputs, *gradients = replica.all_reduce("SUM", [loss, outputs, *gradients])
        model.optimizer.apply(gradients, model.trainable_variables)
        return [loss, outputs]

    def _watch(self, examples: Examples, images: np.ndarray) -> dict[str, float]:
        outputs, loss = [], 0.0
        for start in range(0, len(images), _WATCHED_AT_ONCE):
            batch = images[start : start + _WATCHED_AT_ONCE]
            targets = examples.targets[batch].astype(np.float32)
            output, mean = self._judge(self._rows.take(batch), targets)
            outputs.append(output.numpy())
            loss += float(mean) * len(batch) / len(images)
        logs = {"loss": loss, **self._metrics(examples, images, np.concatenate(outputs))}
        return {f"val_{name}": value for name, value in logs.items()}

    def _judged(self, rows: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The outputs for one batch and their loss, at inference.

        In one graph with the last activation, Keras takes the loss from the logits, as in training;
        from the probabilities alone it would end at 16, however wrong they are.
        """
        output = self.model(rows, training=False)
        return output, tf.add_n([self._loss(targets, output), *self.model.losses])

    def _metrics(
        self, examples: Examples, images: np.ndarray, outputs: np.ndarray
    ) -> dict[str, float]:
        task, unscaled = examples.task, examples.scaling.unscaled
        found = scores(
            task,
            truth(unscaled(examples.targets[images]), task, examples.encoder),
            to_predictions(unscaled(outputs), task),
        )
        return {name: found[name] for name in self._training.metric_names(examples.task)}


def _best_weights(callbacks: list[keras.callbacks.Callback]) -> list[np.ndarray] | None:
    """Those that an early stopping would go back to."""
    return next(filter(None, (getattr(one, "best_weights", None) for one in callbacks)), None)


def _kept_epochs(callbacks: list[keras.callbacks.Callback], done: int) -> int:
    """After which epoch the weights were as they are now."""
    stoppers = [one for one in callbacks if getattr(one, "best_weights", None)]
    return stoppers[0].best_epoch + 1 if stoppers else done
