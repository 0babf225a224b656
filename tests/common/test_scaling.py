"""Numbers to predict, brought near 1 for training and back into their units."""

import keras
import numpy as np
import pytest

from stages.common.scaling import Scaling

VALUES = np.array([1000.0, 3000.0, 5000.0, 9e9])[:, None]
TRAIN = np.array([0, 1, 2])


def test_the_scaling_is_that_of_the_training_images_alone():
    scaling = Scaling.of("regression", VALUES, TRAIN)
    assert scaling.mean == 3000
    assert scaling.deviation == pytest.approx(np.std([1000, 3000, 5000]))


def test_scaled_training_values_have_mean_0_and_deviation_1():
    values = np.random.default_rng(0).normal(7000, 300, (500, 1))
    scaled = Scaling.of("regression", values, np.arange(500)).scaled(values)
    assert scaled.dtype == np.float32
    assert scaled.mean() == pytest.approx(0, abs=1e-5)
    assert scaled.std() == pytest.approx(1, abs=1e-5)


def test_unscaled_undoes_scaled():
    scaling = Scaling.of("regression", VALUES, TRAIN)
    np.testing.assert_allclose(scaling.unscaled(scaling.scaled(VALUES)), VALUES, rtol=1e-6)


def test_values_that_are_all_the_same_are_not_divided_by_zero():
    same = np.full((3, 1), 42.0)
    scaling = Scaling.of("regression", same, TRAIN)
    np.testing.assert_array_equal(scaling.scaled(same), 0)
    np.testing.assert_array_equal(scaling.unscaled(np.zeros((3, 1))), same)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_classes_stay_as_they_are(task):
    codes = np.array([[0], [1], [7]])
    scaling = Scaling.of(task, codes, TRAIN)
    assert scaling.scaled(codes) is codes
    assert scaling.unscaled(codes) is codes


def test_a_folded_layer_answers_in_the_units_of_the_values():
    layer = keras.layers.Dense(1)
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    layer.build(rows.shape)
    layer.set_weights([np.array([[1.0], [-2.0], [0.5]]), np.array([0.25])])
    outputs, scaling = np.asarray(layer(rows)), Scaling(3000, 1500)
    scaling.fold_into(layer)
    np.testing.assert_allclose(layer(rows), scaling.unscaled(outputs), rtol=1e-5)
