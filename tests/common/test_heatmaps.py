"""Heat maps: equal to what arithmetic and others say, for any layer, before and after saving."""

from pathlib import Path

import keras
import numpy as np
import pytest
import skimage.color
import skimage.data
import tensorflow as tf
from sklearn.datasets import load_sample_images

from stages.common import heatmaps, keras_files
from stages.common.backbones import build
from stages.common.class_activation import METHODS
from stages.common.errors import InputError
from stages.common.heatmaps import (
    HeatMaps,
    difference,
    last_convolution,
    map_layers,
    one_hot,
    peak,
)
from stages.common.networks import join
from stages.common.params import HEAT_MAPS, Features, Training
from stages.predict.explain import with_logits

from .test_backbones import FAMILIES

every_method = pytest.mark.parametrize("method", HEAT_MAPS)


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


def with_smaller_map(model: keras.Model) -> keras.Model:
    """Return the model with a map `smaller` between `conv` and the pooling."""
    x = keras.layers.AveragePooling2D(2, name="smaller")(model.get_layer("conv").output)
    x = keras.layers.GlobalAveragePooling2D()(x)
    smaller = keras.Model(model.input, keras.layers.Dense(model.output_shape[1], name="logits")(x))
    smaller.set_weights(model.get_weights())
    return smaller


def give_opinions(model: keras.Model) -> None:
    """Replace the zeros that the last kernel starts with."""
    kernel = model.get_layer("logits").kernel
    kernel.assign(np.random.default_rng(2).normal(size=kernel.shape))


def saved_and_loaded(model: keras.Model, folder: Path) -> keras.Model:
    keras_files.save(model, folder / "model.keras")
    return keras_files.load(folder / "model.keras")


def maps_of(model: keras.Model, layer: str, images: np.ndarray) -> np.ndarray:
    return np.asarray(keras.Model(model.input, model.get_layer(layer).output)(images))


def explain(
    model: keras.Model, layer: str, images: np.ndarray, codes: list[int], method: str = "gradcam"
) -> np.ndarray:
    """Return the maps of each image for its class."""
    weights = one_hot(np.array(codes), model.output_shape[1])
    return HeatMaps(model, [layer], [method])(images, weights)[method]


def test_every_method_of_params_is_known():
    assert [*METHODS, "scorecam"] == HEAT_MAPS


def test_with_mean_pooling_they_are_the_class_activation_map():
    """Zhou et al. 2016, "Learning deep features for discriminative localization"."""
    model, images = pooled_convolution(outputs=3), photos()
    maps, kernel = maps_of(model, "conv", images), model.get_layer("logits").kernel.numpy()
    for code in range(3):
        activation_map = np.maximum(maps @ kernel[:, code], 0)
        assert activation_map.max() > 0
        for method, factor in [("cam", 1), ("gradcam", 1 / 64), ("hirescam", 1 / 64)]:
            heats = explain(model, "conv", images, [code] * 3, method)
            np.testing.assert_allclose(
                heats / factor, activation_map, rtol=0, atol=1e-5 * activation_map.max()
            )


def test_hirescam_is_complete():
    """What speaks for the logit, less what speaks against it, and the bias are the logit."""
    model, images = pooled_convolution(outputs=3), photos()
    model.get_layer("logits").bias.assign([0.5, -0.25, 2])
    logits = keras.Model(model.input, model.get_layer("logits").output)(images).numpy()
    maps, weights = HeatMaps(model, ["conv"], ["hirescam"]), one_hot(np.array([0, 1, 2]), 3)
    for_it, against = (maps(images, sign * weights)["hirescam"] for sign in (1, -1))
    assert for_it.max() > 0 < against.max()
    sums = (for_it - against).sum(axis=(1, 2)) + np.array([0.5, -0.25, 2])
    np.testing.assert_allclose(sums, logits[np.arange(3), np.arange(3)], rtol=1e-5, atol=1e-6)


def as_in_the_papers(method: str, features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the map of one image from features and gradients (height, width, features)."""
    heat = np.zeros(features.shape[:2])
    for k in range(features.shape[2]):
        a, g = features[..., k].astype(float), gradients[..., k].astype(float)
        alpha = g**2 / (2 * g**2 + a.sum() * g**3)
        heat += (
            a
            * {
                "gradcam": g.mean(),
                "gradcam++": (alpha * np.maximum(g, 0)).sum(),
                "hirescam": g,
                "layercam": np.maximum(g, 0),
            }[method]
        )
    return np.maximum(heat, 0)


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "hirescam", "layercam"])
def test_features_weigh_what_the_papers_say_where_gradients_differ_from_place_to_place(method):
    pooled, images = pooled_convolution(outputs=2), photos()
    flat = keras.layers.Flatten()(pooled.get_layer("conv").output)
    model = keras.Model(pooled.input, keras.layers.Dense(2, name="logits")(flat))
    give_opinions(model)
    gradients = model.get_layer("logits").kernel.numpy()[:, 1].reshape(8, 8, 5)
    expected = [as_in_the_papers(method, one, gradients) for one in maps_of(model, "conv", images)]
    assert np.min(np.max(expected, axis=(1, 2))) > 0
    heats = explain(model, "conv", images, [1, 1, 1], method)
    np.testing.assert_allclose(heats, expected, rtol=0, atol=1e-5 * np.max(expected))


@pytest.mark.parametrize("outputs", [1, 3])
def test_scorecam_weighs_a_feature_by_the_prediction_for_the_image_seen_through_it(outputs):
    model, images = pooled_convolution(outputs), photos()
    heats = explain(model, "conv", images, [0, 1, 0], "scorecam")
    for code, image, heat in zip([0, 1, 0], images, heats, strict=True):
        features = maps_of(model, "conv", image[None])[0]
        masks = (features - features.min(axis=(0, 1))) / np.ptp(features, axis=(0, 1))
        seen = [image * masks[..., k : k + 1] for k in range(5)] + [0 * image]
        predictions = model(np.round(seen).astype("uint8")).numpy()
        scores = predictions[:, code] if outputs > 1 else (2 * code - 1) * predictions[:, 0]
        expected = np.maximum(features @ (scores[:5] - scores.min()), 0)
        assert expected.max() > 0
        np.testing.assert_allclose(heat, expected, rtol=0, atol=1e-5 * expected.max())


def real_photos(size: int) -> np.ndarray:
    """Return ten, five of them in colour."""
    names = ["astronaut", "coffee", "chelsea", "camera", "coins", "brick", "grass", "gravel"]
    taken = [getattr(skimage.data, name)() for name in names] + load_sample_images().images
    coloured = [skimage.color.gray2rgb(one) if one.ndim == 2 else one for one in taken]
    squares = [tf.image.resize(one, (size, size), antialias=True) for one in coloured]
    return np.round(squares).astype("uint8")


@pytest.fixture
def peers(monkeypatch) -> dict[str, type]:
    """The methods of tf-keras-vis, whose authors are others, on masks that are resized alike.

    Its own `zoom` lays the centres of the outermost places on the edge of the image, while they
    stand half a place inside of it, as the authors of Score-CAM have it too.
    """
    pytest.importorskip("tf_keras_vis")
    from tf_keras_vis import gradcam, gradcam_plus_plus, scorecam

    def zoom(maps, factors, **_):
        size = [round(side * factor) for side, factor in zip(maps.shape, factors, strict=True)]
        return tf.image.resize(maps, size[1:3]).numpy()

    monkeypatch.setattr(scorecam, "zoom", zoom)
    return {
        "gradcam": gradcam.Gradcam,
        "gradcam++": gradcam_plus_plus.GradcamPlusPlus,
        "scorecam": scorecam.Scorecam,
    }


@pytest.mark.parametrize(
    ("method", "layer", "size"),
    [
        ("gradcam", "top_activation", 160),
        ("gradcam++", "top_activation", 160),
        ("scorecam", "block3a_expand_activation", 96),  # each feature costs a run of the network
    ],
)
def test_agrees_with_an_independent_implementation_on_real_photos(peers, method, layer, size):
    model, logits = with_logits(build("EfficientNetLite0", "imagenet", (size, size, 3), True))
    images = real_photos(size)
    codes = model(images).numpy().argmax(axis=1)
    ours = HeatMaps(model, [layer], [method], logits)(images, one_hot(codes, 1000))[method]

    scores = keras.Model(model.input, model.get_layer(logits).output)
    theirs = keras.models.clone_model(scores, keras.Input(images.shape[1:]))  # it wants floats
    theirs.set_weights(model.get_weights())
    explainer = peers[method](theirs)
    options = {"seek_penultimate_conv_layer": False, "expand_cam": False, "normalize_cam": False}
    for image, code, heat in zip(images, codes, ours, strict=True):
        [other] = explainer(
            lambda outputs, code=code: outputs[:, code],
            image[None].astype("float32"),
            penultimate_layer=layer,
            **options,
        )
        assert np.corrcoef(heat.ravel(), np.ravel(other))[0, 1] >= 0.99


def test_each_image_is_explained_for_its_own_class():
    model, images = pooled_convolution(outputs=3), photos()
    alone = [explain(model, "conv", images[i : i + 1], [i])[0] for i in range(3)]
    np.testing.assert_allclose(explain(model, "conv", images, [0, 1, 2]), alone, atol=1e-7)
    assert not np.allclose(explain(model, "conv", images, [1, 2, 0]), alone)


def test_large_images_pass_in_smaller_batches(monkeypatch):
    monkeypatch.setattr(heatmaps, "_PIXELS", 3 * 8 * 8)
    sizes = []
    batch = HeatMaps._batch
    monkeypatch.setattr(
        HeatMaps, "_batch", lambda self, *given: sizes.append(len(given[0])) or batch(self, *given)
    )
    heats = explain(pooled_convolution(outputs=2), "conv", photos(8), [0] * 8)
    assert heats.shape == (8, 8, 8) and sizes == [3, 3, 2]


@every_method
def test_more_images_than_a_batch_holds(method):
    model, images = pooled_convolution(outputs=3), photos(count=70)
    codes = [number % 3 for number in range(70)]
    heats = explain(model, "conv", images, codes, method)
    last = explain(model, "conv", images[60:], codes[60:], method)
    np.testing.assert_allclose(heats[60:], last, atol=1e-5 * last.max())


@every_method
def test_the_same_bytes_every_time(method):
    model, images = pooled_convolution(outputs=3), photos()
    first, second = (explain(model, "conv", images, [0, 1, 2], method) for _ in range(2))
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, second)


def test_the_difference_of_two_classes_is_what_tells_the_one_from_the_other():
    model, images = pooled_convolution(outputs=3), photos()
    kernel = model.get_layer("logits").kernel.numpy()
    expected = np.maximum(maps_of(model, "conv", images) @ (kernel[:, 2] - kernel[:, 0]), 0)
    heats = HeatMaps(model, ["conv"], ["cam"])(images, difference(2, 0, n=3, outputs=3))["cam"]
    assert expected.max() > 0
    np.testing.assert_allclose(heats, expected, rtol=0, atol=1e-5 * expected.max())


def test_weights_of_classes_and_of_a_single_output():
    np.testing.assert_array_equal(one_hot(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(one_hot(np.array([1, 0]), 1), [[1], [-1]])
    np.testing.assert_array_equal(difference(0, 2, 2, 3), [[1, 0, -1]] * 2)
    np.testing.assert_array_equal(difference(1, 0, 2, 1), [[1]] * 2)
    np.testing.assert_array_equal(difference(0, 1, 2, 1), [[-1]] * 2)


def test_a_sure_model_has_no_fainter_map():
    # The softmax of logits that far apart is 0 or 1, with a gradient of 0.
    model, images = pooled_convolution(outputs=3), photos()
    before = explain(model, "conv", images, [0, 0, 0])
    kernel = model.get_layer("logits").kernel
    kernel.assign(1e5 * kernel.numpy())
    sure = explain(model, "conv", images, [0, 0, 0])
    assert np.isin(model(images), [0, 1]).all()
    np.testing.assert_allclose(sure, 1e5 * before, rtol=1e-4)


def test_one_logit_explains_both_classes_with_opposite_signs():
    model, images = pooled_convolution(outputs=1), photos()
    evidence = maps_of(model, "conv", images) @ model.get_layer("logits").kernel.numpy()[:, 0] / 64
    assert evidence.min() < 0 < evidence.max()
    for code, sign in [(0, -1), (1, 1)]:
        heats = explain(model, "conv", images, [code] * 3)
        np.testing.assert_allclose(heats, np.maximum(sign * evidence, 0), atol=1e-6)


@every_method
@pytest.mark.parametrize("rows", [(0, 6), (6, 0)], ids=["top", "bottom"])
@pytest.mark.parametrize("columns", [(0, 6), (6, 0)], ids=["left", "right"])
def test_a_model_that_looks_at_one_corner_has_its_peak_there(rows, columns, method):
    x = image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(2, 1, kernel_initializer="ones", activation="relu", name="conv")(x)
    x = keras.layers.Cropping2D((rows, columns))(x)
    x = keras.layers.ZeroPadding2D((rows, columns), name="corner")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(2, kernel_initializer="ones", name="logits")(x)
    images = photos(count=5)
    images[:, 3:5, 3:5] = 255  # the brightest place, which this model does not see
    for heat in explain(keras.Model(image, x), "corner", images, [0] * 5, method):
        left, top = peak(heat)
        assert (left > 0.5, top > 0.5) == (columns[0] > 0, rows[0] > 0)
        assert np.count_nonzero(heat) == 2 * 2


def test_the_peak_is_the_centre_of_the_hottest_place_from_left_and_top():
    heat = np.zeros((2, 5), dtype="float32")
    heat[1, 3] = 2
    assert peak(heat) == (0.7, 0.75)


@pytest.mark.parametrize("method", METHODS)
def test_a_map_that_is_zero_everywhere_stays_zero(method):
    model = pooled_convolution(outputs=2, kernel=np.full((5, 2), [-1.0, 1.0]))
    heats = explain(model, "conv", photos(), [0, 0, 0], method)
    np.testing.assert_array_equal(heats, np.zeros((3, 8, 8)))
    assert [peak(heat) for heat in heats] == [(0.5, 0.5)] * 3
    assert explain(model, "conv", photos(), [1, 1, 1], method).max() > 0


@every_method
def test_an_image_without_features_has_a_zero_map(method):
    black = np.zeros((2, 8, 8, 3), "uint8")  # the filters answer to differences alone
    heats = explain(pooled_convolution(outputs=2), "conv", black, [0, 1], method)
    np.testing.assert_array_equal(heats, np.zeros((2, 8, 8)))


def test_zero_maps_of_several_layers_stay_zero():
    model = with_smaller_map(pooled_convolution(outputs=2))
    images = np.stack([np.zeros((8, 8, 3), "uint8"), photos()[0]])
    methods = [method for method in HEAT_MAPS if method != "cam"]
    maps = HeatMaps(model, ["conv", "smaller"], methods)
    for heats in maps(images, one_hot(np.array([1, 1]), 2)).values():
        np.testing.assert_array_equal(heats[0], np.zeros((8, 8)))
        assert 0 < heats[1].max() <= 1


def test_scorecam_of_a_model_that_does_not_care_is_zero():
    model = pooled_convolution(outputs=2, kernel=np.zeros((5, 2)))
    heats = explain(model, "conv", photos(), [0, 1, 0], "scorecam")
    np.testing.assert_array_equal(heats, np.zeros((3, 8, 8)))


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
    heats = explain(model, "branch", images, [1, 1, 1])
    np.testing.assert_allclose(heats, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("strategy", "cut", "layer"),
    [
        ("head", None, "top_activation"),
        ("partial", "block5a_expand_conv", "block4b_add"),  # before the cut, and frozen
        ("full", None, "block5c_add"),
    ],
)
def test_the_same_before_and_after_saving_whatever_was_frozen(strategy, cut, layer, tmp_path):
    backbone = build("EfficientNetLite0", "none", (64, 64, 3))
    model = joined(backbone, Features(backbone="any", strategy=strategy, cut=cut))
    give_opinions(model)
    saved = saved_and_loaded(model, tmp_path)
    images = photos(count=4, size=64)
    heats = [explain(one, layer, images, [0, 1, 0, 1]) for one in (model, saved)]
    assert heats[0].max() > 0
    np.testing.assert_array_equal(heats[0], heats[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_keras_applications_after_saving(name, tmp_path):
    size = 75 if name.startswith(("Inception", "Xception")) else 32  # they take no less
    model = joined(build(name, "none", (size, size, 3)), Features(backbone="any"))
    give_opinions(model)
    model = saved_and_loaded(model, tmp_path)
    layer = last_convolution(model)
    for heats in HeatMaps(model, [layer], METHODS)(*photos_and_weights(size)).values():
        assert_are_maps(heats, model.get_layer(layer).output.shape[1:3])


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("DenseNet121", ["conv4_block24_concat", "relu"]),
        ("EfficientNetLite0", ["block3b_add", "block2b_add"]),
        ("VGG16", ["block3_conv1", "block4_conv1", "block5_conv3"]),
    ],
)
def test_several_layers_of_a_family(name, layers):
    weights = "imagenet" if name == "EfficientNetLite0" else "none"
    model = joined(build(name, weights, (64, 64, 3)), Features(backbone="any"))
    give_opinions(model)
    methods = ["gradcam", "gradcam++", "hirescam", "layercam"]
    methods += ["scorecam"] * (name == "EfficientNetLite0")
    largest = max(model.get_layer(layer).output.shape[1:3] for layer in layers)
    for heats in HeatMaps(model, layers, methods)(*photos_and_weights(64)).values():
        assert_are_maps(heats, largest)
        assert heats.max() <= 1


def photos_and_weights(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return photos, and what speaks for and against each of two classes."""
    weights = one_hot(np.array([0, 1]), 2)
    return photos(count=4, size=size), np.concatenate([weights, -weights])


def assert_are_maps(heats: np.ndarray, size: tuple[int, int]) -> None:
    assert heats.shape == (4, *size)
    assert heats.dtype == np.float32
    assert np.isfinite(heats).all()
    assert heats.min() >= 0
    assert heats.max() > 0


def test_the_maps_of_several_layers_are_the_mean_of_their_shares():
    model, images = with_smaller_map(pooled_convolution(outputs=2)), photos()
    weights = one_hot(np.array([0, 1, 0]), 2)
    halves = HeatMaps(model, ["smaller", "conv"])(images, weights)["gradcam"]
    alone = [explain(model, layer, images, [0, 1, 0]) for layer in ("smaller", "conv")]
    assert [one.shape for one in alone] == [(3, 4, 4), (3, 8, 8)]
    shares = [one / one.max(axis=(1, 2), keepdims=True) for one in alone]
    larger = tf.image.resize(shares[0][..., None], (8, 8))[..., 0]
    np.testing.assert_allclose(halves, (larger + shares[1]) / 2, atol=1e-6)


def test_explaining_changes_nothing_in_the_model():
    backbone = build("EfficientNetLite0", "none", (32, 32, 3))
    model = joined(backbone, Features(backbone="any"))
    trainable = [layer.trainable for layer in model.layers]
    weights = model.get_weights()
    explain(model, "top_activation", photos(size=32), [0, 0, 0])
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
    # As EfficientNet does, it standardises its input in a layer that has weights, none to train.
    x = image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Normalization(name="standardised")(x)
    x = keras.layers.ZeroPadding2D(name="padded")(x)
    x = keras.layers.Conv2D(4, 3, name="stem")(x)
    x = keras.layers.ReLU(name="activation")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(x))
    assert model.get_layer("standardised").weights
    assert map_layers(model) == ["stem", "activation"]
    assert explain(model, "stem", photos(), [0, 0, 0]).shape == (3, 8, 8)


def test_a_branch_straight_from_the_image_is_not_offered():
    pooled = pooled_convolution(outputs=2)
    small = keras.layers.AveragePooling2D(2, name="small")(pooled.get_layer("preprocess").output)
    maps = keras.layers.AveragePooling2D(2, name="maps")(pooled.get_layer("conv").output)
    both = keras.layers.Concatenate(name="both")([small, maps])
    logits = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(both))
    model = keras.Model(pooled.input, logits)
    assert set(map_layers(model)) == {"conv", "maps", "both"}
    for layer in map_layers(model):
        assert explain(model, layer, photos(), [0, 0, 0]).shape[0] == 3
    with pytest.raises(InputError, match="unknown layer 'small'"):
        HeatMaps(model, ["small"])


def test_an_unknown_layer_is_one_line_with_the_nearest_name():
    with pytest.raises(InputError, match="'cnov', did you mean 'conv'") as refusal:
        HeatMaps(pooled_convolution(outputs=2), ["conv", "cnov"])
    assert str(refusal.value).startswith("gradcam.layer: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("layer", ["preprocess", "pooling", "logits"])
def test_a_layer_without_a_map_of_places_is_refused(layer):
    with pytest.raises(InputError, match=f"unknown layer '{layer}'"):
        HeatMaps(pooled_convolution(outputs=2), [layer])


def test_a_model_without_any_map_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(inputs), name="flat")
    with pytest.raises(InputError, match="a convolution, found 'flat'"):
        last_convolution(model)


def test_an_unknown_method_is_one_line_with_the_nearest_name():
    with pytest.raises(InputError, match="'layer-cam', did you mean 'layercam'") as refusal:
        HeatMaps(pooled_convolution(outputs=2), ["conv"], ["gradcam", "layer-cam"])
    assert str(refusal.value).startswith("gradcam.method: ")


def test_cam_takes_what_is_linear_in_the_head():
    features = Features(backbone="any", layers=["block4b_add", "top_activation"])
    model = joined(build("EfficientNetLite0", "none", (32, 32, 3)), features)
    assert HeatMaps(model, ["top_activation"], ["cam"])
    with pytest.raises(InputError, match="behind block4b_add, found block4c_"):
        HeatMaps(model, ["block4b_add"], ["cam"])  # its way on is no mean


def test_cam_of_a_head_with_a_hidden_layer_is_refused():
    x = pooled_convolution(outputs=2)
    hidden = keras.layers.Dense(3, name="hidden")(x.get_layer("pooling").output)
    model = keras.Model(x.input, keras.layers.Dense(2, name="logits")(hidden))
    with pytest.raises(InputError, match="one dense layer behind conv, found hidden; take gradcam"):
        HeatMaps(model, ["conv"], ["cam"])
