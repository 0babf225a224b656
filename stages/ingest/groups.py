"""Groups of images that belong together, and the same picture under two labels."""

from collections.abc import Iterable, Sequence
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
    images = np.arange(len(repeats))
    owners = [(image, name) for image, names in enumerate(given) for name in names]
    members = np.array([image for image, _ in owners], dtype=np.int64)
    # Each name is a node of its own, behind the images.
    nodes = len(images) + pd.factorize(np.array([name for _, name in owners], dtype=object))[0]
    edges = np.concatenate([images, members]), np.concatenate([repeats, nodes])
    count = len(images) + len(owners)
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(count, count))
    return connected_components(graph, directed=False)[1][: len(images)]


def name_groups(
    numbers: np.ndarray, originals: Sequence[str], given: Sequence[tuple[str, ...]]
) -> np.ndarray:
    """A name for each group that stays the same as the data grow, as far as that can be.

    A group with given names is called by the first of these, any other by the smallest id of its
    images. So a patient's further images, and further copies of a file, change no name.

    Args:
        numbers: int64 (n,), the group of each image.
        originals: n ids, equal for copies of one file.
        given: As for `join_given`.

    Returns:
        n texts of 16 hexadecimal digits.
    """
    numbers = numbers.tolist()
    names = _smallest(zip(numbers, originals, strict=True))
    pairs = ((number, name) for number, some in zip(numbers, given, strict=True) for name in some)
    names |= {number: digest("group", name).hex()[:16] for number, name in _smallest(pairs).items()}
    return np.array([names[number] for number in numbers], dtype=object)


def _smallest(pairs: Iterable[tuple[int, str]]) -> dict[int, str]:
    """The smallest text of each number."""
    found: dict[int, str] = {}
    for number, text in pairs:
        if number not in found or text < found[number]:
            found[number] = text
    return found


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
        pictures: n digests, equal for images with the same pixels.
        policy: `ingest.conflicts`; without a majority of more than half, majority rejects.
    """
    table = pd.DataFrame({"label": list(labels), "picture": list(pictures)})
    conflict = table.groupby("picture")["label"].transform("nunique") > 1
    done = np.full(len(table), "", dtype=object)
    settled = table["label"].to_numpy(dtype=object).copy()
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
