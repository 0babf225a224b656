"""Every option of every optimizer, by the steps that its formula gives."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from stages.common.optimizers import build_optimizer
from stages.common.params import OPTIMIZER_OPTIONS, Optimizer

RATE = 0.1
START = [np.array([[1.0, -2.0, 0.5]]), np.array([0.3])]
GRADIENTS = [
    [np.array([[0.5, -1.0, 0.1]]), np.array([2.0])],
    [np.array([[-0.2, 3.0, 0.4]]), np.array([1.0])],
    [np.array([[0.3, 0.6, -0.9]]), np.array([-0.5])],
]
Step = Callable[[np.ndarray], np.ndarray]


def moved(gradients: list[list[np.ndarray]] = GRADIENTS, **options: Any) -> list[np.ndarray]:
    """Return where an optimizer brings the start by a step for each of the gradients."""
    optimizer = build_optimizer(Optimizer(learning_rate=RATE, **options))
    weights = [keras.Variable(one.astype("float32")) for one in START]
    for gradient in gradients:
        tensors = [keras.ops.convert_to_tensor(one.astype("float32")) for one in gradient]
        optimizer.apply(tensors, weights)
    return [one.numpy() for one in weights]


def by_hand(rule: Callable[[], Step], gradients: list = GRADIENTS) -> list[np.ndarray]:
    """Return the same by a rule with memory, one for each weight array, from gradient to step."""
    found = []
    for weight, of_weight in zip(START, zip(*gradients, strict=True), strict=True):
        step = rule()
        for gradient in of_weight:
            weight = weight - step(gradient)
        found.append(weight)
    return found


def assert_same(received: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, two in zip(received, expected, strict=True):
        # 1 - 0.999 has few digits in float32.
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def sgd(momentum: float = 0.0, nesterov: bool = False) -> Callable[[], Step]:
    def rule() -> Step:
        velocity = 0.0

        def step(gradient: np.ndarray) -> np.ndarray:
            nonlocal velocity
            velocity = momentum * velocity + RATE * gradient
            return momentum * velocity + RATE * gradient if nesterov else velocity

        return step

    return rule


def adagrad(epsilon: float = 1e-7) -> Callable[[], Step]:
    def rule() -> Step:
        squares = 0.1  # where Keras begins

        def step(gradient: np.ndarray) -> np.ndarray:
            nonlocal squares
            squares = squares + gradient**2
            return RATE * gradient / np.sqrt(squares + epsilon)

        return step

    return rule


def rmsprop(rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7) -> Callable[[], Step]:
    def rule() -> Step:
        squares = velocity = 0.0

        def step(gradient: np.ndarray) -> np.ndarray:
            nonlocal squares, velocity
            squares = rho * squares + (1 - rho) * gradient**2
            velocity = momentum * velocity + RATE * gradient / np.sqrt(squares + epsilon)
            return velocity

        return step

    return rule


def adam(beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7) -> Callable[[], Step]:
    """Kingma and Ba 2015, the efficient form at the end of section 2, as in Keras."""

    def rule() -> Step:
        mean = square = count = 0

        def step(gradient: np.ndarray) -> np.ndarray:
            nonlocal mean, square, count
            count += 1
            mean = beta_1 * mean + (1 - beta_1) * gradient
            square = beta_2 * square + (1 - beta_2) * gradient**2
            rate = RATE * np.sqrt(1 - beta_2**count) / (1 - beta_1**count)
            return rate * mean / (np.sqrt(square) + epsilon)

        return step

    return rule


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"name": "sgd"}, sgd()),
        ({"name": "sgd", "momentum": 0.8}, sgd(0.8)),
        ({"name": "sgd", "momentum": 0.8, "nesterov": True}, sgd(0.8, nesterov=True)),
        ({"name": "adagrad"}, adagrad()),
        ({"name": "adagrad", "epsilon": 0.5}, adagrad(0.5)),
        ({"name": "rmsprop"}, rmsprop()),
        ({"name": "rmsprop", "rho": 0.5}, rmsprop(rho=0.5)),
        ({"name": "rmsprop", "momentum": 0.8}, rmsprop(momentum=0.8)),
        ({"name": "rmsprop", "epsilon": 0.5}, rmsprop(epsilon=0.5)),
        ({"name": "adam"}, adam()),
        ({"name": "adam", "beta_1": 0.5}, adam(beta_1=0.5)),
        ({"name": "adam", "beta_2": 0.8}, adam(beta_2=0.8)),
        ({"name": "adam", "epsilon": 0.5}, adam(epsilon=0.5)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "rule",
)
def test_three_steps_are_those_of_the_formula(options, rule):
    assert_same(moved(**options), by_hand(rule))


@pytest.mark.parametrize(
    ("options", "decay", "betas"),
    [
        ({}, 0.004, {}),  # the default of Keras
        ({"weight_decay": 0.5}, 0.5, {}),
        ({"weight_decay": 0.0}, 0.0, {}),
        ({"weight_decay": 0.5, "beta_1": 0.5, "beta_2": 0.8, "epsilon": 0.1}, 0.5, "same"),
    ],
    ids=str,
)
def test_adamw_shrinks_the_weights_beside_the_step_of_adam(options, decay, betas):
    if betas == "same":
        betas = {key: options[key] for key in ("beta_1", "beta_2", "epsilon")}
    expected = []
    for weight, gradients in zip(START, zip(*GRADIENTS, strict=True), strict=True):
        step = adam(**betas)()
        for gradient in gradients:
            # Loshchilov and Hutter 2019: the decay is no part of the gradient.
            weight = weight * (1 - RATE * decay) - step(gradient)
        expected.append(weight)
    assert_same(moved(name="adamw", **options), expected)


def clipped(limit: Callable[[list[np.ndarray]], list[np.ndarray]]) -> list[np.ndarray]:
    return by_hand(sgd(), [limit(gradients) for gradients in GRADIENTS])


def length(*arrays: np.ndarray) -> float:
    return np.sqrt(sum((one**2).sum() for one in arrays))


@pytest.mark.parametrize("name", OPTIMIZER_OPTIONS)
def test_every_optimizer_can_clip(name):
    small = [[np.clip(one, -0.3, 0.3) for one in gradients] for gradients in GRADIENTS]
    assert_same(moved(name=name, clip_value=0.3), moved(small, name=name))


def test_clip_value_limits_each_element():
    expected = clipped(lambda gradients: [np.clip(one, -0.4, 0.4) for one in gradients])
    assert_same(moved(name="sgd", clip_value=0.4), expected)


def test_clip_norm_limits_each_array_by_itself():
    expected = clipped(lambda gradients: [one * min(1, 0.7 / length(one)) for one in gradients])
    assert_same(moved(name="sgd", clip_norm=0.7), expected)


def test_global_clip_norm_limits_all_arrays_together():
    def limit(gradients: list[np.ndarray]) -> list[np.ndarray]:
        return [one * min(1, 1.3 / length(*gradients)) for one in gradients]

    assert_same(moved(name="sgd", global_clip_norm=1.3), clipped(limit))


# Decay belongs to the planned rates, see test_schedules.py.
SETTABLE = [
    (name, option)
    for name, some in OPTIMIZER_OPTIONS.items()
    for option in some
    if option != "decay"
]


@pytest.mark.parametrize(("name", "option"), SETTABLE)
def test_every_option_that_params_allow_has_an_effect(name, option):
    value = {"nesterov": True, "epsilon": 0.3}.get(option, 0.6)
    beside = {"momentum": 0.9} if option == "nesterov" else {}
    changed, plain = moved(name=name, **{option: value}, **beside), moved(name=name, **beside)
    assert not np.allclose(changed[0], plain[0])


def test_each_call_makes_a_fresh_one_with_the_rate_of_the_params():
    params = Optimizer(learning_rate=0.025)
    first, second = build_optimizer(params), build_optimizer(params)
    assert first is not second
    assert float(first.learning_rate) == pytest.approx(0.025)
