"""The whole network and its part behind the cut: what it computes, what trains, what is refused."""

import keras
import numpy as np
import pytest

from stages.common import keras_files
from stages.common.backbones import build
from stages.common.cuts import split
from stages.common.errors import InputError
from stages.common.networks import (
    frozen_part,
    join,
    layer_table,
    loss_name,
    output_count,
)
from stages.common.params import Dense, Features, Head, Training

CASES = {
    "full": ("EfficientNetLite0", {"strategy": "full"}),
    "partial, late": ("EfficientNetLite0", {"strategy": "partial", "cut": "block6a_expand_conv"}),
    "partial, other family": ("MobileNetV2", {"strategy": "partial", "cut": "block_13_expand"}),
    "head": ("MobileNetV2", {"strategy": "head"}),
    "head on one early layer": (
        "EfficientNetLite0",
        {"strategy": "head", "layers": ["block3a_expand_activation"], "pooling": "max"},
    ),
    "head on two layers": (
        "EfficientNetLite0",
        {"strategy": "head", "layers": ["block3a_expand_activation", "block5a_expand_activation"]},
    ),
    "partial below two layers": (
        "EfficientNetLite0",
        {
            "strategy": "partial",
            "cut": "block3b_add",
            "layers": ["block4a_expand_activation", "block5a_expand_activation"],
        },
    ),
}
cases = pytest.mark.parametrize(("name", "features"), CASES.values(), ids=CASES)


def photos(count: int = 4, size: int = 32) -> np.ndarray:
    shape = (count, size, size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def network(name: str) -> keras.Model:
    """Build a network whose random weights let the differences of images through.

    Those that Keras draws for MobileNetV2 fade from block to block. He et al. 2015, "Delving deep
    into rectifiers", is the spread that keeps them.
    """
    model, random = build(name, "none", (32, 32, 3)), np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            shape = layer.kernel.shape
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            read = np.prod(shape[:2] if depthwise else shape[:3])
            layer.kernel.assign(random.normal(0, np.sqrt(2 / read), shape))
    return model


def small_backbone() -> keras.Model:
    """Return image -> stem -> (left + stem) -> up, with a normalisation in each half."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(image)
    x = stem = keras.layers.Conv2D(4, 3, padding="same", name="stem")(x)
    left = keras.layers.BatchNormalization(name="left")(x)
    x = keras.layers.Add(name="sum")([left, stem])
    x = keras.layers.Conv2D(6, 3, padding="same", name="up")(x)
    x = keras.layers.BatchNormalization(name="up_normalize")(x)
    return keras.Model(image, keras.layers.ReLU(name="up_activation")(x), name="small")


def give_opinions(model: keras.Model) -> None:
    """Replace the zeros that the last kernel starts with: they answer every image alike."""
    logits = model.get_layer("logits")
    kernel = np.random.default_rng(1).normal(size=logits.kernel.shape)
    logits.kernel.assign(kernel / np.sqrt(len(kernel)))


def assert_equal_and_telling(received: np.ndarray, expected: np.ndarray) -> None:
    assert np.ptp(expected, axis=0).max() > 1e-3, "the same answer to every image tells nothing"
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)


def train(model: keras.Model, features: np.ndarray, classes: int = 3) -> None:
    """Take three steps. Not compiled: tracing a network takes longer than three steps."""
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", run_eagerly=True)
    model.fit(features, np.arange(len(features)) % classes, epochs=3, verbose=0)


@cases
def test_the_frozen_part_and_the_rest_are_the_whole(name, features):
    features = Features(backbone="any", **features)
    keras.utils.set_random_seed(0)
    head = Head(layers=[Dense(units=5, activation="tanh")])
    frozen = frozen_part(network(name), features)
    whole, rest = join(network(name), features, True, head, outputs=3)
    give_opinions(whole)
    images = photos()
    assert_equal_and_telling(rest(frozen(images)), np.asarray(whole(images)))


@cases
def test_training_the_rest_trains_the_saved_whole_and_leaves_the_frozen_part(
    name, features, tmp_path
):
    features = Features(backbone="any", **features)
    frozen = frozen_part(network(name), features)
    whole, rest = join(network(name), features, False, Head(), outputs=3)
    start = {weight.path: weight.numpy() for weight in whole.weights}
    kept = np.asarray(frozen(photos()))

    train(rest, kept)

    frozen_names = {layer.name for layer in frozen.layers}
    for layer in whole.layers:
        moved = [not np.array_equal(one.numpy(), start[one.path]) for one in layer.weights]
        if layer.name in frozen_names:
            assert not any(moved), layer.name
        elif layer.weights:
            assert any(moved), layer.name
    keras_files.save(whole, tmp_path / "model.keras")
    saved = keras.models.load_model(tmp_path / "model.keras")
    assert_equal_and_telling(saved(photos()), np.asarray(rest(kept)))


@pytest.mark.parametrize("strategy", ["full", "head"])
def test_the_saved_model_is_flat_and_goes_from_bytes_to_probabilities(tmp_path, strategy):
    features = Features(backbone="any", strategy=strategy)
    whole, _ = join(small_backbone(), features, False, Head(), outputs=3)
    give_opinions(whole)
    keras_files.save(whole, tmp_path / "model.keras")
    saved = keras.models.load_model(tmp_path / "model.keras")
    assert not any(isinstance(layer, keras.Model) for layer in saved.layers)
    assert saved.inputs[0].dtype == "uint8"
    probabilities = saved.predict(photos(size=8), verbose=0)
    assert probabilities.min() > 0
    assert np.ptp(probabilities) > 1e-3
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_two_layers_stand_side_by_side_in_the_order_of_the_params():
    backbone = small_backbone()
    pooled = frozen_part(backbone, Features(backbone="any", layers=["up", "stem"], pooling="max"))
    up = keras.Model(backbone.input, backbone.get_layer("up").output)
    stem = keras.Model(backbone.input, backbone.get_layer("stem").output)
    images = photos(size=8)
    expected = [np.asarray(part(images)).max(axis=(1, 2)) for part in (up, stem)]
    np.testing.assert_allclose(pooled(images), np.hstack(expected), atol=1e-5)


@pytest.mark.parametrize("pretrained", [True, False])
def test_only_random_normalisation_behind_the_cut_learns_its_statistics(pretrained):
    features = Features(backbone="any", strategy="partial", cut="block_13_expand")
    backbone = network("MobileNetV2")
    frozen = frozen_part(backbone, features)
    kept = np.asarray(frozen(photos()))
    _, rest = join(backbone, features, pretrained, Head(normalize=False), outputs=3)
    normalisations = [
        layer for layer in rest.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    start = [layer.get_weights() for layer in normalisations]
    behind, _ = split(rest, "pooling")
    same_in_training = np.array_equal(behind(kept, training=True), behind(kept, training=False))
    assert same_in_training == pretrained

    train(rest, kept)

    assert len(normalisations) > 5
    for layer, before in zip(normalisations, start, strict=True):
        mean_and_variance = zip(layer.get_weights()[2:], before[2:], strict=True)
        for now, then in mean_and_variance:
            assert np.array_equal(now, then) == pretrained, layer.name


def test_frozen_normalisation_keeps_its_statistics_though_its_weights_are_random():
    features = Features(backbone="any", strategy="partial", cut="sum")
    whole, rest = join(small_backbone(), features, False, Head(), outputs=3)
    left, up = whole.get_layer("left"), whole.get_layer("up_normalize")
    images, before = photos(size=8), [left.get_weights(), up.get_weights()]
    train(whole, images)
    np.testing.assert_equal(left.get_weights(), before[0])
    assert not np.array_equal(up.get_weights()[2], before[1][2])
    assert rest.get_layer("up_normalize") is up


def test_dropout_works_in_training_alone():
    features = Features(backbone="any")
    head = Head(dropout=0.5, layers=[Dense(units=16, dropout=0.5)])
    without = Head(layers=[Dense(units=16)])
    dropping, _ = join(small_backbone(), features, False, head, outputs=3)
    plain, _ = join(small_backbone(), features, False, without, outputs=3)
    give_opinions(dropping)
    plain.set_weights(dropping.get_weights())
    images = photos(size=8)
    np.testing.assert_array_equal(dropping(images), plain(images))
    in_training = [np.asarray(dropping(images, training=True)) for _ in range(2)]
    assert not np.allclose(in_training[0], in_training[1])


@pytest.mark.parametrize("place", ["in front", "behind the hidden layer"])
def test_each_dropout_of_the_head_has_its_own_knob(place):
    head = Head(dropout=0.5) if place == "in front" else Head(layers=[Dense(units=8, dropout=0.5)])
    whole, _ = join(small_backbone(), Features(backbone="any"), False, head, outputs=2)
    dropouts = [layer for layer in whole.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(dropouts) == 1
    features = np.ones((1000, 8), dtype="float32")
    kept = np.asarray(dropouts[0](features, training=True)) > 0
    assert abs(kept.mean() - 0.5) < 0.05


def test_normalisation_in_front_of_the_head_can_be_left_out():
    features = Features(backbone="any")
    with_it, _ = join(small_backbone(), features, True, Head(normalize=True), outputs=2)
    without, _ = join(small_backbone(), features, True, Head(normalize=False), outputs=2)
    # A scale, an offset, a mean and a variance for each of the six features.
    assert with_it.count_params() - without.count_params() == 4 * 6
    # It is always fresh, so it learns even where that of the backbone may not.
    assert with_it.get_layer("head_normalize").trainable


def test_l2_adds_the_squared_kernels_of_the_head_to_the_loss():
    head = Head(normalize=False, layers=[Dense(units=4)], l2=0.25)
    whole, rest = join(small_backbone(), Features(backbone="any"), False, head, outputs=3)
    give_opinions(whole)
    kernels = [whole.get_layer(name).kernel.numpy() for name in ("head_1", "logits")]
    expected = 0.25 * sum(np.square(kernel).sum() for kernel in kernels)
    assert float(sum(rest.losses)) == pytest.approx(float(expected), rel=1e-5)


def test_a_new_network_has_no_opinion():
    whole, _ = join(small_backbone(), Features(backbone="any"), False, Head(), outputs=4)
    np.testing.assert_array_equal(whole(photos(size=8)), np.full((4, 4), 0.25))


@pytest.mark.parametrize(
    ("cut", "nearest"),
    [("block_2_expand", "block_2_add"), ("block_13_expnd", "block_13_expand")],
    ids=["inside a residual branch", "unknown"],
)
def test_a_layer_that_cannot_be_the_cut_is_refused_with_those_that_can(cut, nearest):
    features = Features(backbone="any", strategy="partial", cut=cut)
    backbone = network("MobileNetV2")
    for attempt in (
        lambda: frozen_part(backbone, features),
        lambda: join(backbone, features, True, Head(), outputs=3),
    ):
        with pytest.raises(InputError, match=cut) as refusal:
            attempt()
        message = str(refusal.value)
        assert "\n" not in message
        assert nearest in message.partition("Expected one of: ")[2].split(", ")


def test_a_cut_above_a_pooled_layer_is_refused():
    features = Features(backbone="any", strategy="partial", cut="up", layers=["stem", "up"])
    with pytest.raises(InputError, match="everything passes: 'up'"):
        join(small_backbone(), features, True, Head(), outputs=3)


def test_an_unknown_layer_to_pool_is_refused_with_the_nearest_name():
    features = Features(backbone="any", layers=["stemm"])
    with pytest.raises(InputError, match="did you mean 'stem'") as refusal:
        frozen_part(small_backbone(), features)
    assert "\n" not in str(refusal.value)


def test_vgg16_with_a_large_head_has_the_parameters_that_the_arithmetic_says():
    features = Features(backbone="any", strategy="head", pooling="flatten")
    head = Head(normalize=False, layers=[Dense(units=units) for units in (4096, 2048, 1024)])
    whole, _ = join(build("VGG16", "none", (150, 150, 3)), features, True, head, outputs=4)
    table = layer_table(whole)
    assert list(table.columns) == ["type", "name", "trainable", "parameters"]
    assert table["parameters"].sum() == whole.count_params() == 58_766_148
    assert table.loc[table["trainable"], "parameters"].sum() == 44_051_460
    assert sum(int(np.prod(one.shape)) for one in whole.trainable_weights) == 44_051_460
    row = table.set_index("name").loc["head_1"]
    # The map of a 150 x 150 image is 4 x 4 x 512 after five halvings.
    assert row["parameters"] == (4 * 4 * 512 + 1) * 4096
    assert row["type"] == "Dense"
    assert not table.set_index("name").loc["block5_conv3", "trainable"]


@pytest.mark.parametrize(
    ("encoder", "classes", "outputs", "loss"),
    [
        ("label", 2, 2, "sparse_categorical_crossentropy"),
        ("label", 3, 3, "sparse_categorical_crossentropy"),
        ("onehot", 2, 2, "categorical_crossentropy"),
        ("binarizer", 2, 1, "binary_crossentropy"),
        ("binarizer", 3, 3, "categorical_crossentropy"),
    ],
)
def test_outputs_and_loss_follow_from_the_encoder(encoder, classes, outputs, loss):
    assert output_count(encoder, classes) == outputs
    assert loss_name(Training(), encoder, outputs) == loss
    whole, _ = join(small_backbone(), Features(backbone="any"), False, Head(), outputs)
    assert whole.output_shape == (None, outputs)


def test_a_loss_that_one_output_cannot_learn_from_is_refused():
    # Softmax cross-entropy divides the one output by itself: the loss is 0 whatever it says.
    training = Training(loss="categorical_crossentropy")
    with pytest.raises(InputError, match="categorical_crossentropy"):
        loss_name(training, "binarizer", outputs=1)
