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
from threadpoolctl import threadpool_limits

from stages.ingest.scratch import scratch_array

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

# The columns of a projection in which the last two are exchanged; see `_project`.
_MIRROR = [*range(SEARCH_DIMENSIONS), SEARCH_DIMENSIONS + 1, SEARCH_DIMENSIONS]

# Images that are compared at once, so many with so many: their products stay in the CPU's cache.
ROWS, COLUMNS = 128, 2048
# Into so many slices, about, the images are cut along each of the first axes.
SLICES = 20
# Cells are kept apart by so many axes; they are never cut along more.
BOX_DIMENSIONS = 8


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
        exact: n digests or numbers, equal for images with the same pixels.
        threshold: largest distance of near duplicates, 0 to 2; it is roughly the RMS difference of
            two thumbnails as a share of their contrast. At 0 only equal digests join.

    Returns:
        int64 (n,): the group of each image, which is the smallest index in that group.
    """
    first = first_positions(np.asarray(exact))
    copies = np.flatnonzero(first != np.arange(len(first)))
    sets = _DisjointSets(len(first))
    sets.join(copies, first[copies])
    if threshold > 0:
        # Each product is too small to be divided: threads would mostly wait for each other.
        with threadpool_limits(1, "blas"):
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
    compared on few axes, and of these only the ones in cells that come near each other. All
    products of two cells are one multiplication of matrices, which beats search trees: at 30
    dimensions and more these look into nearly every leaf.
    """
    textured, points = _project(fingerprints)
    bound = np.float32(-(threshold**2) / 2 - ROUNDING)
    starts, low, high = _boxes(points)
    ends = np.minimum(starts + ROWS, len(points))
    for cell, (start, end) in enumerate(zip(starts, ends, strict=True)):
        rows = slice(start, end)
        mirrored = points[rows][:, _MIRROR]
        gaps = np.maximum(low[cell:] - high[cell], low[cell] - high[cell:])
        apart = np.square(np.maximum(gaps, 0)).sum(axis=1)
        near = cell + np.flatnonzero(apart <= (threshold + ROUNDING) ** 2)
        for run in np.split(near, np.flatnonzero(np.diff(near) > 1) + 1):
            for begin in range(starts[run[0]], ends[run[-1]], COLUMNS):
                columns = slice(begin, min(begin + COLUMNS, ends[run[-1]]))
                candidates = mirrored @ points[columns].T >= bound
                if candidates.any():
                    yield textured[rows], textured[columns], candidates


def _project(fingerprints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patterns on their own principal axes, where few dimensions hold most of a distance.

    Returns:
        The indices of the m images that are not blank, cell by cell, and a float32 matrix
        (m, axes + 2): the product of a row with another, of which the last two columns are
        exchanged, is minus half the squared distance of the two projections.
    """
    blocks = _blocks(len(fingerprints))
    scatter = np.zeros((fingerprints.shape[1], fingerprints.shape[1]))
    for block in blocks:
        rows = patterns(fingerprints[block])
        scatter += rows.T @ rows
    axes = np.linalg.eigh(scatter)[1][:, : -SEARCH_DIMENSIONS - 1 : -1].astype(np.float32)
    projected = scratch_array((len(fingerprints), SEARCH_DIMENSIONS), np.float32)
    is_textured = np.empty(len(fingerprints), bool)
    for block in blocks:
        rows = patterns(fingerprints[block])
        projected[block], is_textured[block] = rows @ axes, rows.any(axis=1)
    textured = np.flatnonzero(is_textured)
    _sort_into_cells(textured, projected)
    points = scratch_array((len(textured), SEARCH_DIMENSIONS + 2), np.float32)
    for block in _blocks(len(textured)):
        some = projected[textured[block]]
        half = np.square(some).sum(axis=1, keepdims=True) / 2
        points[block] = np.hstack([some, -half, np.ones_like(half)])
    return textured, points


def _sort_into_cells(images: np.ndarray, projected: np.ndarray) -> None:
    """Order images so that each `ROWS` of them lie close together on the first axes.

    They are cut into slices along the first axis, each of these along the second, and so on, so
    that a cell is about as many slices wide on each. The more images, the more axes.
    """
    cells = len(images) / ROWS
    axes = max(1, round(np.log(max(cells, 1)) / np.log(SLICES)))
    size = max(len(images), 1)
    for axis in range(axes):
        # Whole cells, so that each lies in one slice.
        slices = max(1, round((size / ROWS) ** (1 / (axes - axis))))
        inner = -(-size // (slices * ROWS)) * ROWS
        for start in range(0, len(images), size):
            some = images[start : start + size]
            some[:] = some[np.argsort(projected[some, axis], kind="stable")]
        size = inner


def _boxes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each cell begins, and its least and greatest place on the first axes."""
    starts = np.arange(0, len(points), ROWS)
    low = np.empty((len(starts), BOX_DIMENSIONS), np.float32)
    high = np.empty_like(low)
    for cell, start in enumerate(starts):
        inside = points[start : start + ROWS, :BOX_DIMENSIONS]
        low[cell], high[cell] = inside.min(axis=0), inside.max(axis=0)
    return starts, low, high


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + COLUMNS) for start in range(0, count, COLUMNS)]


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


def first_positions(labels: np.ndarray) -> np.ndarray:
    """For each label, the first position at which it stands; int64 (n,)."""
    order = np.argsort(labels, kind="stable")
    is_first = np.ones(len(labels), bool)
    for block in _blocks(len(labels) - 1):
        ordered = labels[order[block.start : block.stop + 1]]
        is_first[1:][block] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_first)
    first = np.empty(len(labels), np.int64)
    first[order] = np.repeat(order[starts], np.diff(starts, append=len(labels)))
    return first
