"""What the training stages read: the images, their targets and the network to train."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.common.encoding import codes
from stages.common.features import Rows, open_rows
from stages.common.keras_files import load
from stages.common.networks import join, loss_name, output_count
from stages.common.params import Params
from stages.common.paths import BACKBONES, CLASSES, MANIFEST, SPLITS, TARGETS
from stages.common.quiet_tensorflow import keras
from stages.common.tables import read_json, read_table
from stages.common.training import Trainer


@dataclass(frozen=True)
class Dataset:
    """All images in the order of their ids.

    Attributes:
        manifest: Where each image lies, with its `split` and `fold`.
        targets: (n, columns), what the encoder made.
        truth: (n,) code of the class.
        classes: In the order of their codes.
        encoder: Which made the targets.
    """

    manifest: pd.DataFrame
    targets: np.ndarray
    truth: np.ndarray
    classes: list[str]
    encoder: str

    def side(self, name: str) -> np.ndarray:
        """Positions of the images of train, validation or test."""
        return np.flatnonzero(self.manifest["split"] == name)


def read_dataset() -> Dataset:
    """Read the tables of `ingest`, `encode` and `split`."""
    manifest = read_table(MANIFEST).merge(read_table(SPLITS), on="id", validate="one_to_one")
    targets = read_table(TARGETS).drop(columns="id").to_numpy()
    facts = read_json(CLASSES)
    truth = codes(targets, facts["encoder"])
    return Dataset(manifest, targets, truth, facts["classes"], facts["encoder"])


def set_up(
    params: Params, candidate: str, dataset: Dataset
) -> tuple[Trainer, Rows, keras.Model, keras.Model]:
    """A candidate ready to train.

    Returns:
        The trainer, the rows that it trains on, and the whole network and the part that is
        trained, which share their layers.
    """
    training = params.candidate(candidate)
    features = params.features[training.features]
    backbone = params.backbones[features.backbone]
    keras.utils.set_random_seed(training.seed)
    outputs = output_count(dataset.encoder, len(dataset.classes))
    whole, rest = join(
        load(BACKBONES / f"{features.backbone}.keras"),
        features,
        pretrained=backbone.weights != "none",
        head=training.head,
        outputs=outputs,
    )
    rows = open_rows(
        training.features, features, dataset.manifest, training.augmented, params.augment.rescale
    )
    trainer = Trainer(rest, training, loss_name(training, dataset.encoder, outputs))
    return trainer, rows, whole, rest
