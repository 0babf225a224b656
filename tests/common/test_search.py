"""Grids and random searches written out: every combination, within the ranges, always the same."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.search import expand, where_set


def drawn(count: int, choice: object, seed: int = 0) -> list:
    """Return what `count` random candidates say of one key."""
    found = expand("net", {"random": {"n": count, "over": {"knob": choice}, "seed": seed}})
    return [overrides["knob"] for overrides in found.values()]


def test_a_plain_entry_keeps_its_name_and_its_overrides():
    entry = {"epochs": 5, "head": {"dropout": 0.5}}
    assert expand("net", entry) == {"net": entry}


def test_a_grid_is_every_combination_in_the_order_of_its_lists():
    grid = {"epochs": [1, 2], "head.dropout": [0, 0.5]}
    assert expand("net", {"grid": grid}) == {
        "net-1": {"epochs": 1, "head": {"dropout": 0}},
        "net-2": {"epochs": 1, "head": {"dropout": 0.5}},
        "net-3": {"epochs": 2, "head": {"dropout": 0}},
        "net-4": {"epochs": 2, "head": {"dropout": 0.5}},
    }


def test_what_stands_beside_a_grid_is_in_every_candidate_and_stays_as_it_is():
    entry = {
        "head": {"normalize": False},
        "grid": {"head.dropout": [0.1, 0.2], "optimizer.a.b": [3]},
    }
    found = expand("net", entry)
    assert found["net-2"] == {
        "head": {"normalize": False, "dropout": 0.2},
        "optimizer": {"a": {"b": 3}},
    }
    assert entry["head"] == {"normalize": False}


def test_a_grid_and_a_random_search_are_combined():
    search = {"n": 3, "over": {"epochs": {"low": 1, "high": 100}}}
    found = list(expand("net", {"grid": {"batch_size": [8, 16]}, "random": search}).values())
    assert [one["batch_size"] for one in found] == [8] * 3 + [16] * 3
    assert [one["epochs"] for one in found[:3]] == [one["epochs"] for one in found[3:]]


def test_draws_of_a_list_are_its_values_alike_often():
    found = drawn(600, ["relu", "tanh", "mish"])
    counts = [found.count(name) for name in ("relu", "tanh", "mish")]
    assert sum(counts) == 600
    assert min(counts) > 150


def test_whole_ends_give_whole_numbers_and_both_ends_are_drawn():
    found = drawn(300, {"low": 2, "high": 5})
    assert set(found) == {2, 3, 4, 5}
    assert all(type(one) is int for one in found)


def test_a_fraction_at_an_end_gives_fractions():
    found = drawn(300, {"low": 0, "high": 0.5})
    assert all(type(one) is float for one in found)
    assert np.mean(found) == pytest.approx(0.25, abs=0.03)
    assert np.ptp(found) > 0.45


def test_a_logarithmic_range_gives_every_power_of_ten_alike_often():
    found = drawn(600, {"low": 1e-4, "high": 1e-1, "log": True})
    decades = np.bincount([math.floor(math.log10(one)) + 4 for one in found])
    assert len(decades) == 3
    assert decades.min() > 150


def test_a_logarithmic_range_of_whole_numbers_gives_whole_numbers():
    found = drawn(600, {"low": 1, "high": 64, "log": True})
    assert all(type(one) is int for one in found)
    assert (min(found), max(found)) == (1, 64)
    # Below 8 lies half of the logarithm, above it half.
    assert np.mean([one < 8 for one in found]) == pytest.approx(0.5, abs=0.08)


@given(
    low=st.floats(1e-6, 1e3),
    factor=st.floats(1.00001, 1e4),
    log=st.booleans(),
    seed=st.integers(0, 99),
)
def test_no_draw_leaves_its_range(low, factor, log, seed):
    high = low * factor
    assert all(
        low <= one <= high for one in drawn(20, {"low": low, "high": high, "log": log}, seed)
    )


def test_draws_have_few_digits():
    assert all(one == float(f"{one:.4g}") for one in drawn(50, {"low": 0.001, "high": 0.1}))


def test_the_draws_are_those_of_the_seed_and_the_name():
    over = {"a": {"low": 0.0, "high": 1.0}, "b": {"low": 0.0, "high": 1.0}}

    def values(name: str = "net", **search: object) -> list:
        return list(expand(name, {"random": {"n": 4, "over": over, **search}}).values())

    assert values() == values(seed=0)
    assert values(n=2) == values()[:2]
    assert values(seed=1) != values()
    assert values("other") != values()
    assert len({one["a"] for one in values()} | {one["b"] for one in values()}) == 8


def test_another_key_beside_changes_no_draw():
    over = {"a": {"low": 0.0, "high": 1.0}}
    alone = expand("net", {"random": {"n": 3, "over": over}})
    beside = expand("net", {"random": {"n": 3, "over": {"b": [1, 2], **over}}})
    assert [one["a"] for one in alone.values()] == [one["a"] for one in beside.values()]


OVER = {"epochs": [1]}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"grid": {"epochs": 5}}, "candidates.net.grid.epochs: expected a list"),
        ({"grid": {"epochs": []}}, "candidates.net.grid.epochs: expected a list"),
        ({"grid": {}}, "candidates.net.grid: expected a list of values for each key"),
        ({"grid": [1, 2]}, "candidates.net.grid: expected a list of values for each key"),
        ({"grid": {5: [1]}}, "candidates.net.grid.5: expected a key of training"),
        ({"random": 5}, "candidates.net.random: expected {n, over}"),
        ({"random": {"n": 2, "ovr": OVER}}, "candidates.net.random.ovr: .*did you mean 'over'"),
        ({"random": {"n": 0, "over": OVER}}, "candidates.net.random.n: .* received 0"),
        ({"random": {"n": True, "over": OVER}}, "candidates.net.random.n: .* received True"),
        ({"random": {"over": OVER}}, "candidates.net.random.n: .* received None"),
        ({"random": {"n": 2, "seed": "a", "over": OVER}}, "candidates.net.random.seed: .* 'a'"),
        ({"random": {"n": 2}}, "candidates.net.random.over: .* received None"),
        ({"random": {"n": 2, "over": {}}}, "candidates.net.random.over: .* received {}"),
        (
            {"grid": OVER, "random": {"n": 2, "over": OVER}},
            "candidates.net.random.over.epochs: expected what grid does not vary",
        ),
    ],
)
def test_a_wrong_grid_or_search_is_refused(entry, message):
    with pytest.raises(ValueError, match=message) as refusal:
        expand("net", entry)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "choice",
    [
        *(5, [], {"low": 1}, {"low": 1, "high": 1}, {"low": 2, "high": 1}),
        *({"low": 1, "high": "2"}, {"low": 1, "high": 2, "lg": True}),
        *({"low": 0, "high": 1, "log": True}, {"low": 1, "high": 2, "log": "yes"}),
    ],
    ids=str,
)
def test_a_wrong_range_is_refused(choice):
    with pytest.raises(ValueError, match=r"candidates\.net\.random\.over\.knob: expected"):
        drawn(2, choice)


ENTRY = {
    "head": {"dropout": 0.5},
    "loss": "auto",
    "grid": {"optimizer.name": ["sgd", "adam"], "schedule": [{"name": "cosine"}]},
    "random": {"n": 2, "over": {"batch_size": [8, 16]}},
}


@pytest.mark.parametrize(
    ("knob", "expected"),
    [
        ("head.dropout", "candidates.net.head.dropout"),
        ("head.normalize", None),
        ("loss", "candidates.net.loss"),
        ("optimizer.name", "candidates.net.grid.optimizer.name"),
        ("optimizer.decay", None),
        ("schedule.name", "candidates.net.grid.schedule"),
        ("batch_size", "candidates.net.random.over.batch_size"),
        ("epochs", None),
    ],
)
def test_where_an_entry_sets_a_knob(knob, expected):
    assert where_set(knob, "net", ENTRY) == expected
