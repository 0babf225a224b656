import pandas as pd

from stages.split.moves import describe_moves


def table(*rows: tuple, repeats: int = 1) -> pd.DataFrame:
    folds = ["fold", "fold_2"][:repeats]
    return pd.DataFrame(rows, columns=["id", "split", *folds])


BEFORE = table(("a", "train", 0), ("b", "train", 1), ("c", "test", -1), ("d", "", -1))


def test_the_same_split_has_no_moves():
    assert describe_moves(BEFORE, BEFORE) == (
        "of 4 images that stayed, 0 changed their side and 0 their fold; 0 new, 0 gone"
    )


def test_sides_folds_new_and_gone_images_are_counted():
    after = table(("a", "validation", 1), ("b", "train", 2), ("c", "train", 0), ("e", "train", 0))
    assert describe_moves(BEFORE, after) == (
        "of 3 images that stayed, 2 changed their side and 2 their fold; 1 new, 1 gone"
    )


def test_an_image_counts_once_whatever_repeats_it_changed_its_fold_in():
    before = table(("a", "train", 0, 0), ("b", "train", 1, 1), repeats=2)
    after = table(("a", "train", 1, 1), ("b", "train", 1, 0), repeats=2)
    assert "0 changed their side and 2 their fold" in describe_moves(before, after)
    # Of repeats that one of them lacks there is nothing to say.
    assert "and 1 their fold" in describe_moves(before, after[["id", "split", "fold"]])
    assert "and 1 their fold" in describe_moves(before[["id", "split", "fold"]], after)
