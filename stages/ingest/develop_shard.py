"""The work of one shard of `ingest`: a pure function of the bytes of its photos."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from stages.common.photos import Unusable, develop, open_photo, pixel_digest
from stages.ingest.duplicates import fingerprint
from stages.ingest.sources import Source


def develop_shard(
    sources: Sequence[Source],
    size: tuple[int, int],
    color: Literal["rgb", "grayscale"],
    fit: Literal["stretch", "crop", "pad"],
) -> dict[str, np.ndarray]:
    """Develop the photos of one shard.

    Args:
        sources: The n photos.
        size, color, fit: As in `develop`.

    Returns:
        For each of the n photos `reason` and `detail` (text; both empty if it is usable). For
        each of the m usable ones, in their order: `images` uint8 (m, h, w, c), `size` int64
        (m, 2) with the width and height of the upright photo, `exact` text, the pixel digest,
        and `fingerprint` (m, d).
    """
    reasons, images, sizes, exact, fingerprints = [], [], [], [], []
    for source in sources:
        try:
            photo = open_photo(source.read())
        except Unusable as error:
            reasons.append((error.reason, error.detail))
            continue
        reasons.append(("", ""))
        images.append(develop(photo, size, color, fit))
        sizes.append((photo.shape[1], photo.shape[0]))
        exact.append(pixel_digest(photo))
        fingerprints.append(fingerprint(photo))
    (height, width), channels = size, 3 if color == "rgb" else 1
    return {
        "reason": np.array([reason for reason, _ in reasons], dtype=str),
        "detail": np.array([detail for _, detail in reasons], dtype=str),
        "images": np.reshape(images, (len(images), height, width, channels)).astype(np.uint8),
        "size": np.reshape(sizes, (len(sizes), 2)).astype(np.int64),
        "exact": np.array(exact, dtype=str),
        "fingerprint": np.array(fingerprints),
    }
