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


def one_each(strata: np.ndarray) -> np.ndarray:
    """Membership of images that belong to one stratum each."""
    return np.eye(strata.max() + 1, dtype=np.int64)[strata]


@given(images, st.lists(st.floats(0.1, 10), min_size=2, max_size=6))
def test_no_group_is_ever_divided(members, ratios):
    groups, strata = map(np.array, zip(*members, strict=True))
    sides = allocate(names(groups), one_each(strata), np.array(ratios), by_hash)
    assert sides.shape == groups.shape
    assert set(sides) <= set(range(len(ratios)))
    for group in set(groups):
        assert len(set(sides[groups == group])) == 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=300))
def test_single_images_come_within_one_of_6_3_1_in_each_class(strata):
    strata = np.array(strata)
    sides = allocate(names(range(len(strata))), one_each(strata), RATIOS, by_hash)
    for stratum in set(strata):
        counts = np.bincount(sides[strata == stratum], minlength=3)
        assert (np.abs(counts - RATIOS / 10 * counts.sum()) < 1).all()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=100), st.integers(2, 10))
def test_single_images_make_folds_of_one_size_in_each_class(strata, folds):
    strata = np.array(strata)
    sides = allocate(names(range(len(strata))), one_each(strata), np.ones(folds), by_hash)
    for stratum in set(strata):
        counts = np.bincount(sides[strata == stratum], minlength=folds)
        assert counts.max() - counts.min() <= 1


@given(
    st.lists(st.integers(1, 100), min_size=2, max_size=5),
    st.lists(st.integers(0, 60), min_size=1, max_size=4),
)
def test_single_images_come_within_one_of_any_ratios(ratios, sizes):
    """In every class that is large enough for an image on each side; in others by what a side gives
    so that each gets one."""
    ratios = np.array(ratios)
    strata = np.repeat(range(len(sizes)), sizes).astype(int)
    sides = allocate(
        names(range(len(strata))), np.eye(len(sizes), dtype=int)[strata], ratios, by_hash
    )
    for stratum, size in enumerate(sizes):
        counts = np.bincount(sides[strata == stratum], minlength=len(ratios))
        exact = ratios / ratios.sum() * size
        off = 1 if exact.min() >= 1 or size < len(ratios) else len(ratios)
        assert (np.abs(counts - exact) < off).all()


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=40),
    st.sampled_from([(6, 3, 1), (1, 1, 1, 1, 1)]),
    st.booleans(),
)
def test_groups_of_up_to_m_images_come_within_m_in_each_class(members, ratios, of_one_class):
    """Also where the images of a group are of several classes."""
    if of_one_class:
        members = [[group[0]] * len(group) for group in members]
    sizes, ratios = [len(group) for group in members], np.array(ratios)
    groups = names(np.repeat(range(len(members)), sizes))
    strata = np.eye(4, dtype=int)[np.concatenate(members)]
    sides = allocate(groups, strata, ratios, by_hash)
    counts = np.array([strata[sides == side].sum(axis=0) for side in range(len(ratios))])
    exact = np.outer(ratios / ratios.sum(), strata.sum(axis=0))
    assert np.abs(counts - exact).max() <= max(sizes)


@pytest.mark.parametrize("count", [3, 4, 5, 9])
def test_three_images_are_enough_for_a_place_on_every_side(count):
    sides = allocate(names(range(count)), np.ones((count, 1), int), RATIOS, by_hash)
    assert set(sides) == {0, 1, 2}


def test_exact_ratios_are_met_exactly():
    strata = np.repeat([0, 1], [100, 20])
    sides = allocate(names(range(120)), one_each(strata), RATIOS, by_hash)
    assert np.bincount(sides[strata == 0]).tolist() == [60, 30, 10]
    assert np.bincount(sides[strata == 1]).tolist() == [12, 6, 2]


def test_large_groups_are_made_up_for_by_small_ones():
    """A video of 50 frames and 50 single photos still come to 60, 30 and 10."""
    groups = names([0] * 50 + list(range(1, 51)))
    sides = allocate(groups, np.ones((100, 1), int), RATIOS, by_hash)
    assert np.bincount(sides).tolist() == [60, 30, 10]
    assert set(sides[:50]) == {0}


@given(images, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_decides_nothing(members, random):
    order = list(range(len(members)))
    random.shuffle(order)
    groups, strata = map(np.array, zip(*members, strict=True))
    sides = allocate(names(groups), one_each(strata), RATIOS, by_hash)
    shuffled = allocate(names(groups[order]), one_each(strata)[order], RATIOS, by_hash)
    assert np.array_equal(shuffled, sides[order])


def test_another_priority_gives_another_allocation():
    strata = np.ones((100, 1), int)
    first = allocate(names(range(100)), strata, RATIOS, lambda group: digest(0, group))
    second = allocate(names(range(100)), strata, RATIOS, lambda group: digest(1, group))
    assert 20 < np.sum(first != second) < 80


def labels(count: int, shares: list[float], seed: int) -> np.ndarray:
    """Membership of images to which each of several labels applies in this share of cases."""
    applies = np.random.default_rng(seed).random((count, len(shares))) < shares
    none = ~applies.any(axis=1, keepdims=True)
    return np.hstack([applies, none]).astype(np.int64)


def deviation(sides: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """How far each side is from 6:3:1 in each stratum, as a share of the stratum, (3, s)."""
    counts = np.array([strata[sides == side].sum(axis=0) for side in range(3)])
    return np.abs(counts / strata.sum(axis=0) - RATIOS[:, None] / 10)


@given(st.integers(0, 1000))
def test_labels_rare_and_common_keep_the_ratios(seed):
    """By one image or two; a label of 20 images would at times come out 16:4:0 by chance."""
    strata = labels(1000, [0.02, 0.05, 0.2, 0.5], seed)
    sides = allocate(names(range(1000)), strata, RATIOS, by_hash)
    assert (deviation(sides, strata) * strata.sum(axis=0)).max() < 2
    assert np.abs(np.bincount(sides) / 1000 - RATIOS / 10).max() < 0.02


def test_labels_are_shared_out_better_than_by_chance():
    """Also where each image has many labels of the same share, so that all pull at once."""
    ours, by_chance = [], []
    for seed in range(10):
        strata = labels(300, [0.3] * 10, seed)
        sides = allocate(names(range(300)), strata, RATIOS, by_hash)
        ours.append(deviation(sides, strata).max())
        alike = allocate(names(range(300)), np.ones((300, 1), int), RATIOS, by_hash)
        by_chance.append(deviation(alike, strata).max())
    assert np.mean(ours) < 0.7 * np.mean(by_chance)


@given(st.lists(st.sampled_from([0.01, 0.1, 0.5]), min_size=1, max_size=8), st.integers(0, 99))
def test_the_rarest_label_comes_within_one_image(shares, seed):
    strata = labels(200, shares, seed)
    strata = strata[:, strata.any(axis=0)]
    sides = allocate(names(range(200)), strata, RATIOS, by_hash)
    rarest = strata.sum(axis=0).argmin()
    counts = np.array([strata[sides == side, rarest].sum() for side in range(3)])
    assert (np.abs(counts - RATIOS / 10 * counts.sum()) <= 1).all()


@given(st.integers(0, 99), st.integers(2, 60), st.randoms(use_true_random=False))
def test_with_several_labels_no_group_is_divided_and_no_order_counts(seed, groups, random):
    strata = labels(80, [0.1, 0.4], seed)
    members = names(np.random.default_rng(seed).integers(0, groups, 80))
    sides = allocate(members, strata, RATIOS, by_hash)
    for group in set(members):
        assert len(set(sides[members == group])) == 1
    order = list(range(80))
    random.shuffle(order)
    assert np.array_equal(allocate(members[order], strata[order], RATIOS, by_hash), sides[order])


def test_no_image_makes_no_side():
    assert allocate(names([]), np.ones((0, 2), int), RATIOS, by_hash).tolist() == []
