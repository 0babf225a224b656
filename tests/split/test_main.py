from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import InputError
from stages.common.params import Params, Ratios, Split
from stages.common.paths import CLASSES, MANIFEST, SPLITS, TARGETS
from stages.common.tables import read_table, write_json, write_table
from stages.split.__main__ import NO_FOLD, SIDES, main, share_out

TEST = SIDES.index("test")
groups_and_classes = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=10, max_size=120
)


def write_project(labels: list[str], groups: list[str] | None = None) -> None:
    """What `ingest` and `encode` would have written for these images."""
    ids = [f"{number:016x}" for number in range(len(labels))]
    classes = sorted(set(labels))
    write_table(pd.DataFrame({"id": ids, "label": labels, "group": groups or ids}), MANIFEST)
    write_table(pd.DataFrame({"id": ids, "target": map(classes.index, labels)}), TARGETS)
    write_json({"task": "multiclass", "encoder": "label", "classes": classes}, CLASSES)


def with_split(**options: object) -> Params:
    return Params.model_construct(split=Split(**options))


def names(numbers: np.ndarray) -> np.ndarray:
    return np.array([f"group {number}" for number in numbers])


@given(groups_and_classes, st.booleans(), st.integers(0, 5))
def test_no_group_stands_on_two_sides_or_in_two_folds(members, stratify, seed):
    groups, strata = map(np.array, zip(*members, strict=True))
    split = Split(stratify=stratify, seed=seed, folds=3)
    sides, folds = share_out(names(groups), strata, split)
    for group in set(groups):
        assert len(set(sides[groups == group])) == 1
        assert len(set(folds[groups == group])) == 1


@given(groups_and_classes)
def test_test_images_and_they_alone_are_in_no_fold(members):
    groups, strata = map(np.array, zip(*members, strict=True))
    sides, folds = share_out(names(groups), strata, Split(folds=4))
    assert np.array_equal(folds == NO_FOLD, sides == TEST)
    assert set(folds) <= {NO_FOLD, 0, 1, 2, 3}


@given(groups_and_classes, st.randoms(use_true_random=False))
def test_sides_and_folds_do_not_depend_on_the_order_of_the_rows(members, random):
    order = list(range(len(members)))
    random.shuffle(order)
    groups, strata = map(np.array, zip(*members, strict=True))
    sides, folds = share_out(names(groups), strata, Split())
    again = share_out(names(groups[order]), strata[order], Split())
    assert np.array_equal(again, [sides[order], folds[order]])


def test_folds_are_of_one_size_over_train_and_validation_together():
    strata = np.repeat([0, 1], [400, 100])
    sides, folds = share_out(names(np.arange(500)), strata, Split(folds=5))
    assert np.bincount(sides).tolist() == [300, 150, 50]
    for stratum, size in [(0, 72), (1, 18)]:
        kept = folds[(strata == stratum) & (folds != NO_FOLD)]
        assert np.bincount(kept).tolist() == [size] * 5
    assert all(len(set(sides[folds == fold])) == 2 for fold in range(5))


def test_only_the_proportions_of_the_ratios_count():
    groups, strata = names(np.arange(200)), np.zeros(200, int)
    plain = share_out(groups, strata, Split(ratios=Ratios(train=6, validation=3, test=1)))
    shares = share_out(groups, strata, Split(ratios=Ratios(train=0.6, validation=0.3, test=0.1)))
    assert np.array_equal(plain, shares)
    halves = share_out(groups, strata, Split(ratios=Ratios(train=2, validation=1, test=1)))
    assert np.bincount(halves[0]).tolist() == [100, 50, 50]


def test_a_seed_gives_another_split_and_the_same_seed_the_same():
    groups, strata = names(np.arange(200)), np.zeros(200, int)
    first, again, other = (share_out(groups, strata, Split(seed=seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def test_without_stratify_the_ratios_hold_over_all_images_only():
    strata = np.repeat(np.arange(100), 2)
    groups = names(np.arange(200))
    sides, _ = share_out(groups, strata, Split(stratify=False))
    assert np.bincount(sides).tolist() == [120, 60, 20]


def test_the_stage_writes_a_side_and_a_fold_for_each_image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(["cat"] * 20 + ["dog"] * 30)
    main(with_split(folds=3))
    table = read_table(SPLITS)
    assert table.columns.tolist() == ["id", "split", "fold"]
    assert table["id"].tolist() == [f"{number:016x}" for number in range(50)]
    assert table["split"].value_counts().to_dict() == {"train": 30, "validation": 15, "test": 5}
    assert (table["fold"] == NO_FOLD).equals(table["split"] == "test")

    summary = read_table(Path("reports/split/summary.csv"))
    assert summary.groupby("label")["images"].sum().to_dict() == {"cat": 20, "dog": 30}
    test_rows = summary[summary["split"] == "test"].set_index("label")
    assert test_rows["images"].to_dict() == {"cat": 2, "dog": 3}

    first = SPLITS.read_bytes()
    main(with_split(folds=3))
    assert SPLITS.read_bytes() == first


def test_a_class_with_too_few_images_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(["cat"] * 20 + ["emu"] * 2)
    with pytest.raises(InputError) as refused:
        main(with_split())
    message = str(refused.value)
    assert message.startswith("class 'emu': expected photos enough for each of train, validation")
    assert "found 2 in 2 groups of repeats" in message
    assert "\n" not in message
    assert not SPLITS.exists()


def test_many_copies_of_two_photos_are_too_few(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    groups = [f"cat {number}" for number in range(20)] + ["emu 1"] * 10 + ["emu 2"] * 10
    write_project(["cat"] * 20 + ["emu"] * 20, groups)
    with pytest.raises(InputError, match=r"^class 'emu': .* found 20 in 2 groups of repeats; "):
        main(with_split())


def test_without_stratify_a_small_class_is_let_through(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(["cat"] * 20 + ["emu"] * 2)
    main(with_split(stratify=False))
    assert len(read_table(SPLITS)) == 22
