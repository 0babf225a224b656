"""Where the model looks for the top class of each photo."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.common.heatmaps import HeatMaps, last_convolution, map_layers, one_hot
from stages.common.overlays import overlay
from stages.common.pictures import save_photo
from stages.common.quiet_tensorflow import keras
from stages.predict.classifier import Classifier
from stages.predict.inputs import Photo

_LONGEST_STEM = 50
"""Characters, of up to four bytes each: file systems allow 255 bytes for the whole name."""


class Explainer:
    """Draws heat maps into a folder.

    Args:
        classifier: Whose predictions to explain.
        folder: Made if it does not exist.
    """

    def __init__(self, classifier: Classifier, folder: Path):
        model, logits = with_logits(classifier.model)
        self._maps = HeatMaps(model, _layers(classifier), [classifier.method], logits)
        self._method, self._outputs = classifier.method, model.outputs[0].shape[1]
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, photos: Sequence[Photo], codes: np.ndarray) -> list[str]:
        """Draw each photo and, beside it, the photo under its heat map.

        Args:
            photos: n of them.
            codes: int (n,), which class to explain.

        Returns:
            The path of each picture. Its name holds the id of the photo, so photos of one name
            do not overwrite each other.
        """
        images = np.stack([photo.image for photo in photos])
        heats = self._maps(images, one_hot(codes, self._outputs))[self._method]
        files = []
        for photo, heat in zip(photos, heats, strict=True):
            file = self._folder / f"{Path(photo.path).stem[:_LONGEST_STEM]}-{photo.id}.jpg"
            save_photo(overlay(photo.image, heat), file)
            files.append(str(file))
        return files


def with_logits(model: keras.Model) -> tuple[keras.Model, str]:
    """The same model, and which layer gives the scores (n, classes) before its last activation.

    What the pipeline trains has a layer `logits`. Networks of keras.applications end in a softmax:
    inside their last dense layer, which is divided here, or as a layer of its own.
    """
    last = model.layers[-1]
    if any(one.name == "logits" and len(one.output.shape) == 2 for one in model.layers):
        return model, "logits"
    if not isinstance(last, keras.layers.Dense):
        return model, next(one.name for one in model.layers if one.output is last.input)
    config = {**last.get_config(), "activation": "linear", "name": "logits"}
    dense = keras.layers.Dense.from_config(config)
    logits = dense(last.input)
    dense.set_weights(last.get_weights())
    predictions = keras.layers.Activation(last.activation, name="predictions")(logits)
    return keras.Model(model.inputs[0], predictions), "logits"


def _layers(classifier: Classifier) -> list[str]:
    """The layers that params name; else the last one with a map of more than one place."""
    if classifier.layer != "auto":
        return [classifier.layer] if isinstance(classifier.layer, str) else list(classifier.layer)
    model = classifier.model
    maps = [name for name in map_layers(model) if _places(model.get_layer(name)) > 1]
    return maps[-1:] or [last_convolution(model)]


def _places(layer: keras.Layer) -> int:
    return layer.output.shape[1] * layer.output.shape[2]
