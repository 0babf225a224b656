import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.randomness import digest
from stages.split.allocate import allocate

RATIOS = np.array([6, 3, 1])
images = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=150)


def by_hash(group: str) -> bytes:
    return digest("test", group)


def names(numbers: list[int]) -> np.ndarray:
    return np.array([f"group {number}" for number in numbers])


@given(images, st.lists(st.floats(0.1, 10), min_size=2, max_size=6))
def test_no_group_is_ever_divided(members, ratios):
    groups, strata = map(np.array, zip(*members, strict=True))
    sides = allocate(names(groups), strata, np.array(ratios), by_hash)
    assert sides.shape == groups.shape
    assert set(sides) <= set(range(len(ratios)))
    for group in set(groups):
        assert len(set(sides[groups == group])) == 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=300))
def test_single_images_come_within_one_of_6_3_1_in_each_class(strata):
    strata = np.array(strata)
    sides = allocate(names(range(len(strata))), strata, RATIOS, by_hash)
    for stratum in set(strata):
        counts = np.bincount(sides[strata == stratum], minlength=3)
        assert (np.abs(counts - RATIOS / 10 * counts.sum()) < 1).all()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=100), st.integers(2, 10))
def test_single_images_make_folds_of_one_size_in_each_class(strata, folds):
    strata = np.array(strata)
    sides = allocate(names(range(len(strata))), strata, np.ones(folds), by_hash)
    for stratum in set(strata):
        counts = np.bincount(sides[strata == stratum], minlength=folds)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("count", [3, 4, 5, 9])
def test_three_images_are_enough_for_a_place_on_every_side(count):
    sides = allocate(names(range(count)), np.zeros(count, int), RATIOS, by_hash)
    assert set(sides) == {0, 1, 2}


def test_exact_ratios_are_met_exactly():
    strata = np.repeat([0, 1], [100, 20])
    sides = allocate(names(range(120)), strata, RATIOS, by_hash)
    assert np.bincount(sides[strata == 0]).tolist() == [60, 30, 10]
    assert np.bincount(sides[strata == 1]).tolist() == [12, 6, 2]


def test_large_groups_are_made_up_for_by_small_ones():
    """A video of 50 frames and 50 single photos still come to 60, 30 and 10."""
    groups = names([0] * 50 + list(range(1, 51)))
    sides = allocate(groups, np.zeros(100, int), RATIOS, by_hash)
    assert np.bincount(sides).tolist() == [60, 30, 10]
    assert set(sides[:50]) == {0}


@given(images, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_decides_nothing(members, random):
    order = list(range(len(members)))
    random.shuffle(order)
    groups, strata = map(np.array, zip(*members, strict=True))
    sides = allocate(names(groups), strata, RATIOS, by_hash)
    shuffled = allocate(names(groups[order]), strata[order], RATIOS, by_hash)
    assert np.array_equal(shuffled, sides[order])


def test_another_priority_gives_another_allocation():
    strata = np.zeros(100, int)
    first = allocate(names(range(100)), strata, RATIOS, lambda group: digest(0, group))
    second = allocate(names(range(100)), strata, RATIOS, lambda group: digest(1, group))
    assert 20 < np.sum(first != second) < 80
