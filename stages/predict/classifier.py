"""A model with all that is needed to ask it about photos."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.common.backbones import build
from stages.common.encoding import to_predictions
from stages.common.errors import InputError
from stages.common.keras_files import load
from stages.common.params import Augment, Ingest, Params
from stages.common.paths import CLASSES
from stages.common.photos import develop, open_image
from stages.common.quiet_tensorflow import keras
from stages.common.tables import read_json
from stages.common.warp import vary
from stages.predict import imagenet


@dataclass(frozen=True)
class Classifier:
    """A model, and how photos come in and predictions out.

    Attributes:
        model: From uint8 images to the outputs of the task.
        task: binary, multiclass, multilabel or regression.
        classes: In the order of their codes; none for regression.
        ingest: How photos are developed.
        layer: Of the heat maps, or several, or auto.
        method: Of the heat maps.
        augment: With options, predictions are the mean over each image and its variants.
    """

    model: keras.Model
    task: str
    classes: Sequence[str]
    ingest: Ingest
    layer: str | Sequence[str] = "auto"
    method: str = "gradcam"
    augment: Augment | None = None

    def develop(self, content: bytes) -> np.ndarray:
        """The image that the model is to see, from the bytes of a photo, as `ingest` makes it.

        Raises:
            Unusable: They are no usable photo.
        """
        ingest = self.ingest
        photo = open_image(content, ingest.background, ingest.limits.megapixels, ingest.min_side)
        return develop(photo, ingest.size, ingest.color, ingest.fit)

    def predict(self, images: np.ndarray, ids: Sequence[str]) -> np.ndarray:
        """Probabilities, or the values of a regression.

        Args:
            images: uint8 (n, height, width, channels).
            ids: Of the n images; they decide what their variants are.

        Returns:
            (n, classes), for a regression (n,).

        Raises:
            InputError: The model gives something that is no number.
        """
        predictions = self._predict(images)
        if self.augment is not None:
            numbers = range(1, self.augment.variants + 1)
            variants = (self._variants(images, ids, number) for number in numbers)
            predictions = predictions + sum(self._predict(one) for one in variants)
            predictions = predictions / (1 + self.augment.variants)
        if not np.isfinite(predictions).all():
            raise InputError("the model predicts what is no number; train it again")
        return predictions

    def _predict(self, images: np.ndarray) -> np.ndarray:
        return to_predictions(self.model.predict_on_batch(images), self.task)

    def _variants(self, images: np.ndarray, ids: Sequence[str], number: int) -> np.ndarray:
        varied = [
            vary(image, one, number, self.augment) for image, one in zip(images, ids, strict=True)
        ]
        return np.stack(varied)


def load_trained(path: Path, params: Params) -> Classifier:
    """The model that the pipeline made.

    Raises:
        InputError: Model, classes and params are missing or do not fit each other.
    """
    facts = read_json(CLASSES)
    model = load(path)
    _check(model, path, params.ingest.image_shape, facts["task"], facts["classes"])
    augmented = params.evaluate.test_time_augmentation and params.augment.variants > 0
    return Classifier(
        model,
        facts["task"],
        facts["classes"],
        params.ingest,
        params.gradcam.layer,
        params.gradcam.method,
        params.augment if augmented else None,
    )


def _check(
    model: keras.Model, path: Path, shape: tuple[int, int, int], task: str, classes: Sequence[str]
) -> None:
    inputs = [tuple(one.shape[1:]) for one in model.inputs]
    if inputs != [shape]:
        raise InputError(
            f"{path}: expected a model of images {shape}, as ingest.size and ingest.color in "
            f"params.yaml say, received one of {inputs}; run dvc repro"
        )
    counts = {"regression": {1}, "binary": {1, 2}}.get(task, {len(classes)})
    outputs = [one.shape[1] for one in model.outputs]
    if len(outputs) != 1 or outputs[0] not in counts:
        raise InputError(
            f"{path}: expected a model with {' or '.join(map(str, sorted(counts)))} outputs for "
            f"the task {task} in {CLASSES}, received one with {outputs}; run dvc repro"
        )


def load_pretrained(network: str, weights: str | None, size: int | None) -> Classifier:
    """An ImageNet classifier as its authors trained it.

    Args:
        network: EfficientNetLite0 or a network of keras.applications.
        weights: A file, or None for those that the network's authors give.
        size: Height and width of the images, pixels; None for what it was trained for.

    Raises:
        InputError: The network is unknown, or its weights cannot be had or do not fit.
    """
    size = size or imagenet.input_size(network)
    with redirect_stdout(sys.stderr):  # Keras tells of downloads on standard output
        model = build(network, weights or "imagenet", (size, size, 3), include_top=True)
    # These networks were tested on the middle of each photo.
    ingest = Ingest(size=size, color="rgb", fit="crop")
    return Classifier(model, "multiclass", imagenet.class_names(), ingest)
