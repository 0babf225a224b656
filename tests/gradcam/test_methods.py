"""When a method counts as better than the controls."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.gradcam.methods import compare, interval, judgement, within_images

MEANS = {
    "good": (0.2, 0.9),
    "lucky": (0.2, 0.5),
    "middling": (0.35, 0.7),
    "random": (0.5, 0.5),
    "centre": (0.3, 0.8),
}
"""Of deletion and insertion."""
VERDICTS = {"good": True, "lucky": False, "middling": False}


def table(images: int) -> pd.DataFrame:
    """Measures of each image around these means."""
    random = np.random.default_rng(0)
    rows = [
        {
            "id": f"{number:04}",
            "method": method,
            "deletion": deletion + random.normal(0, 0.1),
            "insertion": insertion + random.normal(0, 0.1),
            "road": 0.5,
            "sensitivity": 0.1,
        }
        for number in range(images)
        for method, (deletion, insertion) in MEANS.items()
    ]
    return pd.DataFrame(rows)


def test_a_method_must_beat_both_controls_in_deletion_and_insertion():
    compared = compare(table(50), {"good": 3})
    assert judgement(compared) == VERDICTS
    by_method = compared.set_index("method")
    assert by_method["is_control"].tolist() == [False, False, False, True, True]
    assert by_method["zero"].tolist() == [3, 0, 0, 0, 0] and (by_method["images"] == 50).all()
    assert by_method.loc[["random", "centre"], "beats_controls"].isna().all()
    assert (by_method["deletion_low"] < by_method["deletion"]).all()
    assert (by_method["deletion"] < by_method["deletion_high"]).all()


def test_differences_are_taken_on_the_same_image():
    """Images differ by far more than the methods do, but always in the same direction."""
    far = table(20)
    far["deletion"] += far["id"].astype(int) * 10
    assert judgement(compare(far, {})) == VERDICTS


def test_the_lead_is_over_the_control_that_comes_closest():
    compared = compare(table(50), {}).set_index("method")
    # Of "good" 0.3 less 0.2 in deletion and 0.9 less 0.8 in insertion, both against "centre".
    for measure in ("deletion", "insertion"):
        names = [f"{measure}_lead{end}" for end in ("_low", "", "_high")]
        low, mean, high = compared.loc["good", names]
        assert 0 < low < mean < high and mean == pytest.approx(0.1, abs=0.05)
        assert compared.loc["middling", f"{measure}_lead"] < 0
    assert compared.loc[["random", "centre"], "deletion_lead"].isna().all()


def test_intervals_tell_how_methods_differ_and_not_how_images_do():
    even, far = table(20), table(20)
    far["insertion"] += far["id"].astype(int) * 10
    good, same = (compare(one, {}).set_index("method").loc["good"] for one in (even, far))
    for end in ("_low", "_high"):
        assert good[f"insertion{end}"] - good["insertion"] == pytest.approx(
            same[f"insertion{end}"] - same["insertion"]
        )


def test_of_two_methods_the_interval_is_that_of_their_difference():
    """Its reach is that of the difference, divided by the square root of 2."""
    values = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    found = within_images(values)
    difference = interval((values["a"] - values["b"]).to_numpy())
    for name in values:
        low, high = interval(found[name].to_numpy())
        assert (low + high) / 2 == pytest.approx(values[name].mean())
        assert high - low == pytest.approx((difference[1] - difference[0]) / np.sqrt(2))


def test_a_single_image_proves_nothing():
    compared = compare(table(1), {})
    assert not any(judgement(compared).values())
    assert compared["deletion_low"].isna().all()


def test_the_interval_is_that_of_students_t():
    values = np.random.default_rng(0).normal(3, 2, 30)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values) == pytest.approx((expected.low, expected.high))
    assert interval(np.full(5, 2.0)) == (2, 2)
