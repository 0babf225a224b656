"""What the training stages read: the images, their targets and the network to train."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.common.encoding import codes
from stages.common.paths import CLASSES, MANIFEST, SPLITS, TARGETS
from stages.common.tables import read_json, read_table


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
