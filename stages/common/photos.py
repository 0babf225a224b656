"""One photo: its id, and developing it from the bytes of a file to an array of fixed size."""

import hashlib
import io
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# What operating systems and Git leave in folders; no user would miss it.
_LITTER = {"Thumbs.db", "desktop.ini", "__MACOSX"}


class Unusable(Exception):
    """A file that is no usable photo: a reason from a fixed list, and the detail."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or what operating systems leave behind."""
    return name in _LITTER or name.startswith(".")


def image_id(content: bytes, copy: int = 0) -> str:
    """An id that depends on the bytes of a photo alone: 16 hexadecimal digits.

    So a renamed or relabelled photo keeps its id and its variants.

    Args:
        content: The bytes of the file.
        copy: How many photos with the same bytes came before; each has an id of its own.
    """
    digest = hashlib.sha256(content).digest()
    return hashlib.sha256(digest + copy.to_bytes(8, "little")).hexdigest()[:16]


def open_photo(content: bytes) -> np.ndarray:
    """Decode a photo in whatever format its bytes say, and turn it upright by its EXIF tag.

    Alpha is laid over white; 16-bit greys are scaled to 8 bits, not clipped.

    Args:
        content: The bytes of the file.

    Returns:
        uint8 RGB (height, width, 3).

    Raises:
        Unusable: `not_an_image`, `too_large` (more than 179 million pixels), `truncated`,
            `unsupported` (pixels in floating point, which have no known white), or `unreadable`.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return np.asarray(_to_rgb(_upright(image)))
    except (Unusable, MemoryError):
        raise
    except UnidentifiedImageError:
        raise Unusable("not_an_image", _first_bytes(content)) from None
    except Image.DecompressionBombError as error:
        raise Unusable("too_large", str(error)) from None
    except Exception as error:  # decoders raise whatever they like on bytes from strangers
        reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise Unusable(reason, f"{type(error).__name__}: {error}") from None


def develop(
    photo: np.ndarray,
    size: tuple[int, int],
    color: Literal["rgb", "grayscale"],
    fit: Literal["stretch", "crop", "pad"],
) -> np.ndarray:
    """Bring a photo to the size, colour and fit that the network is to see.

    Args:
        photo: uint8 RGB (height, width, 3).
        size: Height and width of the result, pixels.
        color: Three channels, or one of luma (ITU-R 601-2).
        fit: `stretch` to the size, `crop` the middle, or `pad` with black.

    Returns:
        uint8 (*size, 3) or (*size, 1).
    """
    image = Image.fromarray(photo)
    if color == "grayscale":
        image = image.convert("L")
    resize = {"stretch": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}[fit]
    height, width = size
    array = np.asarray(resize(image, (width, height), Image.Resampling.BILINEAR))
    return array.reshape(height, width, -1)


def pixel_digest(photo: np.ndarray) -> str:
    """The same for photos with the same pixels, whatever file format they came in."""
    return hashlib.sha256(repr(photo.shape).encode() + photo.tobytes()).hexdigest()[:32]


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise Unusable("unsupported", "floating-point pixels; convert to 8 or 16 bits")
    if image.mode.startswith("I"):
        # 16-bit greys, also where Pillow holds them in 32 bits.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _first_bytes(content: bytes) -> str:
    return f"starts with {content[:16]!r}" if content else "empty file"
