"""Words by which folders, tables and columns call the sides of a given split."""

import re
from collections.abc import Iterable

_WORDS = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "dev", "publictest"),
    "test": ("test", "testing", "tst", "privatetest", "holdout"),
}
_SIDE_OF = {word: side for side, words in _WORDS.items() for word in words}
# What may stand beside such a word and says nothing: train_images, seg_test, val2017.
_EMPTY_WORDS = {"", "data", "dataset", "set", "split", "seg", "labels", "label"} | {
    f"{word}{plural}"
    for word in ("image", "img", "photo", "picture", "sample")
    for plural in ("", "s")
}


def to_side(text: str) -> str:
    """train, validation or test if a name means one of them, else an empty text."""
    words = set(re.split(r"[^a-z]+", text.lower())) - _EMPTY_WORDS
    return _SIDE_OF.get(words.pop(), "") if len(words) == 1 else ""


def are_sides(found: Iterable[str]) -> bool:
    """Whether sides, as `to_side` found them, can be a given split: all known, one of them train.

    A lone `train` folder is only a wrapper around the photos.
    """
    distinct = set(found)
    return "" not in distinct and "train" in distinct and len(distinct) > 1
