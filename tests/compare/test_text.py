"""Changes as people read them on a terminal."""

import pandas as pd
import pytest

from stages.compare.changes import Changes, compare
from stages.compare.contents import Contents
from stages.compare.text import aligned, to_text
from stages.compare.versions import Workspace
from stages.compare.words import cell, metric_rows, param_rows


def contents(labels: list[str], **facts) -> Contents:
    images = pd.DataFrame({"label": labels}, index=[f"{one:03}" for one in range(len(labels))])
    images.index.name = "id"
    rejected = pd.DataFrame(columns=["source", "reason", "detail"])
    return Contents(Workspace(), images.assign(source="a.png", split=None), rejected, **facts)


def text_of(before: Contents, after: Contents) -> str:
    return to_text(before, after, compare(before, after))


def changes_of(before: dict, after: dict) -> Changes:
    return compare(contents([], **before), contents([], **after))


def test_columns_are_aligned():
    assert aligned([{"class": "cat", "images": 1200}, {"class": "horse", "images": None}]) == (
        "  class  images\n  cat     1,200\n  horse\n"
    )
    assert aligned([]) == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (1234, "1,234"),
        (0.123456, "0.1235"),
        (True, "true"),
        ("a\nb\x1b", r"a\nb\x1b"),
        ([1, "\u202e"], r'[1, "\u202e"]'),
    ],
)
def test_a_value_in_a_table(value, shown):
    assert cell(value) == shown


def test_figures_are_shown_with_their_change():
    before = {"up": 0.5, "same": 3, "range": [0.1, 0.25], "old": 1}
    changes = changes_of({"metrics": before}, {"metrics": {"up": 0.75, "same": 3, "range": [0, 1]}})
    assert [tuple(row.values()) for row in metric_rows(changes)] == [
        ("old", "1", "", ""),
        ("range", "0.1 to 0.25", "0 to 1", ""),
        ("same", "3", "3", "0"),
        ("up", "0.5", "0.75", "+0.25"),
    ]


def test_params_are_shown_as_yaml_means_them():
    before = {"a": None, "b": "auto", "c": {}, "d": 1}
    changes = changes_of({"params": before}, {"params": {"a": True, "b": "null", "c": [1, "x"]}})
    assert [tuple(row.values()) for row in param_rows(changes)] == [
        ("a", "null", "true"),
        ("b", "auto", "null"),
        ("c", "{}", '[1, "x"]'),
        ("d", "1", "(not set)"),
    ]


def test_of_many_classes_those_that_changed_are_listed():
    labels = [f"class {number:02}" for number in range(30)]
    text = text_of(contents(labels), contents(["class 01", *labels[1:]]))
    assert "  class 00         1" in text and "  class 01         1" in text
    assert "class 02" not in text and "(28 classes did not change)" in text
    few = text_of(contents(labels[:5]), contents(["class 01", *labels[1:5]]))
    assert "class 02" in few and "did not change" not in few


def test_of_many_changed_labels_the_commonest_are_listed():
    before = ["x"] * 32
    after = ["often", "often", *(f"new {number:02}" for number in range(30))]
    text = text_of(contents(before), contents(after))
    block = text[text.index("Labels that changed") :].split("\n\n")[0].splitlines()
    assert block[2].split() == ["x", "often", "2"]
    assert len(block) == 2 + 20 + 1 and block[-1].strip() == "... of 31"


def test_the_candidate_is_told():
    one, two, none = contents([], candidate="a"), contents([], candidate="b"), contents([])
    assert "Candidate: a -> b" in text_of(one, two)
    assert "Candidate: a, as before" in text_of(one, one)
    assert "Candidate: a -> (none)" in text_of(one, none)
    assert "Candidate" not in text_of(none, none)
