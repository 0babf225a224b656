"""Find repeats: images with the same pixels, and near duplicates of one photo.

Two images are near duplicates if their thumbnails show the same pattern of light and colour,
whatever their brightness, contrast and tint. A group is all that hangs together by such pairs (a
connected component), so two images within the threshold never stand on two sides of a split. The
price is chaining: the frames of a slow video form one group, although its first and last frame may
look different. That is meant, for every frame would leak into the next. Unrelated images do not
chain because the threshold lies below the distance at which they begin to meet.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

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

# As many principal axes tell nearly all unlike images apart, and cost a sixth of all axes.
SEARCH_DIMENSIONS = 32
ROUNDING = 1e-5  # well above the error of a product of two float32 patterns

# Images that are compared at once, so many with so many: their products stay in the CPU's cache.
ROWS, COLUMNS = 512, 2048


def fingerprint(image: np.ndarray) -> np.ndarray:
    """Shrink one image to the few numbers by which its repeats are found.

    Args:
        image: upright, uint8 RGB (height, width, 3), of at most 256 x 256 pixels.

    Returns:
        uint8 (192,): the mean colour of each cell of an 8 x 8 grid, row by row.
    """
    height, width, _ = image.shape
    rows = np.empty((SIDE, width * 3), np.float32)
    for row, overlaps in enumerate(_overlaps(height)):
        some = slice(row * height // SIDE, -(-(row + 1) * height // SIDE))  # the others have none
        rows[row] = overlaps[some] @ image[some].reshape(-1, width * 3).astype(np.float32)
    sums = _overlaps(width) @ rows.reshape(SIDE, width, 3)
    return np.rint(sums / (height * width)).astype(np.uint8).flatten()


@lru_cache
def _overlaps(pixels: int) -> np.ndarray:
    """How much of each pixel of a side lies in each cell; float32 (8, pixels).

    In eighths of a pixel: so all sums of `fingerprint` are whole numbers of less than 25 bits, and
    exact in float32 on every processor.
    """
    cells, sides = np.arange(SIDE)[:, None] * pixels, np.arange(pixels) * SIDE
    overlaps = np.minimum(cells + pixels, sides + SIDE) - np.maximum(cells, sides)
    return np.maximum(overlaps, 0).astype(np.float32)


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
    first = _first_position(np.asarray(exact))
    copies = np.flatnonzero(first != np.arange(len(first)))
    sets = _DisjointSets(len(first))
    sets.join(copies, first[copies])
    if threshold > 0:
        for rows, columns, candidates in _candidates(fingerprints, threshold):
            _join_near(sets, fingerprints, rows, columns, candidates, threshold)
    return sets.smallest(np.arange(len(first)))


class _DisjointSets:
    """Numbers below `count`, each in a set of its own until sets are joined."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def smallest(self, members: np.ndarray) -> np.ndarray:
        """The smallest number in the set of each member."""
        found = self._parent[members]
        while not np.array_equal(above := self._parent[found], found):
            found = above
        self._parent[members] = found
        return found

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Join the sets of first[i] and second[i], for each i."""
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self._root(one), self._root(other)))
            self._parent[high] = low

    def _root(self, member: int) -> int:
        parent = self._parent
        while (above := int(parent[member])) != member:
            parent[member] = parent[above]
            member = above
        return member


def _candidates(
    fingerprints: np.ndarray, threshold: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Tiles of pairs that hold every pair within the threshold, and few others.

    An orthonormal projection never lengthens a distance, so no near pair is missed if patterns are
    compared on few axes; along the first of these, only neighbours are. All products of two blocks
    of patterns are one multiplication of matrices, which beats search trees: at 30 dimensions
    and more these look into nearly every leaf.

    Yields:
        Two arrays of indices, and a bool matrix that says which pairs of them may be near.
    """
    textured, left, right = _project(fingerprints)
    bound = np.float32(-(threshold**2) / 2 - ROUNDING)
    position = left[:, 0]
    for start in range(0, len(textured), ROWS):
        rows = slice(start, start + ROWS)
        reach = position[rows][-1] + threshold + ROUNDING
        end = int(np.searchsorted(position, reach, side="right"))
        for begin in range(start, end, COLUMNS):
            columns = slice(begin, min(begin + COLUMNS, end))
            candidates = left[rows] @ right[columns].T >= bound
            if candidates.any():
                yield textured[rows], textured[columns], candidates


def _project(fingerprints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patterns on their own principal axes, where few dimensions hold most of a distance.

    Returns:
        The indices of the m images that are not blank, in the order of the first axis, and two
        float32 matrices (m, axes + 2): the product of a row of the first with a row of the second
        is minus half the squared distance of the two projections.
    """
    blocks = [slice(start, start + COLUMNS) for start in range(0, len(fingerprints), COLUMNS)]
    scatter = np.zeros((fingerprints.shape[1], fingerprints.shape[1]))
    for block in blocks:
        rows = patterns(fingerprints[block])
        scatter += rows.T @ rows
    axes = np.linalg.eigh(scatter)[1][:, : -SEARCH_DIMENSIONS - 1 : -1].astype(np.float32)
    projected = np.empty((len(fingerprints), SEARCH_DIMENSIONS), np.float32)
    is_textured = np.empty(len(fingerprints), bool)
    for block in blocks:
        rows = patterns(fingerprints[block])
        projected[block], is_textured[block] = rows @ axes, rows.any(axis=1)
    textured = np.flatnonzero(is_textured)
    textured = textured[np.argsort(projected[textured, 0], kind="stable")]
    projected = projected[textured]
    half = np.square(projected).sum(axis=1, keepdims=True) / 2
    one = np.ones_like(half)
    return textured, np.hstack([projected, -half, one]), np.hstack([projected, one, -half])


def _join_near(
    sets: _DisjointSets,
    fingerprints: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    candidates: np.ndarray,
    threshold: float,
) -> None:
    """Join the images of those candidates that are near, measured in full.

    Pairs that are joined already are left out, and each column is measured against one row at a
    time: so of thousands of alike images few of the millions of pairs are measured.
    """
    candidates = candidates & (sets.smallest(rows)[:, None] != sets.smallest(columns))
    some_rows, some_columns = candidates.any(axis=1), candidates.any(axis=0)
    rows, columns = rows[some_rows], columns[some_columns]
    first, second = patterns(fingerprints[rows]), patterns(fingerprints[columns])
    near = first @ second.T >= 1 - threshold**2 / 2 - ROUNDING
    candidates = near & candidates[np.ix_(some_rows, some_columns)]
    while candidates.any():
        column = np.flatnonzero(candidates.any(axis=0))
        row = candidates[:, column].argmax(axis=0)
        is_near = np.linalg.norm(first[row] - second[column], axis=1) <= threshold
        sets.join(rows[row[is_near]], columns[column[is_near]])
        candidates[row, column] = False
        candidates &= sets.smallest(rows)[:, None] != sets.smallest(columns)


def _first_position(labels: np.ndarray) -> np.ndarray:
    """For each label, the first position at which it stands; int64 (n,)."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)
