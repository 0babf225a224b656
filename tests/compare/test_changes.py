"""Two versions held against each other, without files."""

import pandas as pd
import pytest

from stages.compare.changes import GONE, NEW, NO_LABEL, NUMBERS, Changes, compare
from stages.compare.contents import Contents, flatten
from stages.compare.versions import Workspace

NO_FILE = pd.DataFrame(columns=["source", "reason", "detail"])


def contents(images: dict[str, tuple], rejected: list[tuple] = (), **facts) -> Contents:
    """Of images (label, split, fold, source), as far as they are given."""
    usual = {key: (None, "train", 0, f"{key}.png") for key in images}
    rows = [(*given, *usual[key][len(given) :]) for key, given in images.items()]
    table = pd.DataFrame(rows, index=list(images), columns=["label", "split", "fold", "source"])
    table.index.name = "id"
    files = pd.DataFrame(rejected, columns=NO_FILE.columns)
    return Contents(Workspace(), table.assign(part="p", row=0), files, **facts)


def ids(changes: Changes, kind: str) -> set[str]:
    return set(changes.images.index[changes.images[kind]])


def of_class(changes: Changes, name: str) -> dict[str, int]:
    row = changes.classes.set_index("class").loc[name]
    return {key: int(value) for key, value in row.items() if value}


def test_each_kind_of_change_is_found():
    before = {"a": ("cat",), "b": ("cat",), "c": ("dog",), "d": ("dog",), "e": ("dog",)}
    after = {
        "a": ("cat",),
        "b": ("dog",),
        "c": ("dog", "test", float("nan")),
        "d": ("dog", "train", 1),
        "f": ("cat",),
        "e": ("dog", "train", 0, "other.png"),
    }
    changes = compare(contents({**before, "g": ("cat",)}), contents(after))
    assert ids(changes, "added") == {"f"}
    assert ids(changes, "removed") == {"g"}
    assert ids(changes, "relabelled") == {"b"}
    assert ids(changes, "moved") == {"c"}
    assert ids(changes, "refolded") == {"d"}  # c left the folds, and that is a move
    assert ids(changes, "renamed") == {"e"}
    assert of_class(changes, "cat") == {
        "before": 3,
        "added": 1,
        "removed": 1,
        "label out": 1,
        "after": 2,
    }
    assert of_class(changes, "dog") == {
        "before": 3,
        "label in": 1,
        "after": 4,
        "moved": 1,
        "refolded": 1,
        "renamed": 1,
    }
    assert changes.relabelled.to_dict("records") == [{"before": "cat", "after": "dog", "images": 1}]


def test_a_version_and_itself_differ_in_nothing():
    one = contents({"a": ("cat",), "b": ("dog", "none", float("nan"))}, metrics={"n": 1})
    changes = compare(one, one)
    for kind in ["added", "removed", "relabelled", "moved", "refolded", "renamed"]:
        assert ids(changes, kind) == set()
    assert changes.rejected.empty and changes.params == []
    assert changes.metrics == [{"figure": "n", "before": 1, "after": 1, "change": 0}]


@pytest.mark.parametrize("empty", ["before", "after"])
def test_a_version_without_images(empty: str):
    full, none = contents({"a": ("cat",), "b": ("dog",)}), contents({})
    changes = compare(none, full) if empty == "before" else compare(full, none)
    kind = "added" if empty == "before" else "removed"
    assert ids(changes, kind) == {"a", "b"}
    assert of_class(changes, "cat")[kind] == 1


def test_labels_of_several_are_counted_one_by_one():
    several = {"task": "multilabel", "separator": "|"}
    before = contents({"a": ("cat|dog",), "b": ("dog",), "c": ("",)}, **several)
    after = contents({"a": ("cat|fox",), "b": ("dog",), "c": ("dog",)}, **several)
    changes = compare(before, after)
    assert ids(changes, "relabelled") == {"a", "c"}
    assert of_class(changes, "cat") == {"before": 1, "after": 1}
    assert of_class(changes, "dog") == {"before": 2, "label in": 1, "label out": 1, "after": 2}
    assert of_class(changes, "fox") == {"label in": 1, "after": 1}
    assert of_class(changes, NO_LABEL) == {"before": 1, "label out": 1}


def test_numbers_are_one_class_and_can_change():
    before = contents({"a": ("1.5",), "b": ("2",)}, task="regression")
    after = contents({"a": ("1.75",), "c": ("2",)}, task="regression")
    changes = compare(before, after)
    assert ids(changes, "relabelled") == {"a"}
    assert changes.classes["class"].tolist() == [NUMBERS]
    assert of_class(changes, NUMBERS) == {"before": 2, "added": 1, "removed": 1, "after": 2}


def test_sides_show_where_images_came_from_and_went():
    before = contents({"a": ("x", "train"), "b": ("x", "test"), "c": ("x", "train")})
    after = contents({"a": ("x", "test"), "b": ("x", "test"), "d": ("x", "none")})
    changes = compare(before, after)
    table = changes.sides.stack()
    assert table[table > 0].to_dict() == {
        ("train", "test"): 1,
        ("test", "test"): 1,
        ("train", GONE): 1,
        (NEW, "none"): 1,
    }
    assert list(changes.sides.columns) == ["test", "none", GONE]
    assert changes.test == {"before": 1, "after": 2, "both": 1}


def test_a_version_without_splits_moved_nothing():
    before, after = contents({"a": ("x",)}), contents({"a": ("x", "test")})
    bare = Contents(Workspace(), before.images.drop(columns="fold").assign(split=None), NO_FILE)
    changes = compare(bare, after)
    assert ids(changes, "moved") == ids(changes, "refolded") == set()
    assert changes.sides.empty and changes.test is None


def test_a_fold_of_any_repeat_counts():
    before, after = contents({"a": ("x",), "b": ("x",)}), contents({"a": ("x",), "b": ("x",)})
    before.images["fold_2"], after.images["fold_2"] = [0, 0], [0, 1]
    after.images["fold_3"] = [1, 1]
    assert ids(compare(before, after), "refolded") == {"b"}


def test_rejected_files_are_counted_with_their_repetitions():
    twice = ("t.csv", "missing_file", "row 3")
    before = contents({}, [twice, ("a.png", "truncated", "x"), ("b.png", "truncated", "x")])
    after = contents({}, [twice, twice, ("a.png", "unreadable", "y"), ("b.png", "truncated", "z")])
    changes = compare(before, after)
    assert changes.rejected[["change", "source", "reason"]].to_numpy().tolist() == [
        ["new", "a.png", "unreadable"],
        ["new", "t.csv", "missing_file"],
        ["gone", "a.png", "truncated"],
    ]
    assert changes.reasons.set_index("reason").T.to_dict() == {
        "missing_file": {"before": 1, "new": 1, "gone": 0, "after": 2},
        "truncated": {"before": 2, "new": 0, "gone": 1, "after": 1},
        "unreadable": {"before": 0, "new": 1, "gone": 0, "after": 1},
    }


def test_figures_and_params():
    before = contents({}, metrics={"a": 0.3, "b": 1, "c": [0, 1]}, params={"x": 1, "y": None})
    after = contents({}, metrics={"a": 0.1, "c": [0, 2], "d": 2}, params={"x": 1, "z": [1]})
    changes = compare(before, after)
    assert changes.metrics == [
        {"figure": "a", "before": 0.3, "after": 0.1, "change": -0.2},
        {"figure": "b", "before": 1, "after": None, "change": None},
        {"figure": "c", "before": [0, 1], "after": [0, 2], "change": None},
        {"figure": "d", "before": None, "after": 2, "change": None},
    ]
    assert changes.params == [{"param": "y", "before": None}, {"param": "z", "after": [1]}]


def test_flat_names():
    nested = {"a": {"b": {"c": 1}, "d": {}}, "e": [{"f": 1}], 3: None}
    assert flatten(nested) == {"a.b.c": 1, "a.d": {}, "e": [{"f": 1}], "3": None}
    assert flatten({}) == {}
