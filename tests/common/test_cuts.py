"""Where a network can be cut, and that the halves are the whole."""

import keras
import numpy as np
import pytest

from stages.common import backbones
from stages.common.cuts import cuts, split
from stages.common.errors import InputError


def residual_network() -> keras.Model:
    """Return image -> stem -> (left + stem) -> (up + down) -> classes."""
    x = image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(x)
    left = keras.layers.BatchNormalization(name="left")(x)
    x = keras.layers.Add(name="first_sum")([left, x])
    up = keras.layers.ReLU(name="up")(x)
    down = keras.layers.Conv2D(4, 1, name="down_conv")(x)
    down = keras.layers.ReLU(name="down")(down)
    x = keras.ops.add(up, down)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(2, name="classes")(x), name="residual")


def images(model: keras.Model) -> np.ndarray:
    shape = (2, *model.input_shape[1:])
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def assert_halves_are_the_whole(model: keras.Model, names: list[str]) -> None:
    x = images(model)
    whole = np.asarray(model(x))
    for name in names:
        frozen, rest = split(model, name)
        np.testing.assert_array_equal(rest(frozen(x)), whole, err_msg=name)


def test_only_layers_through_which_everything_passes():
    assert cuts(residual_network()) == ["image", "stem", "first_sum", "pool", "classes"]


def test_every_cut_of_a_residual_network():
    model = residual_network()
    assert_halves_are_the_whole(model, cuts(model))


def test_halves_can_be_cut_again_and_the_model_too():
    model = residual_network()
    _, rest = split(model, "stem")
    assert cuts(rest) == ["features", "first_sum", "pool", "classes"]
    assert_halves_are_the_whole(model, cuts(model))
    middle, last = split(rest, "pool")
    x = images(model)
    features = split(model, "stem")[0](x)
    np.testing.assert_array_equal(last(middle(features)), model(x))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("VGG16", {"block5_conv1", "block5_pool", "preprocess"}),
        ("MobileNetV2", {"block_6_expand", "block_2_add", "out_relu"}),
        ("EfficientNetLite0", {"block6a_expand_conv", "block6b_add", "top_activation"}),
    ],
)
def test_cuts_of_real_networks(name, expected):
    model = backbones.build(name, "none", (64, 64, 3))
    found = cuts(model)
    assert found[0] == "image"
    assert found[-1] == model.layers[-1].name
    assert expected <= set(found)
    assert_halves_are_the_whole(model, found[:: max(1, len(found) // 6)])


@pytest.mark.parametrize("name", ["left", "up", "down_conv"])
def test_layer_beside_a_branch_is_refused(name):
    with pytest.raises(InputError, match=f"everything passes: '{name}'") as refusal:
        split(residual_network(), name)
    assert "Expected one of: image, stem, first_sum, pool, classes" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_unknown_layer_is_answered_with_the_nearest_cut():
    with pytest.raises(InputError, match="did you mean 'first_sum'"):
        split(residual_network(), "frist_sum")


def test_layer_used_twice_is_no_cut():
    inputs, twice = keras.Input((4,), name="inputs"), keras.layers.Dense(4, name="twice")
    model = keras.Model(inputs, keras.layers.ReLU(name="relu")(twice(twice(inputs))))
    assert cuts(model) == ["inputs", "relu"]


def test_sequential_model_can_be_cut():
    layers = [keras.Input((4,), name="inputs"), keras.layers.Dense(3, name="hidden")]
    model = keras.Sequential([*layers, keras.layers.Dense(2, name="outputs")])
    assert cuts(model)[1:] == ["hidden", "outputs"]
    x = np.ones((2, 4), dtype="float32")
    frozen, rest = split(model, "hidden")
    np.testing.assert_array_equal(rest(frozen(x)), model(x))


def test_two_outputs_are_refused():
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)]
    with pytest.raises(ValueError, match="1 inputs, 2 outputs"):
        cuts(keras.Model(inputs, outputs))


def test_training_the_rest_trains_the_model_and_leaves_the_frozen_part():
    model, x = residual_network(), images(residual_network())
    frozen, rest = split(model, "first_sum")
    features, before = frozen.predict(x, verbose=0), model.predict(x, verbose=0)
    frozen_before = frozen.get_weights()
    rest.compile(keras.optimizers.SGD(1e-3), "mse")
    rest.fit(features, np.ones((2, 2)), epochs=2, verbose=0)
    assert not np.allclose(model.predict(x, verbose=0), before)
    np.testing.assert_array_equal(model(x), rest(features))
    for weight, weight_before in zip(frozen.get_weights(), frozen_before, strict=True):
        np.testing.assert_array_equal(weight, weight_before)
