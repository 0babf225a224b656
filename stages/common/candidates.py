"""A candidate ready to train: its network, the phases that train it, and its predictions."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.dataset import Dataset
from stages.common.distribution import distribute
from stages.common.encoding import to_predictions
from stages.common.features import Rows, open_rows, predict
from stages.common.keras_files import load, save, save_weights
from stages.common.networks import build_head, join
from stages.common.params import Params, Training
from stages.common.paths import BACKBONES
from stages.common.plans import Plan
from stages.common.quiet_tensorflow import keras
from stages.common.scaling import Scaling
from stages.common.snapshots import History, Resume, finished_epochs
from stages.common.tasks import output_count
from stages.common.training import Examples, Trainer

HEAD, ALL = "head", "all"


@dataclass(frozen=True)
class Phase:
    """A part of the training: the head alone, or all that is behind the cut."""

    name: str
    trainer: Trainer
    epochs: int


class Candidate:
    """A candidate that can be trained again and again, each time from the same start.

    Args:
        params: All params.
        name: Of the candidate.
        dataset: All images.
        plan: Of the candidate.
        with_backbone: Whether to build the whole network, from the image on. A head alone trains
            to the same weights without.

    Attributes:
        training: The params of the candidate.
        phases: In their order.
        whole: From the image to the predictions, or None without the backbone.
        trainable_before: Of each layer of the backbone, whether it was trainable as it came.
        rest: From the cut to the predictions; shares the layers of `whole`.
        head: From the pooled features to the predictions; shares the layers of `rest`.
        rows: What lies at the cut for each image.
    """

    def __init__(
        self, params: Params, name: str, dataset: Dataset, plan: Plan, with_backbone: bool
    ):
        self.training = training = params.candidate(name)
        self._dataset = dataset
        self.rows = open_rows(plan.at_cut, dataset.manifest, plan.rescale)
        self._replicas = distribute(training.distribution)
        with self._replicas.scope():
            self._build(params, plan, with_backbone)
        self._start = [(one, one.numpy()) for one in self.rest.variables]

    def _build(self, params: Params, plan: Plan, with_backbone: bool) -> None:
        training, dataset = self.training, self._dataset
        fit = training.fit(dataset.task, dataset.encoder)
        outputs = output_count(dataset.task, fit.activation, len(dataset.classes))
        if plan.features.strategy == "head" and not with_backbone:
            self.whole, self.trainable_before = None, {}
            self.rest = self.head = build_head(
                self.rows.shape[0], training, fit.activation, outputs
            )
        else:
            pretrained = params.backbones[plan.features.backbone].weights != "none"
            backbone = load(BACKBONES / f"{plan.features.backbone}.keras")
            self.trainable_before = {one.name: one.trainable for one in backbone.layers}
            self.whole, self.rest, self.head = join(
                backbone, plan.features, pretrained, training, fit.activation, outputs
            )
        self.phases = self._phases(fit.loss, plan)

    def fit(
        self,
        train: np.ndarray,
        validation: np.ndarray | None = None,
        resume: Path | None = None,
        checkpoints: Path | None = None,
        report: Callable[[Phase, dict[str, float]], None] = lambda phase, logs: None,
    ) -> pd.DataFrame:
        """Train from the start.

        Args:
            train: (m,) positions of the images to train on.
            validation: (k,) positions of the images to watch.
            resume: A file to keep the state in after every epoch, and to go on from.
            checkpoints: A folder for the models of epochs that params want to keep.
            report: Called with the figures of each epoch.

        Returns:
            The history: `epoch` from 1 on, `phase`, the figures of `Trainer.fit`, and `kept`:
            whether the weights of the model are those after this epoch.
        """
        for variable, value in self._start:
            variable.assign(value)
        dataset, scaling = (
            self._dataset,
            Scaling.of(self._dataset.task, self._dataset.targets, train),
        )
        examples = Examples(
            dataset.task,
            dataset.encoder,
            scaling.scaled(dataset.targets),
            class_weights(self.training, dataset, train),
            scaling,
        )
        saved = None if self.whole is None else _Saved(self.whole, scaling)
        kept = self._replicas.share(finished_epochs(resume) if resume is not None else [])
        histories, last = [], 0
        for number, phase in enumerate(self.phases):
            if len(kept) > number + 1:
                histories.append(kept[number])
                continue
            state = [*self.rest.variables, *phase.trainer.model.optimizer.variables]
            history, last = phase.trainer.fit(
                examples,
                train,
                validation,
                resume=self._resume(resume, histories, state),
                saved=saved,
                checkpoints=checkpoints / phase.name if checkpoints is not None else None,
                report=lambda logs, phase=phase: report(phase, logs),
            )
            histories.append(history)
        scaling.fold_into(self.rest.get_layer("logits"))
        return _table(self.phases, histories, last)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """What it says of the originals of some images, as `to_predictions` gives it."""
        outputs = predict(self.phases[-1].trainer.infer, self.rows, images)
        return to_predictions(outputs, self._dataset.task)

    def _phases(self, loss: str, plan: Plan) -> list[Phase]:
        training, dataset, rest = self.training, self._dataset, self.rest
        columns = dataset.targets.shape[1]

        def trainer(
            model: keras.Model, rows: Rows, training: Training, factor: float = 1
        ) -> Trainer:
            return Trainer(model, rows, columns, training, loss, factor, self._replicas)

        if plan.features.strategy == "head" or training.head_first is None:
            only = trainer(rest, self.rows, training)
            return [Phase(HEAD if self.head is rest else ALL, only, training.epochs)]
        first = training.model_copy(update={"epochs": training.head_first.epochs})
        pooled, factor = open_rows(plan.pooled, dataset.manifest), training.head_first.rate_factor
        return [
            Phase(HEAD, trainer(self.head, pooled, first), first.epochs),
            Phase(ALL, trainer(rest, self.rows, training, factor), training.epochs),
        ]

    def _resume(
        self, path: Path | None, finished: list[History], state: list[keras.Variable]
    ) -> Resume | None:
        return self._replicas.resume(Resume(path, finished, state)) if path is not None else None

    @property
    def trained_parameters(self) -> int:
        """Numbers that training moves."""
        return int(sum(np.prod(one.shape) for one in self.rest.trainable_variables))


def class_weights(training: Training, dataset: Dataset, train: np.ndarray) -> np.ndarray:
    """How much each image counts, float32 (n,).

    `balanced` is n / (classes * images of the class), as in scikit-learn, over the training images.
    """
    weights = np.ones(len(dataset.targets), dtype=np.float32)
    if training.class_weight == "none":
        return weights
    if training.class_weight == "balanced":
        counts = np.bincount(dataset.truth[train], minlength=len(dataset.classes))
        of_class = len(train) / (len(dataset.classes) * np.maximum(counts, 1))
    else:
        of_class = np.array([training.class_weight[name] for name in dataset.classes])
    return of_class[dataset.truth].astype(np.float32)


class _Saved:
    """The whole network for checkpoints: saved byte-stable, and with answers in their units."""

    def __init__(self, whole: keras.Model, scaling: Scaling):
        self._whole, self._scaling = whole, scaling

    def save(self, path: str, overwrite: bool = True) -> None:
        self._save(path, save)

    def save_weights(self, path: str, overwrite: bool = True) -> None:
        self._save(path, save_weights)

    def _save(self, path: str, write: Callable[[keras.Model, str], None]) -> None:
        logits = self._whole.get_layer("logits")
        kept = logits.get_weights()
        self._scaling.fold_into(logits)
        write(self._whole, path)
        logits.set_weights(kept)


def _table(phases: list[Phase], histories: list[History], last: int) -> pd.DataFrame:
    rows = [
        {"phase": phase.name, **logs}
        for phase, history in zip(phases, histories, strict=True)
        for logs in history
    ]
    table = pd.DataFrame(rows)
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    kept = len(table) - len(histories[-1]) + last
    return table.assign(kept=table["epoch"] == kept)
