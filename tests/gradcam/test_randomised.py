"""Maps of models that lose what they learned."""

import keras
import numpy as np
import pytest
from scipy.stats import spearmanr

from stages.common.heatmaps import HeatMaps, one_hot
from stages.gradcam.randomised import cascade, correlations, randomise, rank_correlation


def small_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(x)
    for number in range(4):
        x = keras.layers.Conv2D(12, 3, padding="same", activation="relu", name=f"conv_{number}")(x)
        x = keras.layers.BatchNormalization(name=f"normal_{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    x = keras.layers.Dense(5, name="head_1")(x)
    x = keras.layers.Dense(2, name="logits")(x)
    return keras.Model(image, keras.layers.Softmax(name="predictions")(x))


def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


def test_the_cascade_goes_from_the_logits_to_the_first_layer_and_misses_none():
    groups = cascade(small_model())
    assert [group[-1] for group in groups] == ["logits", "head_1", "normal_2", "normal_1", "conv_0"]
    layers = [layer for group in groups for layer in group]
    assert (
        layers[0] == "logits" and layers[-1] == "conv_0" and len(layers) == len(set(layers)) == 10
    )


def test_maps_that_do_not_change_correlate_by_1():
    """As those of an edge detector: it shows the photo, whatever the model learned."""
    edges = np.random.default_rng(0).random((12, 4, 4))
    table = correlations(small_model(), lambda: {"edges": edges, "twice": 2 * edges})
    np.testing.assert_allclose(table[["correlation", "low", "high"]], 1)
    assert (table["zero"] == 0).all()
    layers = table[table["method"] == "edges"]["layer"].tolist()
    assert table["method"].tolist() == ["edges"] * len(layers) + ["twice"] * len(layers)


def test_maps_of_a_random_model_are_others_and_the_model_is_restored():
    model, images = small_model(), photos()
    maps = HeatMaps(model, ["normal_3"], ["hirescam"])
    weights = one_hot(np.arange(12) % 2, 2)
    before = [one.copy() for one in model.get_weights()]

    def compute() -> dict[str, np.ndarray]:
        return maps(images, weights)

    trained = compute()
    table = correlations(model, compute)
    assert abs(table["correlation"].iloc[-1]) < 0.5
    assert (table["low"] <= table["correlation"]).all()
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(compute()["hirescam"], trained["hirescam"])
    assert correlations(model, compute).equals(table)


def test_a_failure_on_the_way_restores_the_model_too():
    model = small_model()
    before = model.get_layer("logits").kernel.numpy()
    answers = iter([{"gradcam": np.zeros((2, 3, 3))}])
    with pytest.raises(StopIteration):
        correlations(model, lambda: next(answers))
    np.testing.assert_array_equal(model.get_layer("logits").kernel.numpy(), before)


def test_a_random_layer_depends_on_its_name_and_keeps_signals_alive():
    model, other = small_model(), small_model()
    other.get_layer("conv_1").kernel.assign(np.full((3, 3, 12, 12), 7.0))
    for one in (model, other):
        randomise(one.get_layer("conv_1"))
    kernel = model.get_layer("conv_1").kernel.numpy()
    np.testing.assert_array_equal(kernel, other.get_layer("conv_1").kernel.numpy())
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 12)), rel=0.05)
    randomise(model.get_layer("conv_2"))
    assert not np.allclose(kernel, model.get_layer("conv_2").kernel.numpy())
    model.get_layer("normal_1").moving_variance.assign(np.full(12, 100.0))
    randomise(model.get_layer("normal_1"))
    np.testing.assert_array_equal(model.get_layer("normal_1").moving_variance.numpy(), np.ones(12))


def test_each_channel_of_a_depthwise_kernel_adds_up_only_its_own_places():
    layer = keras.layers.DepthwiseConv2D(3)
    layer.build((None, 8, 8, 500))
    randomise(layer)
    assert np.std(layer.kernel.numpy()) == pytest.approx(np.sqrt(2 / 9), rel=0.05)


def test_rank_correlation_is_spearman_s():
    random = np.random.default_rng(0)
    one, other = np.maximum(random.normal(size=(2, 6, 5)), 0)  # many places are 0
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel())[0])
    assert rank_correlation(one, one**3 + 1) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)


def test_maps_without_an_order_correlate_with_nothing_but_themselves():
    zero, some = np.zeros((3, 3)), np.arange(9.0).reshape(3, 3)
    assert rank_correlation(zero, some) == rank_correlation(some, zero) == 0
    assert rank_correlation(zero, np.ones((3, 3))) == 0
    assert rank_correlation(some, np.full((3, 3), np.nan)) == 0
    assert rank_correlation(zero, zero.copy()) == 1


def test_of_two_images_the_interval_has_no_impossible_correlations():
    random = np.random.default_rng(0)
    table = correlations(small_model(), lambda: {"noise": random.random((2, 4, 4))})
    assert (table["low"] >= -1).all() and (table["high"] <= 1).all()


def test_maps_that_prove_little_are_counted():
    """The trained model has maps; a random one has none, or none in finite numbers."""
    trained = np.arange(27.0).reshape(3, 3, 3)
    random = trained * np.array([1, 0, np.nan])[:, None, None]
    answers = iter([trained, *[random] * 5])
    table = correlations(small_model(), lambda: {"gradcam": next(answers)})
    assert (table["zero"] == 2).all()
    assert table["correlation"].to_numpy() == pytest.approx(1 / 3)
