"""Groups of images that belong together, and the same picture under two labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.common.randomness import digest


def join_given(repeats: np.ndarray, given: Sequence[tuple[str, ...]]) -> np.ndarray:
    """Join groups of repeats whose images belong to one patient, video or the like.

    Args:
        repeats: int64 (n,), as `find_groups` gives it.
        given: The names of what each image belongs to; none, one or several.

    Returns:
        int64 (n,): images that share a name, or whose repeats do, have the same number.
    """
    owners = [(image, name) for image, names in enumerate(given) for name in names]
    if not owners:
        return repeats
    images = np.arange(len(repeats))
    members = np.array([image for image, _ in owners], dtype=np.int64)
    # Each name is a node of its own, behind the images.
    nodes = len(images) + pd.factorize(np.array([name for _, name in owners], dtype=object))[0]
    edges = np.concatenate([images, members]), np.concatenate([repeats, nodes])
    count = len(images) + len(owners)
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(count, count))
    return connected_components(graph, directed=False)[1][: len(images)]


def name_groups(
    numbers: np.ndarray, originals: np.ndarray, given: Sequence[tuple[str, ...]]
) -> np.ndarray:
    """A name for each group that stays the same as the data grow, as far as that can be.

    A group with given names is called by the first of these, any other by the smallest id of its
    images. So a patient's further images, and further copies of a file, change no name.

    Args:
        numbers: int64 (n,), the group of each image.
        originals: (n,) ids as texts of bytes, equal for copies of one file.
        given: As for `join_given`.

    Returns:
        (n,) texts of 16 bytes, hexadecimal digits.
    """
    names = originals.astype("S16")
    _, group, count = np.unique(numbers, return_inverse=True, return_counts=True)
    several = np.flatnonzero(count[group] > 1)
    several = several[np.lexsort((names[several], group[several]))]
    starts = np.flatnonzero(np.diff(group[several], prepend=-1))
    names[several] = np.repeat(names[several[starts]], count[group[several[starts]]])
    first: dict[int, str] = {}
    for number, some in zip(group, given, strict=True):
        if some:
            first[number] = min(first.get(number, min(some)), *some)
    for number, name in first.items():
        first[number] = digest("group", name).hex()[:16]
    if first:
        for image, number in enumerate(group):
            names[image] = first.get(number, names[image])
    return names


@dataclass(frozen=True)
class Settled:
    """What became of images that have the same pixels and different labels.

    Attributes:
        labels: (n,) the label of each image, changed where the majority ruled.
        rejected: (n,) whether it cannot be used.
        done: (n,) `kept`, `rejected`, `relabelled`, or empty for an image without conflict.
    """

    labels: np.ndarray
    rejected: np.ndarray
    done: np.ndarray


def settle_conflicts(
    labels: Sequence[str],
    pictures: Sequence[str] | np.ndarray,
    policy: Literal["reject", "keep", "majority"],
) -> Settled:
    """Settle what the same picture under two labels shows.

    Args:
        labels: n labels.
        pictures: n digests or numbers, equal for images with the same pixels.
        policy: `ingest.conflicts`; without a majority of more than half, majority rejects.
    """
    settled, done = np.array(labels, dtype=object), np.full(len(labels), "", dtype=object)
    _, picture, count = np.unique(pictures, return_inverse=True, return_counts=True)
    several = np.flatnonzero(count[picture] > 1)
    table = pd.DataFrame({"label": settled[several], "picture": picture[several]}, index=several)
    conflict = table.groupby("picture")["label"].transform("nunique") > 1
    for _, copies in table[conflict].groupby("picture"):
        counts = copies["label"].value_counts()
        where = copies.index.to_numpy()
        if policy == "keep":
            done[where] = "kept"
        elif policy == "majority" and 2 * counts.iloc[0] > len(copies):
            done[where] = np.where(copies["label"] == counts.index[0], "kept", "relabelled")
            settled[where] = counts.index[0]
        else:
            done[where] = "rejected"
    return Settled(settled, done == "rejected", done)
