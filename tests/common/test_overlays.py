"""Heat maps over photos, by what is seen where."""

import numpy as np
import pytest
from PIL import Image

from stages.common.overlays import heated, overlay, shown_photo


def halves(photo: np.ndarray, heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The photo and the photo under its heat, as float values."""
    pair = np.asarray(overlay(photo, heat)).astype(float)
    return pair[:, : pair.shape[1] // 2], pair[:, pair.shape[1] // 2 :]


def test_the_photo_stands_beside_itself_under_the_heat():
    photo = np.full((20, 30, 3), (10, 60, 200), np.uint8)
    heat = np.zeros((2, 3))
    heat[1, 2] = 7.0
    left, right = halves(photo, heat)
    assert left.shape == right.shape == (192, 288, 3)
    assert (left == (10, 60, 200)).all()
    assert (right[:48, :96] == left[:48, :96]).all()
    # The hottest place shows the brightest colour of inferno at 60 %.
    brightest = 0.6 * np.array([252, 255, 164]) + 0.4 * np.array([10, 60, 200])
    np.testing.assert_allclose(right[-1, -1], brightest, atol=2)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_how_hot_it_is_in_all_changes_nothing(scale):
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    heat = np.random.default_rng(1).random((4, 4))
    np.testing.assert_allclose(halves(photo, scale * heat), halves(photo, heat), atol=1)


def test_a_map_that_is_zero_everywhere_leaves_the_photo():
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 1), np.uint8)
    left, right = halves(photo, np.zeros((4, 4)))
    np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((30, 60, 3), (192, 96)), ((60, 30, 1), (96, 192)), ((400, 400, 3), (192, 192))],
)
def test_the_longest_side_of_a_shown_photo_is_192_pixels(shape, size):
    picture = shown_photo(np.full(shape, 70, np.uint8))
    assert (picture.mode, picture.size) == ("RGB", size)
    assert (np.asarray(picture) == 70).all()
    assert max(shown_photo(np.zeros(shape, np.uint8), 50).size) == 50


def test_a_heated_picture_has_the_size_of_the_picture():
    picture = Image.new("RGB", (33, 21), (10, 60, 200))
    under = np.asarray(heated(picture, np.array([[1.0, 0.0]])))
    assert under.shape == (21, 33, 3)
    assert (under[:, -5:] == (10, 60, 200)).all() and (under[:, 0] != (10, 60, 200)).any()
