import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.pixels import rescaled, unscaled

EVERY_VALUE = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)


@pytest.mark.parametrize("rescale", [1 / 255, 1.0, 2.0])
def test_a_factor_makes_float32(rescale):
    scaled = rescaled(EVERY_VALUE, rescale)
    assert scaled.dtype == np.float32
    assert scaled == pytest.approx(EVERY_VALUE * rescale, rel=1e-6)


def test_without_a_factor_nothing_happens():
    assert rescaled(EVERY_VALUE, None).dtype == np.uint8
    assert np.array_equal(rescaled(EVERY_VALUE, None), EVERY_VALUE)
    assert unscaled(EVERY_VALUE, None) is EVERY_VALUE


@pytest.mark.parametrize("rescale", [None, 1 / 255])
def test_a_factor_writes_into_a_row_of_a_shard(rescale):
    expected = rescaled(EVERY_VALUE, rescale)
    shard = np.zeros((2, *expected.shape), expected.dtype)
    rescaled(EVERY_VALUE, rescale, out=shard[1])
    assert np.array_equal(shard, [np.zeros_like(expected), expected])


@given(st.floats(1e-6, 1e6))
def test_a_factor_is_undone_exactly(rescale):
    restored = unscaled(rescaled(EVERY_VALUE, rescale), rescale)
    assert restored.dtype == np.uint8
    assert np.array_equal(restored, EVERY_VALUE)


def test_originals_beside_rescaled_variants_are_left_alone():
    assert unscaled(EVERY_VALUE, 1 / 255) is EVERY_VALUE
