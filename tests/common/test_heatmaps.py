"""Heat maps: equal to what arithmetic says, for any layer, before and after saving."""

import keras
import numpy as np
import pytest

from stages.common import keras_files
from stages.common.backbones import build
from stages.common.errors import InputError
from stages.common.heatmaps import GradCam, last_convolution, map_layers, peak
from stages.common.networks import join
from stages.common.params import Features, Training


def photos(count: int = 3, size: int = 8) -> np.ndarray:
    shape = (count, size, size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def pooled_convolution(outputs: int, kernel: np.ndarray | None = None) -> keras.Model:
    """Return image -> conv -> mean of each map -> logits -> predictions."""
    x = image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(x)
    x = keras.layers.Conv2D(5, 3, activation="relu", padding="same", name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    x = keras.layers.Dense(outputs, name="logits")(x)
    activation = "sigmoid" if outputs == 1 else "softmax"
    model = keras.Model(image, keras.layers.Activation(activation, name="predictions")(x))
    random = np.random.default_rng(1)
    filters = random.normal(size=(3, 3, 3, 5))
    # Each filter sums to 0, so that it answers to differences and the places differ.
    model.get_layer("conv").kernel.assign(filters - filters.mean(axis=(0, 1, 2)))
    logits = model.get_layer("logits")
    if kernel is None:  # each class has something that speaks for it, and against
        kernel = random.permuted(np.tile(np.linspace(-1, 1, 5)[:, None], outputs), axis=0)
    logits.kernel.assign(kernel)
    return model


def joined(backbone: keras.Model, features: Features) -> keras.Model:
    """Return the backbone with a head for two classes."""
    whole, *_ = join(backbone, features, True, Training(), activation="softmax", outputs=2)
    return whole


def maps_of(model: keras.Model, layer: str, images: np.ndarray) -> np.ndarray:
    return np.asarray(keras.Model(model.input, model.get_layer(layer).output)(images))


def test_with_mean_pooling_it_is_the_class_activation_map():
    """Zhou et al. 2016, "Learning deep features for discriminative localization"."""
    model, images = pooled_convolution(outputs=3), photos()
    maps, kernel = maps_of(model, "conv", images), model.get_layer("logits").kernel.numpy()
    for code in range(3):
        activation_map = np.maximum(maps @ kernel[:, code], 0) / (8 * 8)
        assert activation_map.max() > 0
        heats = GradCam(model, "conv")(images, np.full(3, code))
        np.testing.assert_allclose(heats, activation_map, rtol=0, atol=1e-5 * activation_map.max())


def test_a_feature_weighs_what_its_gradient_is_in_the_mean_over_the_places():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", name="conv")(x)
    x = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x))
    model, images = keras.Model(image, x), photos()
    gradient = model.get_layer("logits").kernel.numpy()[:, 1].reshape(8, 8, 5)
    expected = np.maximum(maps_of(model, "conv", images) @ gradient.mean(axis=(0, 1)), 0)
    assert expected.max() > 0
    heats = GradCam(model, "conv")(images, np.ones(3, int))
    np.testing.assert_allclose(heats, expected, rtol=0, atol=1e-5 * expected.max())


def test_each_image_is_explained_for_its_own_class():
    grad_cam, images = GradCam(pooled_convolution(outputs=3), "conv"), photos()
    alone = [grad_cam(images[i : i + 1], np.array([i]))[0] for i in range(3)]
    np.testing.assert_allclose(grad_cam(images, np.arange(3)), alone, atol=1e-7)
    assert not np.allclose(grad_cam(images, np.array([1, 2, 0])), alone)


def test_a_sure_model_has_no_fainter_map():
    # The softmax of logits that far apart is 0 or 1, with a gradient of 0.
    model, images = pooled_convolution(outputs=3), photos()
    before = GradCam(model, "conv")(images, np.zeros(3, int))
    kernel = model.get_layer("logits").kernel
    kernel.assign(1e5 * kernel.numpy())
    sure = GradCam(model, "conv")(images, np.zeros(3, int))
    assert np.isin(model(images), [0, 1]).all()
    np.testing.assert_allclose(sure, 1e5 * before, rtol=1e-4)


def test_one_logit_explains_both_classes_with_opposite_signs():
    model, images = pooled_convolution(outputs=1), photos()
    evidence = maps_of(model, "conv", images) @ model.get_layer("logits").kernel.numpy()[:, 0] / 64
    assert evidence.min() < 0 < evidence.max()
    for code, sign in [(0, -1), (1, 1)]:
        heats = GradCam(model, "conv")(images, np.full(3, code))
        np.testing.assert_allclose(heats, np.maximum(sign * evidence, 0), atol=1e-6)


@pytest.mark.parametrize("rows", [(0, 6), (6, 0)], ids=["top", "bottom"])
@pytest.mark.parametrize("columns", [(0, 6), (6, 0)], ids=["left", "right"])
def test_a_model_that_looks_at_one_corner_has_its_peak_there(rows, columns):
    x = image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(2, 1, kernel_initializer="ones", activation="relu", name="conv")(x)
    x = keras.layers.Cropping2D((rows, columns))(x)
    x = keras.layers.ZeroPadding2D((rows, columns), name="corner")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(2, kernel_initializer="ones", name="logits")(x)
    grad_cam = GradCam(keras.Model(image, x), "corner")
    images = photos(count=5)
    images[:, 3:5, 3:5] = 255  # the brightest place, which this model does not see
    for heat in grad_cam(images, np.zeros(5, int)):
        left, top = peak(heat)
        assert (left > 0.5, top > 0.5) == (columns[0] > 0, rows[0] > 0)
        assert np.count_nonzero(heat) == 2 * 2


def test_the_peak_is_the_centre_of_the_hottest_place_from_left_and_top():
    heat = np.zeros((2, 5), dtype="float32")
    heat[1, 3] = 2
    assert peak(heat) == (0.7, 0.75)


def test_a_map_that_is_zero_everywhere_stays_zero():
    model = pooled_convolution(outputs=2, kernel=np.full((5, 2), [-1.0, 1.0]))
    heats = GradCam(model, "conv")(photos(), np.zeros(3, int))
    np.testing.assert_array_equal(heats, np.zeros((3, 8, 8)))
    assert [peak(heat) for heat in heats] == [(0.5, 0.5)] * 3
    assert GradCam(model, "conv")(photos(), np.ones(3, int)).max() > 0


def test_a_layer_inside_a_branch_is_explained():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(x)
    x = stem = keras.layers.Conv2D(4, 3, padding="same", name="stem")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", name="branch")(x)
    x = keras.layers.Add(name="sum")([x, stem])
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(2, name="logits")(x)
    model, images = keras.Model(image, x), photos()
    # The sum passes its gradient to each branch as it is.
    kernel = model.get_layer("logits").kernel.numpy()[:, 1]
    expected = np.maximum(maps_of(model, "branch", images) @ kernel / 64, 0)
    assert expected.max() > 0
    heats = GradCam(model, "branch")(images, np.ones(3, int))
    np.testing.assert_allclose(heats, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("strategy", "layer"), [("head", "top_activation"), ("full", "block5c_add")]
)
def test_the_same_before_and_after_saving_whatever_was_frozen(strategy, layer, tmp_path):
    backbone = build("EfficientNetLite0", "none", (64, 64, 3))
    features = Features(backbone="any", strategy=strategy)
    model = joined(backbone, features)
    logits = model.get_layer("logits")
    logits.kernel.assign(np.random.default_rng(2).normal(size=logits.kernel.shape))
    keras_files.save(model, tmp_path / "model.keras")
    saved = keras_files.load(tmp_path / "model.keras")
    images = photos(count=4, size=64)
    heats = [GradCam(one, layer)(images, np.array([0, 1, 0, 1])) for one in (model, saved)]
    assert heats[0].max() > 0
    np.testing.assert_array_equal(heats[0], heats[1])


def test_explaining_changes_nothing_in_the_model():
    backbone = build("EfficientNetLite0", "none", (32, 32, 3))
    model = joined(backbone, Features(backbone="any"))
    trainable = [layer.trainable for layer in model.layers]
    weights = model.get_weights()
    GradCam(model, "top_activation")(photos(size=32), np.zeros(3, int))
    assert [layer.trainable for layer in model.layers] == trainable
    for one, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, before)


def test_the_last_map_before_the_pooling_is_the_default():
    assert last_convolution(pooled_convolution(outputs=2)) == "conv"
    backbone = build("EfficientNetLite0", "none", (32, 32, 3))
    early = Features(backbone="any", layers=["block3a_expand_activation"])
    model = joined(backbone, early)
    assert last_convolution(model) == "block3a_expand_activation"


def test_the_first_layer_that_is_offered_can_be_explained():
    # EfficientNetB0 standardises its input in a layer that has weights, though none to train.
    backbone = build("EfficientNetB0", "none", (32, 32, 3))
    model = joined(backbone, Features(backbone="any"))
    offered = map_layers(model)
    heats = GradCam(model, offered[0])(photos(size=32), np.zeros(3, int))
    assert heats.shape == (3, *model.get_layer(offered[0]).output.shape[1:3])


def test_an_unknown_layer_is_one_line_with_the_nearest_name():
    with pytest.raises(InputError, match="'cnov', did you mean 'conv'") as refusal:
        GradCam(pooled_convolution(outputs=2), "cnov")
    assert str(refusal.value).startswith("gradcam.layer: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("layer", ["preprocess", "pooling", "logits"])
def test_a_layer_without_a_map_of_places_is_refused(layer):
    with pytest.raises(InputError, match=f"unknown layer '{layer}'"):
        GradCam(pooled_convolution(outputs=2), layer)


def test_a_model_without_any_map_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(inputs), name="flat")
    with pytest.raises(InputError, match="a convolution, found 'flat'"):
        last_convolution(model)
