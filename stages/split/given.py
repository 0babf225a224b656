"""Sides that folders or a table give, and the groups that stand on two of them."""

import numpy as np
import pandas as pd

from stages.common.errors import InputError
from stages.common.params import Ratios, Split

SIDES = list(Ratios.model_fields)
_TRAIN = SIDES.index("train")


def given_sides(groups: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The sides that are given to the members of each image's group.

    Args:
        groups: (n,) group of each image.
        given: (n,) the side that each image was given, or "".

    Returns:
        bool (n, sides), the same for all images of a group: none where no member was given a side,
        two or more where the group is a leak.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    of_group = np.zeros((len(names), len(SIDES)), dtype=bool)
    for number, side in enumerate(SIDES):
        of_group[group_of[given == side], number] = True
    return of_group[group_of]


def allowed_sides(given: np.ndarray, leaks: str) -> np.ndarray:
    """The sides on which each image may stand.

    A group with a given side stands there, its members without one too. Of the images given as
    train the sides are drawn that nobody gives. Images that nothing is given to may stand anywhere.

    Args:
        given: bool (n, sides), as `given_sides` gives it.
        leaks: What becomes of groups with two given sides: `train`, or `drop`.

    Returns:
        bool (n, sides), the same for all images of a group; none for an image that is left out.
    """
    count = given.sum(axis=1)
    nobody_gives = ~given.any(axis=0)
    allowed = given | (count == 0)[:, None]
    allowed[(count == 1) & given[:, _TRAIN]] |= nobody_gives
    allowed[count > 1] = False
    allowed[count > 1, _TRAIN] = leaks == "train"
    return allowed


def list_leaks(manifest: pd.DataFrame, given: np.ndarray, leaks: str) -> pd.DataFrame:
    """The images of the groups that stand on two given sides, and what is done with each.

    Args:
        manifest: Of n images.
        given: bool (n, sides), as `given_sides` gives it.
        leaks: As for `allowed_sides`.

    Returns:
        `group`, `id`, `source`, `label`, `given_split`, `done`; sorted by group and id.
    """
    columns = ["group", "id", "source", "label", "given_split"]
    listed = manifest.loc[given.sum(axis=1) > 1, columns].sort_values(["group", "id"])
    to_train = listed["given_split"].map({"train": "stays in train", "": "put into train"})
    to_train = to_train.fillna("moved to train")
    return listed.assign(done=to_train if leaks == "train" else "left out")


def refuse_leaks(listed: pd.DataFrame, split: Split) -> None:
    """Refuse groups on two given sides, if params say so.

    Raises:
        InputError: `split.leaks` is error and there are some; names the first.
    """
    if split.leaks != "error" or listed.empty:
        return
    first = listed[listed["group"] == listed["group"].iloc[0]]
    examples = first[first["given_split"] != ""].drop_duplicates("given_split")
    named = " and ".join(
        f"{one.source!r} in {one.given_split}" for one in examples[:2].itertuples()
    )
    raise InputError(
        f"split.leaks: expected each group of repeats on one given side, found "
        f"{listed['group'].nunique()} ({len(listed)} images) on two or more, first {named}; repair "
        "the given sides, or set split.leaks to train (they are moved there) or drop (they are "
        "left out)"
    )
