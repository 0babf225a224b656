import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.ingest import scratch
from stages.ingest.scratch import Part, ScratchList, ScratchTexts, scratch_array


@pytest.fixture(autouse=True)
def small_blocks(tmp_path_factory, monkeypatch):
    """A cache of its own, and blocks so small that a few items fill several."""
    monkeypatch.setenv("DARKROOM_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(scratch, "_BLOCK", 3)
    monkeypatch.setattr(scratch, "_RUN", 5)
    monkeypatch.setattr(scratch, "_SMALL", 16)


@given(st.lists(st.text(max_size=3), max_size=20), st.data())
def test_a_list_gives_back_what_was_added(items, data):
    found = ScratchList(items)
    assert list(found) == items and len(found) == len(items)
    assert [found[place] for place in range(-len(items), len(items))] == items + items
    cut = data.draw(st.slices(20))
    assert found[cut] == items[cut]
    assert list(found + ScratchList(items[:4])) == items + items[:4]
    with pytest.raises(IndexError):
        found[len(items)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers()), max_size=40))
def test_a_list_is_sorted_as_python_does_it(items):
    assert list(ScratchList(items).sorted(key=lambda item: item[0])) == sorted(
        items, key=lambda item: item[0]
    )


def test_an_ordered_list_is_not_written_again():
    ordered = ScratchList(range(20))
    assert ordered.sorted(key=lambda item: item) is ordered


def test_a_part_is_sent_as_its_items_alone():
    part = Part(ScratchList("abcdefghij"), slice(2, 9))
    assert list(part) == list("cdefghi") and len(part) == 7
    assert pickle.loads(pickle.dumps(part)) == list("cdefghi")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_texts_come_back_by_number(texts):
    kept = ScratchTexts(texts, len(texts))
    assert kept.take(range(len(texts) - 1, -1, -1)) == texts[::-1]


def test_what_is_large_lies_in_no_named_file(tmp_path, monkeypatch):
    monkeypatch.setenv("DARKROOM_CACHE", str(tmp_path))
    array = scratch_array((10, 4), np.int64)
    assert not array.any() and array.shape == (10, 4)
    assert isinstance(array.base, np.memmap)
    assert list(tmp_path.iterdir()) == []
