"""Measures of heat maps, for models of which they can be computed by hand."""

import numpy as np
import pytest

from stages.gradcam.faithfulness import Faithfulness, area, hottest_first, largest_change, replaced

SIZE = (16, 16)
TRUE = np.zeros((4, 4), np.float32)
TRUE[:2, :2] = 1
PHOTO = np.zeros((*SIZE, 1), np.uint8)
PHOTO[:8, :8] = 240  # mean 60
BLANK = 60 / 240


def corner(images: np.ndarray) -> np.ndarray:
    """A model that looks at the top left quarter alone: 1 if that is as in the photo."""
    return images[:, :8, :8].mean(axis=(1, 2)) / 240


def measure(photo: np.ndarray = PHOTO, **heats: np.ndarray) -> dict[str, dict]:
    """The row of each map and control; the maps do not change with the photo."""

    def maps(images: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.stack([heat] * len(images)) for name, heat in heats.items()}

    faithfulness = Faithfulness(corner, maps, lambda outputs, weights: outputs[:, 0])
    rows = faithfulness("0" * 16, photo, np.ones(1, np.float32), heats)
    return {row["method"]: row for row in rows}


def test_the_areas_of_a_map_that_is_right_and_of_its_opposite():
    sharp = np.kron(TRUE, np.ones((4, 4), np.float32))  # nothing to interpolate
    rows = measure(right=sharp, wrong=1 - sharp)
    # The corner is a quarter of the pixels, and the score is linear in how many of it are there.
    slope, blank, whole = 0.25 * (1 + BLANK) / 2, 0.75 * BLANK, 0.75
    assert rows["right"]["deletion"] == pytest.approx(slope + blank)
    assert rows["right"]["insertion"] == pytest.approx(slope + whole)
    assert rows["wrong"]["deletion"] == pytest.approx(slope + whole)
    assert rows["wrong"]["insertion"] == pytest.approx(slope + blank)


def test_a_right_map_does_better_than_the_controls_and_a_wrong_one_worse():
    rows = measure(right=TRUE, wrong=1 - TRUE)
    for control in ("random", "centre"):
        assert rows["right"]["deletion"] < rows[control]["deletion"] < rows["wrong"]["deletion"]
        assert rows["right"]["insertion"] > rows[control]["insertion"] > rows["wrong"]["insertion"]
        assert rows["right"]["road"] < rows[control]["road"] < rows["wrong"]["road"]
        assert rows[control]["sensitivity"] == 0


def test_a_map_that_is_zero_everywhere_is_measured_as_the_random_one():
    rows = measure(zero=np.zeros((4, 4), np.float32))
    assert rows["zero"] == {**rows["random"], "method": "zero"}


def test_a_photo_of_one_colour_has_the_same_score_in_every_step():
    rows = measure(np.full((*SIZE, 1), 120, np.uint8), right=TRUE)
    assert rows["right"]["deletion"] == rows["right"]["insertion"] == pytest.approx(0.5)


def test_ranks_follow_the_heat_and_among_equals_the_other_map():
    heat = np.array([[0.0, 0.0], [5.0, 0.0]])
    other = np.array([[0.1, 0.3], [0.0, 0.2]])
    assert hottest_first(heat, other, (2, 2)).tolist() == [[3, 1], [0, 2]]


def test_each_step_replaces_as_many_pixels_in_all_channels():
    old, new = np.zeros((2, 4, 3), np.uint8), np.full((2, 4, 3), 9, np.uint8)
    ranks = np.arange(8).reshape(2, 4)[::-1]
    steps = replaced(old, new, ranks, 4)
    assert steps.shape == (3, 2, 4, 3)
    assert [(one == 9).all(axis=-1).sum() for one in steps] == [2, 4, 6]
    assert steps[0, 1].tolist() == [[9, 9, 9]] * 2 + [[0, 0, 0]] * 2


def test_area_under_a_line_and_under_a_step():
    assert area([0.0, 0.5, 1.0]) == 0.5
    assert area([1.0, 1.0, 0.0, 0.0, 0.0]) == 0.375


def test_the_largest_change_is_relative_to_the_norm_of_the_map():
    heat = np.array([[3.0, 4.0]])
    changed = np.array([[[3.0, 4.0]], [[3.0, 2.0]], [[4.0, 4.0]]])
    assert largest_change(heat, changed) == pytest.approx(2 / 5)
    zero = np.zeros((1, 2))
    assert largest_change(zero, np.zeros((3, 1, 2))) == 0
    assert largest_change(zero, changed) == 1


def test_sensitivity_sees_the_photo_under_small_noise_that_the_id_decides():
    seen = []

    def maps(images: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(images)
        return {"one": images[..., 0].astype(np.float32)}

    faithfulness = Faithfulness(corner, maps, lambda outputs, weights: outputs[:, 0])
    heat = PHOTO[..., 0].astype(np.float32)
    rows = [faithfulness(one, PHOTO, np.ones(1), {"one": heat})[0] for one in ("0a", "0a", "0b")]
    assert rows[0] == rows[1] and rows[0]["sensitivity"] != rows[2]["sensitivity"]
    change = seen[0].astype(int) - PHOTO
    assert 1 <= np.abs(change).max() <= 8
    expected = max(np.linalg.norm(one) for one in change) / np.linalg.norm(PHOTO.astype(float))
    assert rows[0]["sensitivity"] == pytest.approx(expected, rel=1e-5)
