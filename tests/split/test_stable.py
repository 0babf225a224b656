import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.common.params import Ratios, Split
from stages.split.assign import share_out
from stages.split.stable import draw

RATIOS = np.array([6, 3, 1])
groups_of_images = st.lists(st.integers(0, 60), max_size=100)


def names(numbers) -> np.ndarray:
    return np.array([f"{number:016x}" for number in numbers], dtype="U16")


@given(groups_of_images, groups_of_images)
def test_a_group_stands_where_it_would_stand_alone(some, others):
    some, others = names(some), names(others)
    together = draw(np.concatenate([others, some]), RATIOS, 0, "side")
    assert np.array_equal(together[len(others) :], draw(some, RATIOS, 0, "side"))
    for group, side in zip(some, together[len(others) :], strict=True):
        assert draw(np.array([group]), RATIOS, 0, "side") == [side]


def test_the_ratios_hold_on_average():
    """Of 100,000 groups within three standard deviations."""
    counts = np.bincount(draw(names(range(100_000)), RATIOS, 0, "side"))
    expected, deviation = 100_000 * RATIOS / 10, np.sqrt(100_000 * RATIOS / 10 * (1 - RATIOS / 10))
    assert (np.abs(counts - expected) < 3 * deviation).all()


def test_only_the_proportions_of_the_ratios_count():
    groups = names(range(1000))
    shares = draw(groups, np.array([0.6, 0.3, 0.1]), 0, "side")
    assert np.array_equal(shares, draw(groups, RATIOS, 0, "side"))


def test_another_seed_or_purpose_draws_independently():
    groups = names(range(2000))
    first = draw(groups, np.ones(4), 0, "fold")
    for other in (draw(groups, np.ones(4), 1, "fold"), draw(groups, np.ones(4), 0, "fold_2")):
        assert 0.2 < np.mean(first == other) < 0.3


def test_no_images_make_no_sides():
    assert draw(names([]), RATIOS, 0, "side").tolist() == []


def test_a_label_changes_nothing_of_a_stable_split_nor_do_stratify_and_kind():
    groups, anywhere = names(range(300)), np.ones((300, 3), bool)
    first = share_out(groups, np.ones((300, 1), int), anywhere, Split(assignment="stable"))
    strata = np.eye(3, dtype=int)[np.arange(300) % 3]
    other = Split(assignment="stable", stratify=False, kind="KFold")
    assert all(map(np.array_equal, first, share_out(groups, strata, anywhere, other)))


def test_more_for_train_moves_images_to_train_alone():
    groups, anywhere = names(range(500)), np.ones((500, 3), bool)
    strata = np.ones((500, 1), int)
    first, _ = share_out(groups, strata, anywhere, Split(assignment="stable"))
    ratios = Ratios(train=8, validation=3, test=1)
    second, _ = share_out(groups, strata, anywhere, Split(assignment="stable", ratios=ratios))
    assert (second[first == 0] == 0).all()
