"""The work of one shard of `ingest`: a pure function of the bytes of its photos."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from stages.common.errors import one_line
from stages.common.photos import Unusable, develop, open_image, pixel_digest
from stages.ingest.duplicates import fingerprint
from stages.ingest.pixel_tables import PixelRow
from stages.ingest.quality import Measures, measure
from stages.ingest.sources import Source


def develop_shard(
    sources: Sequence[Source | PixelRow],
    size: tuple[int, int],
    color: Literal["rgb", "grayscale"],
    fit: Literal["stretch", "crop", "pad"],
    background: tuple[int, int, int],
    min_side: int,
    megapixels: float,
) -> dict[str, np.ndarray]:
    """Develop the photos of one shard.

    Args:
        sources: The n photos.
        size, color, fit: As in `develop`.
        background, min_side, megapixels: As in `open_photo`.

    Returns:
        For each of the n photos `reason` and `detail` (text; both empty if it is usable). For
        each of the m usable ones, in their order: `images` uint8 (m, h, w, c), `size` int64
        (m, 2) with the width and height of the upright photo, `exact` text, the pixel digest,
        `fingerprint` (m, d) and `quality` float32 (m, k), the columns as in `Measures`.
    """
    reasons, images, sizes, exact, fingerprints, measures = [], [], [], [], [], []
    for source in sources:
        try:
            image = open_image(source.read(), tuple(background), megapixels, min_side)
        except Unusable as error:
            reasons.append((error.reason, error.detail))
            continue
        except MemoryError:
            raise
        except Exception as error:  # members of archives fail in many ways: password, CRC, ...
            reasons.append(("unreadable", f"{type(error).__name__}: {one_line(error)}"))
            continue
        reasons.append(("", ""))
        photo = np.asarray(image)
        images.append(develop(image, size, color, fit))
        sizes.append(image.size)
        exact.append(pixel_digest(photo))
        fingerprints.append(fingerprint(photo))
        measures.append(measure(photo))
    (height, width), channels = size, 3 if color == "rgb" else 1
    return {
        "reason": np.array([reason for reason, _ in reasons], dtype=str),
        "detail": np.array([detail for _, detail in reasons], dtype=str),
        "images": np.reshape(images, (len(images), height, width, channels)).astype(np.uint8),
        "size": np.reshape(sizes, (len(sizes), 2)).astype(np.int64),
        "exact": np.array(exact, dtype=str),
        "fingerprint": np.array(fingerprints),
        "quality": np.reshape(measures, (len(measures), len(Measures._fields))).astype(np.float32),
    }
