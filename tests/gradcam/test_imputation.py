"""ROAD: imputed pixels solve the equation, and the rest of the photo stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.gradcam.imputation import fill, impute


def neighbours(image: np.ndarray, row: int, column: int) -> list[tuple[float, np.ndarray]]:
    """The weight and the value of each pixel around one."""
    found = []
    for r in range(max(0, row - 1), min(image.shape[0], row + 2)):
        for c in range(max(0, column - 1), min(image.shape[1], column + 2)):
            if (r, c) != (row, column):
                weight = 1 / 6 if r == row or c == column else 1 / 12
                found.append((weight, image[r, c]))
    return found


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 10**6))
def test_every_removed_pixel_is_the_weighted_mean_of_its_neighbours(height, width, seed):
    random = np.random.default_rng(seed)
    image = random.uniform(0, 255, (height, width, 2))
    removed = random.random((height, width)) < random.random()
    removed.flat[random.integers(removed.size)] = False
    filled = fill(image, removed)
    np.testing.assert_array_equal(filled[~removed], image[~removed])
    for row, column in np.argwhere(removed):
        weights, values = zip(*neighbours(filled, row, column), strict=True)
        np.testing.assert_allclose(filled[row, column], np.average(values, axis=0, weights=weights))


def test_a_hole_in_a_ramp_is_filled_with_the_ramp():
    y, x = np.mgrid[:12, :9].astype(float)
    ramp = (3 * x + 5 * y)[..., None]
    removed = (np.abs(y - 6) < 3) & (np.abs(x - 4) < 3)
    broken = np.where(removed[..., None], 999.0, ramp)
    np.testing.assert_allclose(fill(broken, removed), ramp)


def photo_and_heat(size: tuple[int, int], channels: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (*size, channels), dtype=np.uint8)
    return photo, random.permutation(photo[..., 0].size).reshape(size)


@pytest.mark.parametrize("channels", [1, 3])
def test_so_many_of_the_hottest_pixels_are_imputed_with_a_little_noise(channels):
    photo, heat = photo_and_heat((10, 20), channels)
    for share, imputed in zip([0.2, 0.5], impute(photo, heat, [0.2, 0.5], "0a"), strict=True):
        removed = heat >= heat.size * (1 - share)
        np.testing.assert_array_equal(imputed[~removed], photo[~removed])
        noise = imputed[removed] - fill(photo.astype(float), removed)[removed]
        assert 1 < np.std(noise) < 4


def test_the_id_decides_the_noise():
    photo, heat = photo_and_heat((8, 8), 3)
    first, again, other = (impute(photo, heat, [0.5], one) for one in ("0a", "0a", "0b"))
    assert (first == again).all() and (first != other).any()


def test_of_a_large_photo_blocks_are_removed():
    photo = np.full((300, 200, 3), 100, np.uint8)
    photo[:, 100:] = 200
    heat = np.tile(np.arange(200)[::-1], (300, 1)) * 300 + np.arange(300)[:, None]
    [imputed] = impute(photo, heat, [0.25], "0a")
    changed = (imputed != photo).any(axis=-1)
    assert not changed[:, 55:].any() and changed[:, :45].mean() > 0.9
    assert imputed[:, :45].mean() == pytest.approx(100, abs=1)
