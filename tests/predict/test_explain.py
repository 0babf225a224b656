"""The heat maps of predictions: whether they lie where the model looks."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from stages.common.backbones import build
from stages.common.errors import InputError
from stages.common.params import HEAT_MAPS, Ingest
from stages.predict.classifier import Classifier
from stages.predict.explain import Explainer, with_logits
from stages.predict.inputs import Photo

from .test_predict import COLORS, colour_model, predict, project, set_params, set_task  # noqa: F401

CORNERS = {"top left": (0, 0), "bottom right": (24, 32)}


def draw_spot(path: str, color: tuple[int, int, int], corner: tuple[int, int]) -> str:
    """A photo of 32 x 48 pixels, black but for a spot of 8 x 16."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    top, left = corner
    pixels[top : top + 8, left : left + 16] = color
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def heated(path: str) -> np.ndarray:
    """How much each pixel of the photo is changed by its heat map, (192, 288)."""
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (576, 192))
        pair = np.asarray(picture).astype(float)
    return np.abs(pair[:, 288:] - pair[:, :288]).sum(axis=2)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("color", COLORS)
def test_the_heat_lies_where_the_model_looks(project, capsys, corner, color):  # noqa: F811
    photo = draw_spot("a.png", COLORS[color], CORNERS[corner])
    assert predict(photo, "--format", "json", "--explain", "maps") == 0
    [facts] = json.loads(capsys.readouterr().out)
    assert facts["predictions"][0]["class"] == color
    assert Path(facts["overlay"]).parent == Path("maps")
    change = heated(facts["overlay"])
    top, left = (6 * place for place in CORNERS[corner])
    assert change[top : top + 48, left : left + 96].mean() > 100
    # A place of the map is 12 pixels wide, and JPEG blurs colours over 16, across the seam too.
    change[:, :16] = 0
    change[max(0, top - 24) : top + 72, max(0, left - 24) : left + 120] = 0
    assert change.max() < 30


@pytest.mark.parametrize("method", HEAT_MAPS)
def test_the_method_and_the_layers_that_params_name(project, capsys, method):  # noqa: F811
    set_params(ingest={"size": [16, 24]}, gradcam={"method": method, "layer": ["conv"]})
    photo = draw_spot("a.png", COLORS["red"], CORNERS["bottom right"])
    predict(photo, "--format", "json", "--explain")
    [facts] = json.loads(capsys.readouterr().out)
    change = heated(facts["overlay"])
    assert change[144:, 192:].mean() > 100 > 10 > change[:96, 16:].mean()


def test_several_layers_are_combined(tmp_path):
    model = colour_model()
    image = np.zeros((16, 24, 3), np.uint8)
    image[12:, 16:] = 255
    files = []
    for layer in ["conv", ["conv"], ["conv", "conv"]]:
        classifier = Classifier(model, "multiclass", [*COLORS], Ingest(size=(16, 24)), layer)
        explainer = Explainer(classifier, tmp_path / str(len(files)))
        files += explainer([Photo("a.png", "0" * 16, image)], np.array([0]))
    assert len({Path(file).read_bytes() for file in files}) == 1


def test_a_method_that_does_not_fit_the_model_is_refused(project):  # noqa: F811
    x = colour_model()
    hidden = keras.layers.Dense(3, name="hidden")(x.get_layer("pooling").output)
    scores = keras.layers.Dense(3, name="logits")(hidden)
    model = keras.Model(x.input, keras.layers.Activation("softmax", name="predictions")(scores))
    set_params(ingest={"size": [16, 24]}, gradcam={"method": "cam"})
    set_task("multiclass", "label", list(COLORS), model)
    with pytest.raises(InputError, match="behind conv, found hidden; take gradcam"):
        predict(draw_spot("a.png", COLORS["red"], (0, 0)), "--explain")


def test_the_default_folder_and_photos_of_one_name(project, capsys):  # noqa: F811
    for number, (color, corner) in enumerate(zip(COLORS, [*CORNERS.values()] * 2, strict=False)):
        draw_spot(f"photos/{number}/same name.png", COLORS[color], corner)
    Path("photos/broken.png").write_text("no photo")
    assert predict("photos", "--explain") == 1
    files = sorted(path.name for path in Path("explained").iterdir())
    assert len(files) == 3
    assert all(name.startswith("same name-") and name.endswith(".jpg") for name in files)


def test_a_name_as_long_as_can_be(project):  # noqa: F811
    photo = draw_spot("写" * 80 + ".png", COLORS["red"], (0, 0))
    assert predict(photo, "--explain") == 0
    assert len(list(Path("explained").iterdir())) == 1


def test_what_raises_a_number_is_explained(project, capsys):  # noqa: F811
    model = colour_model("linear", outputs=1)
    set_task("regression", "none", [], model)
    photo = draw_spot("a.png", COLORS["red"], (0, 0))
    predict(photo, "--format", "json", "--explain")
    [facts] = json.loads(capsys.readouterr().out)
    change = heated(facts["overlay"])
    assert change[:48, :96].mean() > 100 > 1 > change[96:].mean()


# Softmax in the last dense layer; as a layer of its own; the same with a convolution `logits`.
@pytest.mark.parametrize("network", ["MobileNetV2", "MobileNet", "MobileNetV3Small"])
def test_an_imagenet_classifier_is_explained_by_its_scores(network, tmp_path):
    model = build(network, "none", (96, 96, 3), include_top=True)
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    same, logits = with_logits(model)
    scores = keras.Model(same.input, same.get_layer(logits).output)(images).numpy()
    assert scores.shape == (2, 1000)
    probabilities = model(images).numpy()
    np.testing.assert_allclose(same(images), probabilities, rtol=1e-5)
    np.testing.assert_allclose(keras.ops.softmax(scores), probabilities, rtol=1e-4)

    explainer = Explainer(
        Classifier(model, "multiclass", [], Ingest(size=96)), tmp_path / "new" / "maps"
    )
    photos = [Photo(f"{number}.png", f"{number:016x}", images[number]) for number in range(2)]
    for file in explainer(photos, np.array([3, 5])):
        with Image.open(file) as picture:
            assert picture.size == (384, 192)
