"""The maps that know nothing of the model."""

import numpy as np

from stages.gradcam.controls import centred_map, random_map


def test_random_spots_are_smooth_and_decided_by_the_id():
    heat = random_map("0a", (20, 30))
    assert heat.shape == (20, 30) and heat.min() == 0 and heat.max() == 1
    np.testing.assert_array_equal(heat, random_map("0a", (20, 30)))
    assert abs(np.corrcoef(heat.ravel(), random_map("0b", (20, 30)).ravel())[0, 1]) < 0.5
    neighbours = np.corrcoef(heat[:, 1:].ravel(), heat[:, :-1].ravel())[0, 1]
    assert neighbours > 0.5


def test_the_blob_is_hottest_in_the_middle_and_the_same_on_each_side():
    heat = centred_map("0a", (9, 5))
    assert np.unravel_index(heat.argmax(), heat.shape) == (4, 2)
    np.testing.assert_allclose(heat, heat[::-1, ::-1], rtol=1e-5)
    assert (np.diff(heat[:5], axis=0) > 0).all()


def test_a_map_of_a_single_place():
    assert np.isfinite(random_map("0a", (1, 1))).all()
    assert centred_map("0a", (1, 1)).tolist() == [[1]]
