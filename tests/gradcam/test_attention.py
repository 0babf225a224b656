"""Where heat lies, for maps that can be measured by eye."""

import numpy as np
import pandas as pd
import pytest

from stages.gradcam.attention import attention, border_share, by_class, entropy, suspicion


def one_place(shape: tuple[int, int], row: int, column: int) -> np.ndarray:
    heat = np.zeros(shape, np.float32)
    heat[row, column] = 3
    return heat


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (10, 10), (16, 7)])
def test_an_even_map_has_its_border_s_share_of_the_area_there(shape):
    assert border_share(np.full(shape, 0.2, np.float32)) == pytest.approx(1 - 0.8**2)
    assert entropy(np.full(shape, 0.2, np.float32)) == pytest.approx(1)


def test_heat_in_a_corner_in_the_middle_and_across_the_limit():
    assert border_share(one_place((10, 10), 0, 9)) == 1
    assert border_share(one_place((10, 10), 5, 5)) == 0
    # A corner of five by five: half of its width and of its height lie on the inner side.
    assert border_share(one_place((5, 5), 4, 0)) == pytest.approx(0.75)
    assert border_share(one_place((5, 5), 4, 2)) == pytest.approx(0.5)


def test_heat_in_one_place_and_in_two_of_four():
    assert entropy(one_place((3, 3), 1, 1)) == 0
    assert entropy(np.array([[1.0, 0], [0, 1]])) == pytest.approx(0.5)


def test_a_map_that_is_zero_everywhere():
    found = attention(np.zeros((4, 3), np.float32))
    assert found == {"peak_x": 0.5, "peak_y": 0.5, "border": 0, "entropy": 1, "zero": True}


def test_the_wrong_ones_come_first_then_those_that_look_at_the_border():
    summary = pd.DataFrame(
        {
            "label": ["a", "a", "a", "a", "a"],
            "predicted": ["a", "b", "a", "a", "a"],
            "confidence": [0.9, 0.5, 0.6, 0.9, 0.9],
            "border": [0.8, 0.0, 0.8, 0.1, 0.0],
            "zero": [False, False, False, False, True],
        }
    )
    np.testing.assert_allclose(suspicion(summary), [0.72, 1.0, 0.48, 0.09, 0.9])


def test_of_numbers_the_residual_counts_up_to_four_times_the_usual_one():
    summary = pd.DataFrame(
        {"residual": [-2.0, 100, 0], "border": [0.1, 0.0, 0.3], "zero": [False] * 3}
    )
    np.testing.assert_allclose(suspicion(summary, rmse=1), [0.6, 1.0, 0.3])
    exact = summary.assign(residual=0.0)
    np.testing.assert_allclose(suspicion(exact, rmse=0), exact["border"])


def test_the_means_of_a_class_leave_out_zero_maps():
    summary = pd.DataFrame(
        {
            "border": [0.2, 0.4, 0.0, 0.0],
            "entropy": [0.5, 0.7, 1.0, 1.0],
            "peak_x": [0.1, 0.3, 0.5, 0.5],
            "peak_y": [0.2, 0.2, 0.5, 0.5],
            "zero": [False, False, True, True],
        }
    )
    table = by_class(summary, pd.Series(["a", "a", "a", "b"]))
    assert table["class"].tolist() == ["a", "b"] and table["images"].tolist() == [3, 1]
    np.testing.assert_allclose(table.iloc[0, 2:].astype(float), [0.3, 0.6, 0.2, 0.2])
    assert table.iloc[1, 2:].isna().all()
