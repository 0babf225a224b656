from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.dataset import read_dataset
from stages.common.errors import InputError
from stages.common.params import Params, Ratios, Split
from stages.common.paths import CLASSES, MANIFEST, SPLITS, TARGETS
from stages.common.tables import read_json, read_table, write_json, write_table
from stages.kfold.fit_fold import divide
from stages.split.__main__ import main
from stages.split.assign import NO_FOLD, share_out
from stages.split.given import SIDES

TEST = SIDES.index("test")
SUMMARY = Path("reports/split/summary.csv")
KINDS = ["KFold", "StratifiedKFold", "StratifiedGroupKFold"]
groups_and_classes = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=10, max_size=120
)


def write_project(
    labels: list[str], groups: list[str] | None = None, given: list[str] | None = None
) -> None:
    """What `ingest` and `encode` would have written for these images."""
    ids = [f"{number:016x}" for number in range(len(labels))]
    classes = sorted(set(labels))
    columns = {"id": ids, "source": [f"{one}.jpg" for one in ids], "label": labels}
    columns |= {"given_split": given or "", "group": groups or ids}
    write_table(pd.DataFrame(columns), MANIFEST)
    write_table(pd.DataFrame({"id": ids, "target": map(classes.index, labels)}), TARGETS)
    write_json({"task": "multiclass", "encoder": "label", "classes": classes}, CLASSES)


def write_labels(labels: np.ndarray, names: list[str]) -> None:
    """The same for images with several labels, a column of zeros and ones each."""
    write_project(["|".join(np.array(names)[row > 0]) for row in labels])
    columns = {f"target_{name}": column for name, column in zip(names, labels.T, strict=True)}
    write_table(read_table(TARGETS)[["id"]].assign(**columns), TARGETS)
    write_json({"task": "multilabel", "encoder": "binarizer", "classes": names}, CLASSES)


def write_numbers(numbers: np.ndarray) -> None:
    """The same for numbers."""
    write_project([f"{number:.6g}" for number in numbers])
    write_table(read_table(TARGETS).assign(target=numbers), TARGETS)
    write_json({"task": "regression", "encoder": "none", "classes": []}, CLASSES)


def with_split(**options: object) -> Params:
    return Params.model_construct(split=Split(**options))


def names(numbers: np.ndarray) -> np.ndarray:
    return np.array([f"group {number}" for number in numbers])


def anywhere(groups: np.ndarray) -> np.ndarray:
    """Where nobody gives a side, every image may stand on each."""
    return np.ones((len(groups), len(SIDES)), dtype=bool)


def one_each(strata: np.ndarray) -> np.ndarray:
    """Membership of images that belong to one stratum each."""
    return np.eye(strata.max() + 1, dtype=np.int64)[strata]


@given(groups_and_classes, st.booleans(), st.sampled_from(KINDS), st.integers(0, 5))
def test_no_group_stands_on_two_sides_or_in_two_folds(members, stratify, kind, seed):
    groups, strata = map(np.array, zip(*members, strict=True))
    split = Split(stratify=stratify, kind=kind, seed=seed, folds=3, repeats=2)
    sides, folds = share_out(names(groups), one_each(strata), anywhere(groups), split)
    for group in set(groups):
        assert len(set(sides[groups == group])) == 1
        assert len(np.unique(folds[groups == group], axis=0)) == 1


@given(groups_and_classes)
def test_test_images_and_they_alone_are_in_no_fold(members):
    groups, strata = map(np.array, zip(*members, strict=True))
    sides, folds = share_out(
        names(groups), one_each(strata), anywhere(groups), Split(folds=4, repeats=3)
    )
    assert folds.shape == (len(groups), 3)
    for repeat in folds.T:
        assert np.array_equal(repeat == NO_FOLD, sides == TEST)
        assert set(repeat) <= {NO_FOLD, 0, 1, 2, 3}


@given(groups_and_classes, st.randoms(use_true_random=False))
def test_sides_and_folds_do_not_depend_on_the_order_of_the_rows(members, random):
    order = list(range(len(members)))
    random.shuffle(order)
    groups, strata = map(np.array, zip(*members, strict=True))
    strata, split = one_each(strata), Split(repeats=2)
    sides, folds = share_out(names(groups), strata, anywhere(groups), split)
    other_sides, other_folds = share_out(
        names(groups[order]), strata[order], anywhere(groups), split
    )
    assert np.array_equal(other_sides, sides[order])
    assert np.array_equal(other_folds, folds[order])


def test_folds_are_of_one_size_over_train_and_validation_together():
    strata = np.repeat([0, 1], [400, 100])
    sides, folds = share_out(
        names(np.arange(500)), one_each(strata), anywhere(strata), Split(folds=5)
    )
    folds = folds[:, 0]
    assert np.bincount(sides).tolist() == [300, 150, 50]
    for stratum, size in [(0, 72), (1, 18)]:
        kept = folds[(strata == stratum) & (folds != NO_FOLD)]
        assert np.bincount(kept).tolist() == [size] * 5
    assert all(len(set(sides[folds == fold])) == 2 for fold in range(5))


def test_only_the_proportions_of_the_ratios_count():
    groups, strata = names(np.arange(200)), np.ones((200, 1), int)
    plain = share_out(
        groups, strata, anywhere(groups), Split(ratios=Ratios(train=6, validation=3, test=1))
    )
    shares = share_out(
        groups, strata, anywhere(groups), Split(ratios=Ratios(train=0.6, validation=0.3, test=0.1))
    )
    assert all(map(np.array_equal, plain, shares))
    halves = share_out(
        groups, strata, anywhere(groups), Split(ratios=Ratios(train=2, validation=1, test=1))
    )
    assert np.bincount(halves[0]).tolist() == [100, 50, 50]


def test_a_seed_gives_another_split_and_the_same_seed_the_same():
    groups, strata = names(np.arange(200)), np.ones((200, 1), int)
    first, again, other = (
        share_out(groups, strata, anywhere(groups), Split(seed=seed)) for seed in (0, 0, 1)
    )
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def test_without_stratify_the_ratios_hold_over_all_images_only():
    strata = np.repeat(np.arange(100), 2)
    groups = names(np.arange(200))
    sides, _ = share_out(groups, one_each(strata), anywhere(groups), Split(stratify=False))
    assert np.bincount(sides).tolist() == [120, 60, 20]


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_says_whether_folds_keep_the_shares_of_the_classes(kind):
    strata = np.repeat([0, 1], [400, 100])
    sides, folds = share_out(
        names(np.arange(500)), one_each(strata), anywhere(strata), Split(kind=kind)
    )
    assert np.bincount(sides[strata == 1]).tolist() == [60, 30, 10]  # whatever the kind
    in_fold = [np.sum((folds[:, 0] == fold) & (strata == 1)) for fold in range(5)]
    assert sum(in_fold) == 90
    assert (in_fold == [18] * 5) is (kind != "KFold")
    assert np.bincount(folds[folds >= 0]).tolist() == [90] * 5


def test_stratify_concerns_the_sides_and_not_the_folds():
    strata = one_each(np.repeat([0, 1], [400, 100]))
    sides, folds = share_out(names(np.arange(500)), strata, anywhere(strata), Split(stratify=False))
    assert np.bincount(sides[400:]).tolist() != [60, 30, 10]
    in_fold = np.bincount(folds[400:][folds[400:] >= 0])
    assert in_fold.max() - in_fold.min() <= 1


def test_each_repeat_divides_the_same_pool_anew():
    strata = one_each(np.arange(300) % 3)
    _, once = share_out(names(np.arange(300)), strata, anywhere(strata), Split())
    sides, thrice = share_out(names(np.arange(300)), strata, anywhere(strata), Split(repeats=3))
    assert np.array_equal(once[:, 0], thrice[:, 0])
    pool = thrice[sides != TEST]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        # Two divisions into five folds agree in a fifth of the images by chance.
        assert 0.1 < np.mean(pool[:, one] == pool[:, other]) < 0.3
    assert (np.diff([np.bincount(repeat) for repeat in pool.T]) == 0).all()


def test_the_stage_writes_a_side_and_a_fold_for_each_image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(["cat"] * 20 + ["dog"] * 30)
    main(with_split(folds=3))
    table = read_table(SPLITS)
    assert table.columns.tolist() == ["id", "split", "fold"]
    assert table["id"].tolist() == [f"{number:016x}" for number in range(50)]
    assert table["split"].value_counts().to_dict() == {"train": 30, "validation": 15, "test": 5}
    assert (table["fold"] == NO_FOLD).equals(table["split"] == "test")

    summary = read_table(SUMMARY)
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


def test_repeats_are_columns_and_leave_the_first_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(["cat"] * 20 + ["dog"] * 30)
    main(with_split(folds=3))
    first = read_table(SPLITS)
    main(with_split(folds=3, repeats=3))
    table = read_table(SPLITS)
    assert table.columns.tolist() == ["id", "split", "fold", "fold_2", "fold_3"]
    assert table[first.columns].equals(first)
    summary = read_table(SUMMARY)
    assert summary.columns.tolist() == ["split", "fold", "label", "images", "groups"]
    assert summary["images"].sum() == 50


def test_labels_are_counted_one_by_one_and_keep_the_ratios(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = (np.random.default_rng(0).random((200, 3)) < [0.1, 0.4, 0.5]).astype(int)
    write_labels(labels, ["rare", "some", "many"])
    main(with_split(folds=3))
    summary = read_table(SUMMARY).pivot_table("images", "label", "split", "sum")
    assert summary.loc[["rare", "some", "many"]].sum(axis=1).tolist() == labels.sum(axis=0).tolist()
    assert summary.loc[""].sum() == np.sum(~labels.any(axis=1))
    shares = summary[SIDES].div(summary.sum(axis=1), axis=0)
    assert (shares - [0.6, 0.3, 0.1]).abs().to_numpy().max() < 0.05
    sides = read_table(SPLITS)["split"].value_counts(normalize=True)
    assert (sides[SIDES] - [0.6, 0.3, 0.1]).abs().max() < 0.03


def test_a_label_with_too_few_images_is_refused_and_images_without_any_label_are_not(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    labels = np.ones((60, 2), int)
    labels[2:, 1], labels[59] = 0, 0
    write_labels(labels, ["many", "rare"])
    with pytest.raises(InputError, match=r"^class 'rare': .* found 2 in 2 groups of repeats; "):
        main(with_split())
    write_labels(labels[:, :1], ["many"])
    main(with_split())
    assert len(read_table(SPLITS)) == 60


def test_numbers_are_spread_over_sides_and_folds_by_their_quantiles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0).lognormal(size=200)
    write_numbers(numbers)
    main(with_split(folds=2))
    summary = read_table(SUMMARY)
    assert summary["label"].nunique() == 10
    assert all(" to " in name for name in summary["label"])
    in_bin = summary.pivot_table("images", "label", "split", "sum")
    assert (in_bin[SIDES] == [12, 6, 2]).all(axis=None)
    # The bins stand in the order of their values.
    first = summary[(summary["split"] == "test")]["label"].map(lambda name: name.split(" to ")[0])
    assert first.astype(float).is_monotonic_increasing
    table = read_table(SPLITS)
    means = np.log(numbers)[table["fold"] == 0].mean(), np.log(numbers)[table["fold"] == 1].mean()
    assert abs(means[0] - means[1]) < 0.1


def test_few_numbers_need_no_bin_on_every_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_numbers(np.array([0.0] * 19 + [1.5]))
    main(with_split(folds=2))
    assert set(read_table(SPLITS)["split"]) == set(SIDES)


LEAKS, RATIOS, FACTS = (
    Path(f"reports/split/{name}") for name in ("leaks.csv", "ratios.csv", "summary.json")
)


def test_given_sides_are_kept_and_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given_sides = [*["train"] * 20, *["validation"] * 5, *["test"] * 5, *[""] * 10]
    write_project(["cat", "dog"] * 20, given=given_sides)
    main(with_split(folds=2))
    found = read_table(SPLITS)["split"]
    assert found[:30].tolist() == given_sides[:30]
    # Of the last ten, by 6:3:1 in each class of five.
    assert found[30:].value_counts().to_dict() == {"train": 6, "validation": 2, "test": 2}
    assert "30 of 30 images stand on the side that they were given" in capsys.readouterr().out
    assert read_table(LEAKS).empty
    assert LEAKS.read_text() == "group,id,source,label,given_split,done\n"


def test_given_sides_can_be_ignored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = ["cat", "dog"] * 20
    write_project(labels)
    main(with_split(folds=2))
    expected = SPLITS.read_bytes()
    write_project(labels, given=["test", "train"] * 20)
    main(with_split(folds=2, given="ignore"))
    assert SPLITS.read_bytes() == expected
    assert read_json(FACTS)["given"] == 0


def write_leak() -> None:
    """Thirty images with given sides; of the last three, one photo, two are given two sides."""
    sides = ["train"] * 15 + ["validation"] * 6 + ["test"] * 6 + ["train", "test", ""]
    groups = [f"group {number}" for number in range(27)] + ["a leak"] * 3
    write_project(["cat", "dog"] * 15, groups, sides)


def test_a_leak_moves_to_train_and_is_listed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_leak()
    main(with_split(folds=2))
    assert read_table(SPLITS)["split"][27:].tolist() == ["train"] * 3
    listed = read_table(LEAKS)
    assert listed["id"].tolist() == [f"{number:016x}" for number in (27, 28, 29)]
    assert listed["done"].tolist() == ["stays in train", "moved to train", "put into train"]
    facts = read_json(FACTS)
    assert (facts["leaking_groups"], facts["leaking_images"], facts["leaks"]) == (1, 3, "train")
    assert (facts["given"], facts["given_kept"], facts["left_out"]) == (29, 28, 0)
    assert "3 images in 1 groups that stand on two given sides" in capsys.readouterr().out


def test_what_is_left_out_is_read_by_no_stage_after_this_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_leak()
    main(with_split(folds=2, leaks="drop"))
    table = read_table(SPLITS)
    assert table["split"][27:].tolist() == [""] * 3
    assert table["fold"][27:].tolist() == [NO_FOLD] * 3
    assert read_table(SUMMARY)["images"].sum() == 27
    assert read_json(FACTS)["left_out"] == 3

    dataset = read_dataset()
    assert len(dataset.truth) == 30
    read = np.concatenate([dataset.side(side) for side in SIDES])
    assert sorted(read) == list(range(27))
    for fold in range(2):
        assert set(np.concatenate(divide(dataset, 0, fold))) == set(range(21))


def test_a_leak_can_be_an_error_that_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_leak()
    with pytest.raises(InputError, match=r"^split\.leaks: .* found 1 \(3 images\)"):
        main(with_split(folds=2, leaks="error"))
    assert not SPLITS.exists()


def test_given_sides_that_leave_no_image_for_one_are_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(["cat", "dog"] * 10, given=["test"] * 10 + ["validation"] * 10)
    with pytest.raises(InputError, match=r"found none for train .* set split\.given: ignore$"):
        main(with_split(folds=2))


def test_a_class_that_given_sides_leave_out_is_reported_and_not_refused(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    sides = ["train"] * 10 + ["validation"] * 4 + ["test"] * 4 + ["train"] * 2
    write_project(["cat", "dog"] * 9 + ["emu"] * 2, given=sides)
    main(with_split(folds=2))
    assert "warning: no images of 'emu' in validation, 'emu' in test" in capsys.readouterr().out
    missing = [{"label": "emu", "side": "validation"}, {"label": "emu", "side": "test"}]
    assert read_json(FACTS)["missing"] == missing


def test_stable_needs_no_place_for_each_class_but_an_image_on_each_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(["cat"] * 60 + ["dog"] * 59 + ["emu"])
    main(with_split(assignment="stable"))
    facts = read_json(FACTS)
    assert [gap["label"] for gap in facts["missing"]] == ["emu"] * 2
    assert facts["largest_deviation"]["label"] == "emu"
    write_project(["cat", "dog"])
    with pytest.raises(InputError, match=r"none for .* split\.seed or split\.assignment: strat"):
        main(with_split(assignment="stable"))
    write_project(["cat", "dog"] * 10)
    with pytest.raises(InputError, match=r"^split\.folds: expected at most \d+, .* received 20;"):
        main(with_split(assignment="stable", folds=20))


def test_with_stable_added_images_leave_the_rows_of_the_others_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(["cat", "dog"] * 50)
    main(with_split(assignment="stable", repeats=2))
    before = SPLITS.read_text()
    write_project(["cat", "dog"] * 50 + ["emu", "cat", "dog"] * 10)
    main(with_split(assignment="stable", repeats=2))
    assert SPLITS.read_text().startswith(before)


def test_without_dvc_nothing_is_said_of_moves(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_project(["cat", "dog"] * 10)
    main(with_split(folds=2))
    main(with_split(folds=2, seed=1))
    assert "changed their side" not in capsys.readouterr().out


def test_moves_are_counted_against_the_last_run_of_dvc(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_project(["cat", "dog"] * 10)
    main(with_split(folds=2))
    last, written = read_table(SPLITS), SPLITS.read_bytes()
    write_project(["cat", "dog"] * 15)
    monkeypatch.setattr("stages.split.__main__.previous_table", lambda path: last)
    main(with_split(folds=2, assignment="stable"))
    said = capsys.readouterr().out
    assert "split: of 20 images that stayed, " in said and "; 10 new, 0 gone" in said
    # It is a line in the log, and no more.
    write_project(["cat", "dog"] * 10)
    main(with_split(folds=2))
    assert SPLITS.read_bytes() == written
