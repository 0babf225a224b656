"""The learning rate of every step, against the formulas and never above what is set."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.params import Training
from stages.common.schedules import learning_rates


def rates(
    epochs: int = 10,
    steps: int = 4,
    factor: float = 1.0,
    decay: float | None = None,
    **schedule: Any,
) -> np.ndarray:
    """Return the planned rates of a highest one of 0.5."""
    training = Training(
        epochs=epochs,
        optimizer={"name": "sgd", "learning_rate": 0.5, "decay": decay},
        schedule=schedule,
    )
    return learning_rates(training, factor, steps)


def test_a_constant_rate_is_the_same_in_every_step():
    np.testing.assert_array_equal(rates(), np.full(40, 0.5))


def test_the_factor_of_a_phase_is_on_every_rate():
    np.testing.assert_allclose(rates(factor=0.1, name="cosine"), 0.1 * rates(name="cosine"))


def test_decay_divides_by_one_more_decay_each_step():
    found = rates(decay=0.25)
    np.testing.assert_allclose(found[[0, 4, 20, 39]], [0.5, 0.25, 0.5 / 6, 0.5 / 10.75])


def test_exponential_is_times_the_decay_rate_for_every_epoch():
    found = rates(name="exponential", decay_rate=0.5)
    expected = [0.5, 0.5 * math.sqrt(0.5), 0.25, 0.5 / 2**5, 0.5 / 2**9.75]
    np.testing.assert_allclose(found[[0, 2, 4, 20, 39]], expected)


def test_cosine_falls_along_half_a_cosine_to_the_final_factor():
    found = rates(name="cosine", final_factor=0.2)
    almost = 0.5 * (0.2 + 0.8 * (1 + math.cos(math.pi * 39 / 40)) / 2)
    # A quarter and half of the way: cos(45 degrees) is the root of a half, cos(90 degrees) 0.
    quarter = 0.5 * (0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)
    np.testing.assert_allclose(found[[0, 10, 20, 39]], [0.5, quarter, 0.5 * 0.6, almost])


def test_one_cycle_rises_from_a_25th_and_falls_to_the_final_factor():
    found = rates(name="one_cycle", final_factor=0.01)
    rise = 12  # three tenths of 40 steps
    assert found.argmax() == rise
    midway = 0.5 * (1 / 25 + 1) / 2
    np.testing.assert_allclose(found[[0, 6, rise, -1]], [0.5 / 25, midway, 0.5, 0.005])
    assert (np.diff(found[: rise + 1]) > 0).all()
    assert (np.diff(found[rise:]) < 0).all()


def test_the_warm_up_of_one_cycle_is_its_rising_part():
    assert rates(name="one_cycle", warmup_epochs=5).argmax() == 20


def test_a_warm_up_rises_linearly_to_the_highest_rate():
    found = rates(warmup_epochs=2)
    np.testing.assert_allclose(found[:8], 0.5 * np.arange(1, 9) / 8)
    np.testing.assert_array_equal(found[8:], 0.5)


def test_a_warm_up_may_be_a_part_of_an_epoch():
    np.testing.assert_allclose(rates(warmup_epochs=0.5)[:3], [0.25, 0.5, 0.5])


@pytest.mark.parametrize("name", ["exponential", "cosine"])
def test_a_schedule_begins_behind_the_warm_up(name):
    warm, plain = rates(epochs=12, name=name, warmup_epochs=2), rates(epochs=10, name=name)
    np.testing.assert_allclose(warm[8:], plain)


def test_a_phase_shorter_than_the_warm_up_sees_its_beginning():
    training = Training(schedule={"warmup_epochs": 5}, optimizer={"learning_rate": 0.5})
    short = training.model_copy(update={"epochs": 2})
    np.testing.assert_allclose(learning_rates(short, 1, 4), 0.5 * np.arange(1, 9) / 20)


@given(
    name=st.sampled_from(["constant", "exponential", "cosine", "one_cycle"]),
    epochs=st.integers(1, 12),
    steps=st.integers(1, 9),
    warm_share=st.floats(0, 0.99),
    final_factor=st.floats(0, 1),
    decay_rate=st.floats(0.01, 1),
)
def test_no_rate_is_above_the_highest_or_negative(
    name, epochs, steps, warm_share, final_factor, decay_rate
):
    found = rates(
        epochs,
        steps,
        name=name,
        warmup_epochs=warm_share * epochs,
        final_factor=final_factor,
        decay_rate=decay_rate,
    )
    assert found.shape == (epochs * steps,)
    assert found.dtype == np.float64
    assert (found >= 0).all()
    assert (found <= 0.5 * (1 + 1e-12)).all()
