import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import InputError
from stages.common.params import Split
from stages.split.assign import NO_FOLD, NO_SIDE, share_out
from stages.split.given import SIDES, allowed_sides, given_sides, list_leaks, refuse_leaks

TRAIN, VALIDATION, TEST = range(3)
members = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(["", *SIDES])), min_size=20, max_size=120
)


def names(numbers: list[int]) -> np.ndarray:
    return np.array([f"group {number}" for number in numbers])


def allowed(groups: list[int], sides: list[str], leaks: str = "train") -> list[list[str]]:
    """The names of the sides on which each image may stand."""
    rows = allowed_sides(given_sides(names(groups), np.array(sides)), leaks)
    return [[side for side, may in zip(SIDES, row, strict=True) if may] for row in rows]


def test_with_all_sides_given_each_image_stays_and_those_without_go_anywhere():
    assert allowed([0, 1, 2, 3], ["train", "validation", "test", ""]) == [
        ["train"],
        ["validation"],
        ["test"],
        ["train", "validation", "test"],
    ]


def test_a_side_that_nobody_gives_is_drawn_from_train():
    assert allowed([0, 1], ["train", "validation"]) == [["train", "test"], ["validation"]]
    assert allowed([0, 1], ["train", "test"]) == [["train", "validation"], ["test"]]
    assert allowed([0, 1], ["train", ""]) == [SIDES, SIDES]
    assert allowed([0, 1], ["validation", "test"]) == [["validation"], ["test"]]


def test_a_repeat_without_a_given_side_follows_the_one_that_has_it():
    assert allowed([0, 0, 1, 2], ["test", "", "train", "validation"])[:2] == [["test"], ["test"]]


@pytest.mark.parametrize(("leaks", "expected"), [("train", ["train"]), ("drop", [])])
def test_a_group_with_two_given_sides_goes_where_the_params_say(leaks, expected):
    sides = ["train", "test", "", "test", "train"]
    assert allowed([0, 0, 0, 1, 2], sides, leaks)[:3] == [expected] * 3
    # Whoever moves to train stays there: nothing is drawn from it.
    assert allowed([0, 0, 1], ["train", "test", "train"], leaks)[0] == expected


@given(members, st.sampled_from(["train", "drop"]), st.sampled_from(["stratified", "stable"]))
def test_given_sides_are_kept_and_no_group_is_divided(images, leaks, assignment):
    groups, sides = map(list, zip(*images, strict=True))
    groups, sides = names(groups), np.array(sides)
    given_to = given_sides(groups, sides)
    split = Split(assignment=assignment, folds=2)
    strata = np.ones((len(groups), 1), int)
    result, folds = share_out(groups, strata, allowed_sides(given_to, leaks), split)
    for group in set(groups):
        of_group = set(sides[groups == group]) - {""}
        (found,) = set(result[groups == group])
        if len(of_group) > 1:
            assert found == (TRAIN if leaks == "train" else NO_SIDE)
        elif of_group & {"validation", "test"}:
            assert {SIDES[found]} == of_group
        elif of_group:
            assert found == TRAIN or SIDES[found] not in sides
        else:
            assert found != NO_SIDE
    without = (result == TEST) | (result == NO_SIDE)
    assert np.array_equal(folds[:, 0] == NO_FOLD, without)


def test_what_is_drawn_from_train_keeps_the_ratios_of_its_class():
    """Of 6:3:1 without a validation side, a third of train becomes validation."""
    sides = np.array((["train"] * 90 + ["test"] * 5) * 2)
    strata = np.eye(2, dtype=int)[np.repeat([0, 1], 95)]
    groups = names(range(190))
    rows = allowed_sides(given_sides(groups, sides), "train")
    result, _ = share_out(groups, strata, rows, Split())
    for stratum in (0, 1):
        counts = np.bincount(result[strata[:, stratum] == 1], minlength=3)
        assert counts.tolist() == [60, 30, 5]


def test_images_without_a_given_side_are_shared_out_by_the_ratios_for_themselves():
    sides = np.array(["train"] * 500 + ["validation"] * 10 + ["test"] * 10 + [""] * 100)
    groups = names(range(620))
    rows = allowed_sides(given_sides(groups, sides), "train")
    result, _ = share_out(groups, np.ones((620, 1), int), rows, Split())
    assert np.bincount(result[520:]).tolist() == [60, 30, 10]


def manifest() -> pd.DataFrame:
    """Three images of a leak, one of a group that is none."""
    return pd.DataFrame(
        {
            "id": ["d", "c", "b", "a"],
            "source": ["1.jpg", "new\nline.jpg", "3.jpg", "4.jpg"],
            "label": ["cat", "cat", "dog", "dog"],
            "given_split": ["train", "test", "", "test"],
            "group": ["g", "g", "g", "h"],
        }
    )


def leaks(policy: str) -> pd.DataFrame:
    table = manifest()
    given_to = given_sides(table["group"].to_numpy(), table["given_split"].to_numpy())
    return list_leaks(table, given_to, policy)


def test_every_image_of_a_leak_is_listed_with_what_was_done():
    listed = leaks("train")
    assert listed.columns.tolist() == ["group", "id", "source", "label", "given_split", "done"]
    assert listed["id"].tolist() == ["b", "c", "d"]
    assert listed["done"].tolist() == ["put into train", "moved to train", "stays in train"]
    assert leaks("drop")["done"].tolist() == ["left out"] * 3


def test_leaks_are_refused_in_one_line_with_an_example_and_the_choices():
    with pytest.raises(InputError) as refused:
        refuse_leaks(leaks("error"), Split(leaks="error"))
    message = str(refused.value)
    assert "found 1 (3 images) on two or more" in message
    assert r"first 'new\nline.jpg' in test and '1.jpg' in train" in message
    assert "train (they are moved there) or drop" in message
    assert "\n" not in message


@pytest.mark.parametrize("policy", ["train", "drop"])
def test_leaks_are_refused_only_if_params_say_so(policy):
    refuse_leaks(leaks(policy), Split(leaks=policy))
    refuse_leaks(leaks("error")[:0], Split(leaks="error"))
