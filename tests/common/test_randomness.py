import numpy as np
import pytest

from stages.common.randomness import digest, generator, uniforms


def test_the_draws_are_the_same_on_every_machine():
    """These numbers were drawn once; other ones would give every user another data set."""
    draws = generator(0, "augment", "0123456789abcdef", 1).integers(0, 1000, 5)
    assert draws.tolist() == [721, 414, 310, 577, 637]


def test_a_draw_does_not_depend_on_the_order_of_calls():
    ids = [f"{number:016x}" for number in range(20)]
    forwards = {one: generator(7, "augment", one, 1).random() for one in ids}
    backwards = {one: generator(7, "augment", one, 1).random() for one in reversed(ids)}
    assert forwards == backwards


@pytest.mark.parametrize(
    "other", [(1, "augment", "a", 1), (0, "side", "a", 1), (0, "augment", "b", 1)]
)
def test_seed_purpose_and_thing_each_change_the_draw(other):
    assert generator(0, "augment", "a", 1).random() != generator(*other).random()


def test_variants_of_one_image_are_unlike():
    first = generator(0, "augment", "a", 1).random(1000)
    second = generator(0, "augment", "a", 2).random(1000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


def test_first_draws_over_images_are_uniform():
    draws = [generator(0, "augment", f"{number:016x}", 1).random() for number in range(2000)]
    assert np.mean(draws) == pytest.approx(0.5, abs=0.03)
    assert np.std(draws) == pytest.approx(12**-0.5, abs=0.03)


def test_parts_are_not_run_together():
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("c", "ab")}) == 4
    assert len(digest("a")) == 32


def test_uniforms_are_the_same_on_every_machine():
    """As above: these numbers were drawn once."""
    draws = uniforms(3, 0, "augment", "0123456789abcdef", 1)
    assert draws == [0.21393482319826052, 0.03298169763469716, 0.6681844567307939]


def test_fewer_uniforms_are_the_first_of_more():
    assert uniforms(9, 7, "augment", "a")[:4] == uniforms(4, 7, "augment", "a")
    assert uniforms(0, 7, "augment", "a") == []


def test_uniforms_fill_the_interval_evenly_and_do_not_follow_each_other():
    draws = np.array([uniforms(5, 0, "augment", number) for number in range(4000)])
    counts = np.apply_along_axis(lambda one: np.histogram(one, 10, (0, 1))[0], 0, draws)
    assert np.abs(counts - 400).max() < 4.5 * 400**0.5
    unlike = np.corrcoef(draws.T) - np.eye(5)
    assert np.abs(unlike).max() < 0.07
    assert 0 <= draws.min() < draws.max() < 1
