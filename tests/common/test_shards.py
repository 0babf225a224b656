import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.shards import cut_shards, part_name


def make_ids(count: int, seed: int = 0) -> list[str]:
    numbers = np.random.default_rng(seed).integers(0, 2**63, count)
    return sorted(f"{number:016x}" for number in numbers)


def members(ids: list[str], mean: int = 32) -> set[tuple[str, ...]]:
    return {tuple(ids[cut]) for cut in cut_shards(ids, mean)}


@given(count=st.integers(0, 3000), mean=st.integers(8, 200), seed=st.integers(0, 2**32 - 1))
def test_shards_cover_all_images_once_and_in_order(count, mean, seed):
    ids = make_ids(count, seed)
    cuts = cut_shards(ids, mean)
    assert [one for cut in cuts for one in ids[cut]] == ids
    sizes = [cut.stop - cut.start for cut in cuts]
    assert all(mean // 4 <= size <= 8 * mean for size in sizes[:-1])
    assert all(1 <= size <= 8 * mean for size in sizes[-1:])


def test_no_shard_is_larger_than_the_limit_even_if_no_id_marks_its_end():
    never_marked = ["0000000000000001"] * (2 * 256 + 5)
    assert [cut.stop - cut.start for cut in cut_shards(never_marked, 32)] == [256, 256, 5]


def test_no_shard_is_smaller_than_the_limit_even_if_every_id_marks_an_end():
    always_marked = ["0000000000000000"] * (2 * 8 + 5)
    assert [cut.stop - cut.start for cut in cut_shards(always_marked, 32)] == [8, 8, 5]


@pytest.mark.parametrize("mean", [8, 32, 96, 1000])
def test_a_shard_holds_about_as_many_images_as_asked_for(mean):
    ids = make_ids(500 * mean)
    assert len(ids) / len(cut_shards(ids, mean)) == pytest.approx(mean, rel=0.15)


@given(count=st.integers(1, 3000), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_an_image_more_or_less_changes_few_shards(count, seed, data):
    ids = make_ids(count, seed)
    without = data.draw(st.integers(0, count - 1))
    fewer = ids[:without] + ids[without + 1 :]
    # Where several marks lie close together, a shifted end takes some shards to fall in again.
    assert len(members(ids) - members(fewer)) <= 4
    assert len(members(fewer) - members(ids)) <= 4


def test_an_image_more_changes_hardly_ever_more_than_two_shards():
    written = []
    for seed in range(300):
        ids = make_ids(2000, seed)
        more = sorted([*ids, *make_ids(1, seed + 1000)])
        written.append(len(members(more) - members(ids)))
    assert np.mean(written) < 1.1
    assert np.mean(np.array(written) <= 2) > 0.99


def test_a_part_is_named_after_its_images_in_their_order():
    names = {part_name(ids) for ids in (["a", "b"], ["b", "a"], ["a"], ["ab"], ["a", "b", "c"])}
    assert len(names) == 5
    assert part_name(["a", "b"]) == part_name(("a", "b"))
