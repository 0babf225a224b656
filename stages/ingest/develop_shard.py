"""The work of one shard of `ingest`: a pure function of the bytes of its photos."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from stages.common.errors import InputError, one_line
from stages.common.photos import Unusable, develop, image_id, open_image, pixel_digest
from stages.ingest.duplicates import fingerprint
from stages.ingest.measures import luma_of, measure, shrink
from stages.ingest.pixel_tables import PixelRow
from stages.ingest.sources import Source, in_order

FACTS = np.dtype(
    [
        ("width", np.int64),
        ("height", np.int64),
        ("exact", "S32"),
        ("fingerprint", np.uint8, 192),
        ("quality", np.float32, 4),
    ]
)


def develop_shard(
    sources: Sequence[Source | PixelRow],
    originals: Sequence[bytes],
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
        originals: The id of the bytes that each had when it was read before, as texts of bytes.
        size, color, fit: As in `develop`.
        background, min_side, megapixels: As in `open_photo`.

    Returns:
        `rejected`: (n, 2) text, the reason and the detail of each photo; both empty if it is
        usable. Of the m usable ones, in their order, `images` uint8 (m, h, w, c), and `facts` (m,)
        with the fields `width` and `height` of the upright photo, `exact`, the pixel digest,
        `fingerprint` uint8 (192,) and `quality` float32 (4,), as in `Measures`.

    Raises:
        InputError: Other bytes are read now, or none: what they give is no result of these photos.
    """
    rejected, facts, lumas = [], [], []
    images = np.empty((len(sources), *size, 3 if color == "rgb" else 1), np.uint8)
    for source, original, content in zip(sources, originals, in_order(_read, sources), strict=True):
        if image_id(content).encode() != original:
            raise _changed(source, "other bytes")
        try:
            image = open_image(content, tuple(background), megapixels, min_side)
        except Unusable as error:
            rejected.append((error.reason, error.detail))
            continue
        except MemoryError:
            raise
        except Exception as error:  # decoders fail in many ways
            rejected.append(("unreadable", f"{type(error).__name__}: {one_line(error)}"))
            continue
        rejected.append(("", ""))
        images[len(facts)] = develop(image, size, color, fit)
        small = shrink(image)
        photo = np.asarray(image)
        seen = photo if small is image else np.asarray(small)
        lumas.append(luma_of(seen))
        facts.append((*image.size, pixel_digest(photo), fingerprint(seen)))
    quality = measure(lumas)
    facts = [(*known, one) for known, one in zip(facts, quality, strict=True)]
    return {
        "rejected": np.array(rejected, dtype=str).reshape(len(rejected), 2),
        "images": images[: len(facts)],
        "facts": np.array(facts, FACTS),
    }


def _read(source: Source | PixelRow) -> bytes:
    try:
        return source.read()
    except (InputError, MemoryError):
        raise
    except Exception as error:  # members of archives fail in many ways: password, CRC, ...
        raise _changed(source, f"{type(error).__name__}: {one_line(error)}") from None


def _changed(source: Source | PixelRow, found: str) -> InputError:
    return InputError(
        f"{source.name}: expected the bytes that it had when it was read before, received {found}; "
        "let nothing change the raw files during a run, see that every worker reads the same, and "
        "run it again"
    )
