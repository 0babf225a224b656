"""Find repeats: images with the same pixels, and near duplicates of one photo.

Two images are near duplicates if their thumbnails show the same pattern of light and colour,
whatever their brightness, contrast and tint. A group is all that hangs together by such pairs (a
connected component), so two images within the threshold never stand on two sides of a split. The
price is chaining: the frames of a slow video form one group, although its first and last frame may
look different. That is meant, for every frame would leak into the next. Unrelated images do not
chain because the threshold lies below the distance at which they begin to meet.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

# Measured on 1,484 traffic lights (30 x 61 px) and 3,119 flowers (224 px): unrelated images begin
# to meet at 0.19 and 0.26; of copies re-encoded, halved or darkened by 20 %, 99.5 % lie below 0.18.
DEFAULT_THRESHOLD = 0.18

# A photo 17 px wide still fills eight columns after it was halved; a finer grid loses such copies.
SIDE = 8

# Contrast (RMS, grey levels) below which an image counts as blank: there the rounding of the
# thumbnail to whole levels alone comes near the threshold, so its pattern is no evidence.
BLANK = 2.0

# Luma and chroma of ITU-R BT.601, chroma halved because JPEG keeps it at half the resolution.
# In whole 256ths, so that sums are exact and no result depends on the order of additions.
LUMA_CHROMA = np.array([[77, 150, 29], [-22, -42, 64], [64, -54, -10]], np.float64)

SEARCH_DIMENSIONS = 16
ROUNDING = 1e-4  # well above the error of a distance between float32 projections
MAX_STALE = 2_000_000


def fingerprint(image: np.ndarray) -> np.ndarray:
    """Shrink one image to the few numbers by which its repeats are found.

    Args:
        image: decoded and upright, uint8 (height, width, 3) in RGB or (height, width, 1), any size.

    Returns:
        uint8 (192,): the mean colour of each cell of an 8 x 8 grid, row by row.
    """
    # One axis at a time, since OpenCV averages areas only where neither axis grows.
    columns = cv2.resize(image, (SIDE, image.shape[0]), interpolation=cv2.INTER_AREA)
    cells = cv2.resize(columns, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.broadcast_to(cells.reshape(SIDE, SIDE, -1), (SIDE, SIDE, 3)).flatten()


def patterns(fingerprints: np.ndarray) -> np.ndarray:
    """Free fingerprints of brightness, contrast and tint.

    A row is luma and halved chroma, less its mean in each channel, scaled to length 1. So the
    Euclidean distance of two rows is sqrt(2 - 2 r) for a correlation r: 0 for the same pattern,
    about 1.4 for unrelated ones, 2 for a negative.

    Args:
        fingerprints: uint8 (n, 192).

    Returns:
        float32 (n, 192). All zeros for a blank image, whose contrast is below `BLANK`.
    """
    cells = fingerprints.reshape(len(fingerprints), SIDE * SIDE, 3) @ LUMA_CHROMA.T
    cells -= cells.mean(axis=1, keepdims=True)
    rows = cells.reshape(len(cells), SIDE * SIDE * 3)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length < BLANK * 256 * SIDE, np.inf, length)
    return rows.astype(np.float32)


def find_groups(
    fingerprints: np.ndarray,
    exact: Sequence[str] | np.ndarray,
    threshold: float = DEFAULT_THRESHOLD,
) -> np.ndarray:
    """Give all repeats of an image the same group number.

    Two images share a group if their digests are equal, if their `patterns` are at most `threshold`
    apart, or if a chain of such pairs leads from one to the other. A blank image has no pattern and
    joins only images with its digest.

    Args:
        fingerprints: uint8 (n, 192), one row of `fingerprint` per image.
        exact: n digests, equal for images with the same pixels.
        threshold: largest distance of near duplicates, 0 to 2; it is roughly the RMS difference of
            two thumbnails as a share of their contrast. At 0 only equal digests join.

    Returns:
        int64 (n,): the group of each image, which is the smallest index in that group.
    """
    digest = _smallest_member(np.asarray(exact))
    if threshold <= 0:
        return digest
    # Equal fingerprints need one search only; ten thousand of them would fill a leaf of the tree.
    distinct, inverse = np.unique(fingerprints, axis=0, return_inverse=True)
    rows = patterns(distinct)
    textured = np.flatnonzero(rows.any(axis=1))
    component = np.full(len(distinct), -1)
    component[textured] = _components(rows[textured], threshold)
    near = component[inverse.reshape(-1)]
    near[near < 0] = len(distinct) + np.flatnonzero(near < 0)  # a blank image stands alone
    return _join(digest, _smallest_member(near))


def _components(rows: np.ndarray, threshold: float) -> np.ndarray:
    """For each row, a label shared by all rows that it reaches in steps of at most `threshold`."""
    component = np.arange(len(rows))
    unreached = _Unreached(rows, threshold)
    for first in component.copy():
        frontier = unreached.take(np.array([first]))
        while frontier:
            near = unreached.take_near(frontier.pop())
            component[near] = first
            frontier += near
    return component


class _Unreached:
    """Rows that no component has reached yet, searched by a k-d tree over few dimensions.

    An orthonormal projection never lengthens a distance, so the tree misses no near row, and what
    it finds is measured again in full. A taken row stays in the tree until the tree has returned
    too many of them: thousands of alike images cost a few new trees instead of all their pairs.
    """

    def __init__(self, rows: np.ndarray, threshold: float) -> None:
        self.rows = rows
        self.threshold = threshold
        self.projected = _project(rows)
        self.is_open = np.ones(len(rows), bool)
        self._plant()

    def _plant(self) -> None:
        self.planted = np.flatnonzero(self.is_open)
        self.tree = KDTree(self.projected[self.planted])
        self.stale = 0

    def take(self, indices: np.ndarray) -> list[int]:
        """Close those of the rows `indices` that are open, and return them."""
        taken = indices[self.is_open[indices]]
        self.is_open[taken] = False
        return taken.tolist()

    def take_near(self, index: int) -> list[int]:
        """Close the open rows within the threshold of row `index`, and return them."""
        radius = self.threshold + ROUNDING
        found = self.planted[self.tree.query_ball_point(self.projected[index], radius)]
        open_rows = found[self.is_open[found]]
        self.stale += len(found) - len(open_rows)
        if self.stale > MAX_STALE:
            self._plant()
        distance = np.linalg.norm(self.rows[open_rows] - self.rows[index], axis=1)
        return self.take(open_rows[distance <= self.threshold])


def _project(rows: np.ndarray) -> np.ndarray:
    """Rows on their own principal axes, where few dimensions hold most of a distance."""
    _, axes = np.linalg.eigh(rows.T @ rows)
    return rows @ axes[:, -SEARCH_DIMENSIONS:]


def _join(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The groups in which two images meet if they share a group of `first` or of `second`."""
    count = len(first)
    edges = np.tile(np.arange(count), 2), np.concatenate([first, second])
    graph = coo_array((np.ones(2 * count), edges), shape=(count, count))
    return _smallest_member(connected_components(graph, directed=False)[1])


def _smallest_member(labels: np.ndarray) -> np.ndarray:
    """For each label, the first position at which it stands; int64 (n,)."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)
