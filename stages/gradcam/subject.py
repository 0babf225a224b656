"""Which test images are explained, and what of each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.common.features import Rows, open_images
from stages.common.params import Params
from stages.common.paths import CLASSES, MANIFEST
from stages.common.tables import read_json, read_table
from stages.gradcam.targets import explained, likeliest

_BATCH = 32
"""Photos that are held in memory together."""


@dataclass(frozen=True)
class Subject:
    """What is explained.

    Attributes:
        images: The n explained images, rows of `reports/predictions.csv` numbered from 0.
        photos: Those of all images of the project, explained or not.
        positions: int (n,), where the photo of each explained image stands among `photos`.
        weights: float32 (n, outputs), of the logits in the score that the map of each explains.
        classes: (n,) the class under which each is counted: the most probable one; of numbers
            "all".
    """

    images: pd.DataFrame
    photos: Rows
    positions: np.ndarray
    weights: np.ndarray
    classes: pd.Series

    def batches(self) -> Iterator[slice]:
        """Slices of the explained images, few enough to hold their photos in memory."""
        for start in range(0, len(self.images), _BATCH):
            yield slice(start, start + _BATCH)

    def take(self, batch: slice) -> np.ndarray:
        """The photos of a slice of the explained images, uint8 (m, h, w, c)."""
        return self.photos.take(self.positions[batch])


def choose_subject(predictions: pd.DataFrame, outputs: int, params: Params) -> Subject:
    """The images to explain, and what of each.

    Args:
        predictions: `reports/predictions.csv`.
        outputs: How many logits the model has.
        params: Of which `gradcam` and the separator of labels count.

    Raises:
        InputError: `gradcam.target` names no class.
    """
    encoding, manifest = read_json(CLASSES), read_table(MANIFEST)
    classes, knobs = encoding["classes"], params.gradcam
    images = choose_images(predictions, knobs.images).reset_index(drop=True)
    separator = params.encode.separator if encoding["task"] == "multilabel" else None
    weights = explained(images, classes, knobs.target, outputs, separator)
    positions = pd.Index(manifest["id"]).get_indexer(images["id"])
    counted = [classes[code] for code in likeliest(images, classes)] if classes else "all"
    counted = pd.Series(counted, index=images.index, dtype=object)
    return Subject(images, open_images(manifest), positions, weights, counted)


def choose_images(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most `count` predictions: of classes and labels taken in turn from the right and the wrong
    ones of each, so that rare classes and rare errors are seen, the most confident errors first; of
    numbers the worst ones."""
    if "residual" in predictions:
        order = predictions["residual"].abs().to_numpy()
        return predictions.iloc[np.argsort(-order, kind="stable")[:count]]
    right = predictions["label"] == predictions["predicted"]
    surest = predictions["confidence"].mask(right, 0)
    rank = surest.groupby([predictions["label"], right]).rank("first", ascending=False)
    return predictions.iloc[rank.argsort(kind="stable")[:count]]
