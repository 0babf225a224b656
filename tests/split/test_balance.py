import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from stages.common.params import Split
from stages.split.balance import compare_ratios, largest_deviation, missing
from stages.split.drawing import draw_balance

SPLIT = Split(folds=2)


def one_each(numbers: list[int]) -> np.ndarray:
    return np.eye(max(numbers) + 1, dtype=int)[numbers]


def table(sides: list[str], folds: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"id": range(len(sides)), "split": sides, "fold": folds})


def many(classes: int, images: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Images of each class, of which the first class alone has its ratios."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), images)
    sides = random.choice(["train", "validation", "test"], len(labels), p=[0.6, 0.3, 0.1])
    sides[:images] = np.repeat(["train", "validation", "test"], np.array([6, 3, 1]) * images // 10)
    folds = np.where(sides == "test", -1, random.integers(0, 2, len(labels)))
    return table(sides.tolist(), folds.tolist()), one_each(labels)


def test_wanted_and_reached_shares_stand_side_by_side():
    sides = ["train", "train", "validation", "test", "train", "", "validation"]
    strata = one_each([0, 0, 0, 0, 1, 1, 1])
    found = compare_ratios(table(sides, [0, 1, 0, -1, 1, -1, 0]), strata, ["cat", "dog"], SPLIT)
    assert found.columns.tolist() == ["label", "division", "place", "images", "wanted", "reached"]
    cats = found[found["label"] == "cat"]
    assert cats["division"].tolist() == ["split"] * 3 + ["fold"] * 2
    assert cats["place"].tolist() == ["train", "validation", "test", "0", "1"]
    assert cats["images"].tolist() == [2, 1, 1, 2, 1]
    assert cats["wanted"].tolist() == [0.6, 0.3, 0.1, 0.5, 0.5]
    assert cats["reached"].tolist() == [0.5, 0.25, 0.25, 2 / 3, 1 / 3]
    # An image without a side counts for nothing.
    dogs = found[(found["label"] == "dog") & (found["division"] == "split")]
    assert dogs["reached"].tolist() == [0.5, 0.5, 0]
    worst = {"label": "dog", "side": "validation", "wanted": 0.3, "reached": 0.5, "images": 2}
    assert largest_deviation(found) == worst
    assert missing(found) == [{"label": "dog", "side": "test"}]


def test_a_label_without_any_place_has_no_share_and_none_is_no_label():
    strata = one_each([0, 0, 0, 1, 2])
    sides = ["train", "validation", "test", "", "train"]
    found = compare_ratios(table(sides, [0, 1, -1, -1, 0]), strata, ["cat", "dog", ""], SPLIT)
    assert found.loc[found["label"] == "dog", "reached"].isna().all()
    assert {gap["label"] for gap in missing(found)} == {"dog"}
    assert largest_deviation(found)["label"] == ""


def texts(path) -> list[str]:
    """What stands in an SVG; fails if it is not well-formed."""
    return [one.text for one in ElementTree.parse(path).iter() if one.tag.endswith("}text")]


@pytest.mark.parametrize("classes", [2, 100])
def test_every_class_has_a_row_in_the_picture(classes, tmp_path):
    sides, strata = many(classes, 20)
    names = [f"class {number}" for number in range(classes)]
    picture = tmp_path / "balance.svg"
    draw_balance(compare_ratios(sides, strata, names, SPLIT), picture)
    first = picture.read_bytes()
    found = texts(picture)
    assert [f"{name} (20)" for name in names] == [one for one in found if "class" in one]
    assert {"train", "validation", "test"} <= set(found)
    draw_balance(compare_ratios(sides, strata, names, SPLIT), picture)
    assert picture.read_bytes() == first


def test_of_very_many_classes_those_are_drawn_that_are_farthest_off(tmp_path):
    sides, strata = many(150, 20)
    names = [f"class {number}" for number in range(150)]
    draw_balance(compare_ratios(sides, strata, names, SPLIT), tmp_path / "balance.svg")
    found = [one for one in texts(tmp_path / "balance.svg") if re.match(r"class \d", one)]
    assert len(found) == 100
    assert "class 0 (20)" not in found
    assert "the 100 labels that are farthest off" in texts(tmp_path / "balance.svg")


def test_any_name_can_be_drawn(tmp_path):
    names = ["$\\frac{$", "<script>&\"'", "new\nline\x01", "", "x" * 1000]
    sides, strata = many(5, 20)
    draw_balance(compare_ratios(sides, strata, names, SPLIT), tmp_path / "balance.svg")
    found = texts(tmp_path / "balance.svg")
    for expected in ("$\\frac{$ (20)", "<script>&\"' (20)", "(none) (20)", f"{'x' * 27}… (20)"):
        assert expected in found
