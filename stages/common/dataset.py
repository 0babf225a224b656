"""What the training stages read: the images, their targets and the network to train."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.common.encoding import truth
from stages.common.paths import CLASSES, MANIFEST, SPLITS, TARGETS
from stages.common.tables import read_json, read_table
from stages.common.tasks import EncoderName, TaskName


@dataclass(frozen=True)
class Dataset:
    """All images in the order of their ids.

    Attributes:
        manifest: Where each image lies, with its `split`.
        targets: (n, columns), what the encoder made; float64 for regression, else int64.
        truth: (n,) code of the class; (n, labels) 1 for each label that applies (multilabel);
            (n,) number (regression).
        folds: int64 (n, repeats), the fold of each image in each repeat; -1 for test images.
        classes: In the order of their codes; none for regression.
        task: What is learned.
        encoder: Which made the targets.
    """

    manifest: pd.DataFrame
    targets: np.ndarray
    truth: np.ndarray
    folds: np.ndarray
    classes: list[str]
    task: TaskName
    encoder: EncoderName

    def side(self, name: str) -> np.ndarray:
        """Positions of the images of train, validation or test."""
        return np.flatnonzero(self.manifest["split"] == name)


def read_dataset() -> Dataset:
    """Read the tables of `ingest`, `encode` and `split`."""
    manifest = read_table(MANIFEST).merge(read_table(SPLITS), on="id", validate="one_to_one")
    folds = manifest[[name for name in manifest if name.startswith("fold")]].to_numpy()
    targets = read_table(TARGETS).drop(columns="id").to_numpy()
    facts = read_json(CLASSES)
    task, encoder = facts["task"], facts["encoder"]
    if task == "regression":
        targets = targets.astype(np.float64)
    return Dataset(
        manifest, targets, truth(targets, task, encoder), folds, facts["classes"], task, encoder
    )
