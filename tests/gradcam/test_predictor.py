"""The model as a fast function: the same predictions, in ONNX Runtime or without it."""

import keras
import numpy as np

from stages.common.frozen import CannotExport, OnnxNetwork
from stages.gradcam import predictor as module
from stages.gradcam.predictor import predictor

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


def small_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="predictions")(x))


def test_it_predicts_as_the_model_did_when_it_was_made():
    model = small_model()
    expected = model(IMAGES).numpy()
    predict = predictor(model, threads=1)
    assert isinstance(predict, OnnxNetwork)
    model.set_weights([0 * weight for weight in model.get_weights()])
    np.testing.assert_allclose(predict(IMAGES), expected, atol=1e-6)


def test_a_model_that_cannot_be_exported_runs_in_tensorflow_and_the_log_says_so(
    monkeypatch, capsys
):
    def refuse(model: keras.Model, path: object) -> None:
        raise CannotExport("small", "no such operation")

    monkeypatch.setattr(module, "export", refuse)
    model = small_model()
    np.testing.assert_allclose(predictor(model, threads=1)(IMAGES), model(IMAGES), atol=1e-6)
    assert capsys.readouterr().out == (
        "gradcam: 'small' cannot be exported to ONNX (no such operation). Run it in TensorFlow "
        "instead.\n"
    )
