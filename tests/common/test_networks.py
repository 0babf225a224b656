"""The whole network, its part behind the cut and its head: what they compute, and what trains."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from stages.common import keras_files
from stages.common.backbones import build
from stages.common.cuts import split
from stages.common.errors import InputError
from stages.common.networks import build_head, frozen_part, join, layer_table
from stages.common.params import Features, Training

REAL = {
    "partial": ("MobileNetV2", {"strategy": "partial", "cut": "block_13_expand"}),
    "partial below two layers": (
        "EfficientNetLite0",
        {
            "strategy": "partial",
            "cut": "block3b_add",
            "layers": ["block4a_expand_activation", "block5a_expand_activation"],
        },
    ),
}
SMALL = {
    "full": {"strategy": "full"},
    "partial, early": {"strategy": "partial", "cut": "stem"},
    "partial, late": {"strategy": "partial", "cut": "up"},
    "partial below two layers": {"strategy": "partial", "cut": "stem", "layers": ["sum", "up"]},
    "head": {"strategy": "head"},
    "head on one early layer": {"strategy": "head", "layers": ["sum"], "pooling": "max"},
    "head on two layers": {"strategy": "head", "layers": ["stem", "up"]},
}
small_cases = pytest.mark.parametrize("features", SMALL.values(), ids=SMALL)
HIDDEN = {"layers": [{"units": 5, "activation": "tanh"}]}


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


def joined(
    backbone: keras.Model,
    features: Features | None = None,
    pretrained: bool = False,
    outputs: int = 3,
    **training: Any,
) -> tuple[keras.Model, keras.Model, keras.Model]:
    """Join a backbone and a head, by default behind its pooling."""
    features = features or Features(backbone="any")
    return join(backbone, features, pretrained, Training(**training), "softmax", outputs)


def head_of(
    features: int = 6, outputs: int = 3, activation: str = "softmax", **training: Any
) -> keras.Model:
    """Build a head alone, without normalisation unless it is asked for."""
    training["head"] = {"normalize": False} | training.get("head", {})
    return build_head(features, Training(**training), activation, outputs)


def hidden(model: keras.Model, features: np.ndarray, training: bool = False) -> np.ndarray:
    """Return what reaches the output layer of a head."""
    part = keras.Model(model.input, model.get_layer("logits").input)
    return np.asarray(part(features, training=training))


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


@pytest.mark.parametrize(("name", "features"), REAL.values(), ids=REAL)
def test_the_frozen_part_and_the_rest_are_the_whole(name, features):
    features = Features(backbone="any", **features)
    frozen = frozen_part(network(name), features)
    whole, rest, _ = joined(network(name), features, True, head=HIDDEN)
    give_opinions(whole)
    images = photos()
    assert_equal_and_telling(rest(frozen(images)), np.asarray(whole(images)))


@small_cases
def test_wherever_the_cut_lies_the_halves_are_the_whole(features):
    features = Features(backbone="any", **features)
    frozen = frozen_part(small_backbone(), features)
    whole, rest, _ = joined(small_backbone(), features, head=HIDDEN)
    give_opinions(whole)
    images = photos(size=8)
    assert_equal_and_telling(rest(frozen(images)), np.asarray(whole(images)))


@small_cases
def test_training_the_rest_trains_the_saved_whole_and_leaves_the_frozen_part(features, tmp_path):
    features = Features(backbone="any", **features)
    frozen = frozen_part(small_backbone(), features)
    whole, rest, _ = joined(small_backbone(), features)
    start = {weight.path: weight.numpy() for weight in whole.weights}
    kept = np.asarray(frozen(photos(size=8)))

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
    assert_equal_and_telling(saved(photos(size=8)), np.asarray(rest(kept)))


@pytest.mark.parametrize("strategy", ["full", "head"])
def test_the_saved_model_is_flat_and_goes_from_bytes_to_probabilities(tmp_path, strategy):
    features = Features(backbone="any", strategy=strategy)
    whole, _, _ = joined(small_backbone(), features)
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
    features = Features(backbone="any", strategy="partial", cut="stem")
    backbone = small_backbone()
    frozen = frozen_part(backbone, features)
    kept = np.asarray(frozen(photos(size=8)))
    _, rest, _ = joined(backbone, features, pretrained, head={"normalize": False})
    normalisations = [
        layer for layer in rest.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    start = [layer.get_weights() for layer in normalisations]
    behind, _ = split(rest, "pooling")
    same_in_training = np.array_equal(behind(kept, training=True), behind(kept, training=False))
    assert same_in_training == pretrained

    train(rest, kept)

    assert len(normalisations) == 2
    for layer, before in zip(normalisations, start, strict=True):
        mean_and_variance = zip(layer.get_weights()[2:], before[2:], strict=True)
        for now, then in mean_and_variance:
            assert np.array_equal(now, then) == pretrained, layer.name


def test_frozen_normalisation_keeps_its_statistics_though_its_weights_are_random():
    features = Features(backbone="any", strategy="partial", cut="sum")
    whole, rest, _ = joined(small_backbone(), features)
    left, up = whole.get_layer("left"), whole.get_layer("up_normalize")
    images, before = photos(size=8), [left.get_weights(), up.get_weights()]
    train(whole, images)
    np.testing.assert_equal(left.get_weights(), before[0])
    assert not np.array_equal(up.get_weights()[2], before[1][2])
    assert rest.get_layer("up_normalize") is up


def test_a_new_network_has_no_opinion():
    whole, _, _ = joined(small_backbone(), outputs=4)
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
        lambda: joined(backbone, features),
    ):
        with pytest.raises(InputError, match=cut) as refusal:
            attempt()
        message = str(refusal.value)
        assert "\n" not in message
        assert nearest in message.partition("Expected one of: ")[2].split(", ")


def test_a_cut_above_a_pooled_layer_is_refused():
    features = Features(backbone="any", strategy="partial", cut="up", layers=["stem", "up"])
    with pytest.raises(InputError, match="everything passes: 'up'"):
        joined(small_backbone(), features)


def test_an_unknown_layer_to_pool_is_refused_with_the_nearest_name():
    features = Features(backbone="any", layers=["stemm"])
    with pytest.raises(InputError, match="did you mean 'stem'") as refusal:
        frozen_part(small_backbone(), features)
    assert "\n" not in str(refusal.value)


def test_vgg16_with_a_large_head_has_the_parameters_that_the_arithmetic_says():
    features = Features(backbone="any", strategy="head", pooling="flatten")
    head = {"normalize": False, "layers": [{"units": units} for units in (4096, 2048, 1024)]}
    backbone = build("VGG16", "none", (150, 150, 3))
    whole, _, head = joined(backbone, features, outputs=4, head=head)
    table = layer_table(whole, {}, head).set_index("name")
    assert table["parameters"].sum() == whole.count_params() == 58_766_148
    assert table.loc[table["trainable"], "parameters"].sum() == 44_051_460
    assert sum(int(np.prod(one.shape)) for one in whole.trainable_weights) == 44_051_460
    # The map of a 150 x 150 image is 4 x 4 x 512 after five halvings.
    assert table.loc["head_1", "parameters"] == (4 * 4 * 512 + 1) * 4096
    assert table.loc["head_1", "type"] == "Dense"


def test_the_layer_table_says_what_trains_before_and_behind_the_cut_and_in_each_phase():
    features = Features(backbone="any", strategy="partial", cut="sum")
    before = {layer.name: layer.name != "up" for layer in small_backbone().layers}
    whole, _, head = joined(small_backbone(), features)
    table = layer_table(whole, before, head)
    assert table["name"].tolist() == [layer.name for layer in whole.layers]
    table = table.set_index("name")
    columns = ["trainable_before", "trainable_head", "trainable"]
    assert table.loc["stem", columns].tolist() == [True, False, False]
    assert table.loc["up", columns].tolist() == [False, False, True]
    assert table.loc["up_normalize", columns].tolist() == [True, False, True]
    assert table.loc["logits", columns].tolist() == [None, True, True]
    frozen = {layer.name for layer in frozen_part(small_backbone(), features).layers}
    assert set(table.index[~table["trainable"]]) == frozen


# How weights start

VARIANCES = {
    # Glorot and Bengio 2010 (Xavier), He et al. 2015, LeCun et al. 1998.
    "glorot": lambda inputs, outputs: 2 / (inputs + outputs),
    "he": lambda inputs, outputs: 2 / inputs,
    "lecun": lambda inputs, outputs: 1 / inputs,
}
_CUT_OFF = 0.87962566  # deviation of a standard normal distribution that is cut off at 2


def started(initializer: str, inputs: int = 400, outputs: int = 250, seed: int = 0) -> np.ndarray:
    """Return the first kernel of a hidden layer."""
    layer = {"units": outputs, "initializer": initializer}
    return head_of(inputs, head={"layers": [layer]}, seed=seed).get_layer("head_1").kernel.numpy()


@pytest.mark.parametrize("shape", [(400, 250), (100, 900)])
@pytest.mark.parametrize("name", VARIANCES)
def test_a_uniform_start_has_the_variance_and_the_limits_of_its_formula(name, shape):
    kernel, variance = started(f"{name}_uniform", *shape), VARIANCES[name](*shape)
    assert kernel.var() == pytest.approx(variance, rel=0.02)
    limit = np.sqrt(3 * variance)
    assert 0.99 * limit < np.abs(kernel).max() <= limit * 1.000001
    # Evenly spread: half of it lies in the inner half.
    assert np.mean(np.abs(kernel) < limit / 2) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("shape", [(400, 250), (100, 900)])
@pytest.mark.parametrize("name", VARIANCES)
def test_a_normal_start_has_the_variance_of_its_formula_and_no_far_outliers(name, shape):
    kernel, variance = started(f"{name}_normal", *shape), VARIANCES[name](*shape)
    assert kernel.mean() == pytest.approx(0, abs=0.02 * np.sqrt(variance))
    assert kernel.var() == pytest.approx(variance, rel=0.02)
    limit = 2 * np.sqrt(variance) / _CUT_OFF
    assert 0.97 * limit < np.abs(kernel).max() <= limit * 1.000001
    assert np.mean(np.abs(kernel) < limit / 2) > 0.6


@pytest.mark.parametrize(
    ("name", "deviation", "limit"),
    [
        ("random_normal", 0.05, np.inf),
        ("random_uniform", 0.05 / np.sqrt(3), 0.05),
        ("truncated_normal", 0.05 * _CUT_OFF, 0.1),
    ],
)
def test_a_plain_random_start_does_not_ask_for_the_shape(name, deviation, limit):
    for shape in [(400, 250), (100, 900)]:
        kernel = started(name, *shape)
        assert kernel.std() == pytest.approx(deviation, rel=0.02)
        assert np.abs(kernel).max() <= limit


def test_an_orthogonal_start_has_orthogonal_columns():
    kernel = started("orthogonal", 40, 30)
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(30), atol=1e-5)


@pytest.mark.parametrize("initializer", ["he_normal", "zeros"])
def test_the_output_layer_has_an_initializer_of_its_own(initializer):
    model = head_of(500, outputs=200, head={"initializer": initializer})
    expected = 2 / 500 if initializer == "he_normal" else 0
    assert model.get_layer("logits").kernel.numpy().var() == pytest.approx(expected, rel=0.02)


def test_offsets_start_at_zero():
    model = head_of(head={"layers": [{"units": 4}], "initializer": "he_normal"})
    for name in ("head_1", "logits"):
        np.testing.assert_array_equal(model.get_layer(name).bias, 0)


# The same seeds give the same network

RANDOM_HEAD = {
    "normalize": True,
    "dropout": 0.3,
    "layers": [{"units": 7, "dropout": 0.5}, {"units": 7, "batch_normalization": "after"}],
    "initializer": "he_normal",
}


def drawn(model: keras.Model, features: np.ndarray) -> list[np.ndarray]:
    """Return all that is random in a head: its weights, and three times what dropout leaves."""
    return [*model.get_weights(), *(np.asarray(model(features, training=True)) for _ in range(3))]


def test_the_same_params_give_the_same_head_whatever_was_built_before():
    features = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    first = drawn(head_of(head=RANDOM_HEAD), features)
    keras.utils.set_random_seed(99)
    joined(small_backbone(), head=RANDOM_HEAD)
    head_of(head={"layers": [{"units": 3}]})
    np.testing.assert_equal(drawn(head_of(head=RANDOM_HEAD), features), first)


def test_the_seed_decides_the_start_and_what_dropout_drops():
    features = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    first, other = (drawn(head_of(head=RANDOM_HEAD, seed=seed), features) for seed in (0, 1))
    kernels = [one for one in range(len(first) - 3) if first[one].ndim == 2]
    assert len(kernels) == 3
    for number in [*kernels, -1, -2, -3]:
        assert not np.allclose(first[number], other[number])


def test_two_layers_of_one_shape_start_apart():
    model = head_of(8, head={"layers": [{"units": 8}, {"units": 8}]})
    one, two = (model.get_layer(name).kernel.numpy() for name in ("head_1", "head_2"))
    assert not np.allclose(one, two)


def test_a_head_alone_is_the_head_of_the_joined_network():
    _, rest, head = joined(small_backbone(), head=RANDOM_HEAD)
    alone = head_of(6, head=RANDOM_HEAD)
    assert rest is head
    assert [layer.name for layer in alone.layers] == [layer.name for layer in rest.layers]
    features = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    np.testing.assert_equal(drawn(alone, features), drawn(rest, features))


@pytest.mark.parametrize("strategy", ["full", "partial"])
def test_the_head_of_another_strategy_shares_its_layers_with_the_whole(strategy):
    cut = "sum" if strategy == "partial" else None
    features = Features(backbone="any", strategy=strategy, cut=cut)
    whole, rest, head = joined(small_backbone(), features, head=RANDOM_HEAD)
    assert head is not rest
    give_opinions(head)
    pooled = keras.Model(whole.input, whole.get_layer("pooling").output)(photos(size=8))
    assert_equal_and_telling(head(pooled), np.asarray(whole(photos(size=8))))
    alone = head_of(6, head=RANDOM_HEAD)
    give_opinions(alone)
    np.testing.assert_equal(head.get_weights(), alone.get_weights())


# Penalties


def convolutional_backbone() -> keras.Model:
    """Return image -> early -> late -> depthwise -> separable, each a kind of convolution."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(image)
    x = keras.layers.Conv2D(4, 3, kernel_regularizer="l2", name="early")(x)
    x = keras.layers.Conv2D(5, 3, kernel_regularizer="l2", name="late")(x)
    x = keras.layers.DepthwiseConv2D(2, bias_initializer="ones", name="depthwise")(x)
    x = keras.layers.SeparableConv2D(6, 2, bias_initializer="ones", name="separable")(x)
    return keras.Model(image, x, name="convolutional")


def penalty_of(model: keras.Model) -> float:
    return float(sum(model.losses))


def kernels_of(model: keras.Model, *names: str) -> list[np.ndarray]:
    layers = [model.get_layer(name) for name in names]
    return [one.numpy() for layer in layers for one in layer.weights if "kernel" in one.name]


def absolute(kernel: np.ndarray) -> float:
    return float(np.abs(kernel).sum())


def squared(kernel: np.ndarray) -> float:
    return float(np.square(kernel).sum())


PENALTIES = pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        ({"l1": 0.1}, lambda kernel: 0.1 * absolute(kernel)),
        ({"l2": 0.2}, lambda kernel: 0.2 * squared(kernel)),
        ({"l1": 0.1, "l2": 0.2}, lambda kernel: 0.1 * absolute(kernel) + 0.2 * squared(kernel)),
    ],
    ids=["l1", "l2", "both"],
)
WITH_HIDDEN = {"layers": [{"units": 4}], "initializer": "he_normal"}


@PENALTIES
def test_the_penalty_of_dense_layers_is_that_of_every_kernel_of_the_head(
    penalty: dict, expected: Callable
):
    for features in [Features(backbone="any"), Features(backbone="any", strategy="full")]:
        whole, rest, _ = joined(
            convolutional_backbone(), features, head=WITH_HIDDEN, regularization={"dense": penalty}
        )
        of_head = sum(map(expected, kernels_of(whole, "head_1", "logits")))
        assert of_head > 0
        assert penalty_of(rest) == pytest.approx(of_head, rel=1e-5)


@PENALTIES
@pytest.mark.parametrize(
    ("features", "behind"),
    [
        ({"strategy": "full"}, ["early", "late", "depthwise", "separable"]),
        ({"strategy": "partial", "cut": "early"}, ["late", "depthwise", "separable"]),
        ({"strategy": "partial", "cut": "depthwise"}, ["separable"]),
        ({"strategy": "head"}, []),
    ],
    ids=["full", "early", "late", "head"],
)
def test_the_penalty_of_convolutions_is_that_of_the_kernels_behind_the_cut(
    penalty: dict, expected: Callable, features: dict, behind: list[str]
):
    whole, rest, head = joined(
        convolutional_backbone(),
        Features(backbone="any", **features),
        head=WITH_HIDDEN,
        regularization={"convolution": penalty},
    )
    kernels = kernels_of(whole, *behind)
    assert len(kernels) == len(behind) + ("separable" in behind)  # that one has two
    assert penalty_of(rest) == pytest.approx(sum(map(expected, kernels)), rel=1e-5)
    assert penalty_of(head) == 0


def test_without_a_penalty_the_loss_is_left_alone():
    # Not even by those that the backbone brings along.
    _, rest, _ = joined(convolutional_backbone(), Features(backbone="any", strategy="full"))
    assert penalty_of(rest) == 0


# Batch normalisation of the head

# Of Keras; it is added to the variance.
_EPSILON = 1e-3


@pytest.mark.parametrize("place", ["before", "after", "none"])
def test_a_hidden_layer_is_normalised_before_or_after_its_activation(place):
    layer = {"units": 3, "activation": "tanh", "batch_normalization": place}
    model = head_of(head={"layers": [layer]})
    random = np.random.default_rng(0)
    features = random.normal(size=(5, 6)).astype("float32")
    scale, offset, mean, variance = random.uniform(0.5, 2, (4, 3))
    if place != "none":
        model.get_layer("head_1_normalize").set_weights([scale, offset, mean, variance])

    def normalised(x: np.ndarray) -> np.ndarray:
        return scale * (x - mean) / np.sqrt(variance + _EPSILON) + offset

    plain = features @ model.get_layer("head_1").kernel.numpy()
    expected = {
        "before": lambda: np.tanh(normalised(plain)),
        "after": lambda: normalised(np.tanh(plain)),
        "none": lambda: np.tanh(plain),
    }[place]()
    np.testing.assert_allclose(hidden(model, features), expected, rtol=1e-4, atol=1e-5)


def test_normalisation_takes_the_batch_in_training_and_what_it_learned_at_inference():
    model = head_of(head={"normalize": True})
    features = np.random.default_rng(0).normal(5, 2, (50, 6)).astype("float32")
    mean, variance = features.mean(axis=0), features.var(axis=0)

    in_training = hidden(model, features, training=True)
    expected = (features - mean) / np.sqrt(variance + _EPSILON)
    np.testing.assert_allclose(in_training, expected, atol=1e-4)

    # One batch moved the mean from 0 and the variance from 1 by a tenth.
    learned_mean, learned_variance = 0.1 * mean, 0.9 + 0.1 * variance
    expected = (features - learned_mean) / np.sqrt(learned_variance + _EPSILON)
    np.testing.assert_allclose(hidden(model, features), expected, rtol=1e-4, atol=1e-4)


def test_normalisation_in_front_of_the_head_can_be_left_out():
    features = np.random.default_rng(0).normal(5, 2, (50, 6)).astype("float32")
    np.testing.assert_array_equal(hidden(head_of(), features, training=True), features)


def test_normalisation_of_the_head_learns_though_that_of_the_backbone_may_not():
    whole, _, _ = joined(small_backbone(), pretrained=True)
    assert whole.get_layer("head_normalize").trainable
    assert not whole.get_layer("up_normalize").trainable


# Dropout


@pytest.mark.parametrize("rate", [0.2, 0.5])
@pytest.mark.parametrize("place", ["in front", "behind the hidden layer"])
def test_each_dropout_drops_its_share_in_training_and_keeps_the_sum(place, rate):
    layer = {"units": 400, "activation": "linear"}
    head = (
        {"dropout": rate, "layers": []}
        if place == "in front"
        else {"layers": [layer | {"dropout": rate}]}
    )
    model, features = head_of(400, head=head), np.ones((50, 400), "float32")
    kept, dropped = hidden(model, features), hidden(model, features, training=True)
    zero = dropped == 0
    assert zero.mean() == pytest.approx(rate, abs=0.02)
    np.testing.assert_allclose(dropped[~zero], kept[~zero] / (1 - rate), rtol=1e-5)


def test_dropout_does_nothing_at_inference():
    dropping = {"dropout": 0.5, "layers": [{"units": 16, "dropout": 0.5}]}
    plain = {"layers": [{"units": 16}]}
    features = np.random.default_rng(0).normal(size=(9, 6)).astype("float32")
    np.testing.assert_array_equal(
        hidden(head_of(head=dropping), features), hidden(head_of(head=plain), features)
    )


def test_dropout_drops_others_each_time():
    model, features = head_of(400, head={"dropout": 0.5}), np.ones((2, 400), "float32")
    first, second = (hidden(model, features, training=True) == 0 for _ in range(2))
    assert not np.array_equal(first, second)


# Activations


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("name", "equation"),
    [
        ("swish", lambda x: x * sigmoid(x)),
        ("mish", lambda x: x * np.tanh(softplus(x))),
        # Klambauer et al. 2017, "Self-normalizing neural networks".
        ("selu", lambda x: 1.05070099 * np.where(x > 0, x, 1.67326324 * (np.exp(x) - 1))),
        ("sigmoid", sigmoid),
        ("tanh", np.tanh),
        ("relu", lambda x: np.maximum(x, 0)),
    ],
)
def test_a_hidden_activation_is_its_equation(name, equation):
    model = head_of(1, head={"layers": [{"units": 1, "activation": name}]})
    model.get_layer("head_1").set_weights([np.ones((1, 1)), np.zeros(1)])
    x = np.linspace(-6, 6, 121, dtype="float32")[:, None]
    np.testing.assert_allclose(hidden(model, x), equation(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "equation"),
    [
        ("softmax", lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)),
        ("sigmoid", sigmoid),
        ("linear", lambda x: x),
    ],
)
def test_the_output_activation_is_its_equation(name, equation):
    model = head_of(3, outputs=3, activation=name)
    model.get_layer("logits").set_weights([np.eye(3), np.zeros(3)])
    x = np.random.default_rng(0).normal(0, 2, (20, 3)).astype("float32")
    np.testing.assert_allclose(model(x), equation(x), rtol=1e-5, atol=1e-6)
