"""One photo: its id, and developing it from the bytes of a file to an array of fixed size."""

import contextlib
import hashlib
import io
import logging
import re
import warnings
from typing import Literal, NoReturn

import numpy as np
import xxhash
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
)

from stages.common import netpbm
from stages.common.containers import (
    archive_format,
    bits_of_sample,
    missing_end,
    other_picture,
    picture_format,
    without_png_texts,
)

REASONS = {
    "empty_file": "the file has no bytes",
    "git_lfs_pointer": "the file stands for one that Git LFS has not fetched",
    "archive": "the file is an archive or compressed file",
    "not_an_image": "the bytes begin as no picture does",
    "unsupported": "a picture of a format or kind of pixels that is not read",
    "too_small": "a side has fewer pixels than `ingest.min_side`",
    "too_large": "the picture has more pixels than `ingest.limits.megapixels`",
    "truncated": "the end of the file is missing",
    "unreadable": "the file is whole, but damaged",
}
"""Why `open_photo` refuses a file."""

_UNSUPPORTED = re.compile(
    "unsupported|not supported|cannot handle|unknown pixel mode|unknown data organization", re.I
)
_GIT_LFS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")

logging.getLogger("PIL").setLevel(logging.CRITICAL)

# What operating systems and Git leave in folders; no user would miss it.
_LITTER = {"Thumbs.db", "desktop.ini", "__MACOSX"}


class Unusable(Exception):
    """A file that is no usable photo: a reason from a fixed list, and the detail in one line."""

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
    return id_of_digest(content_digest(content), copy)


def content_digest(content: bytes) -> bytes:
    """The 32 bytes on which the id of a photo depends."""
    return hashlib.sha256(content).digest()


def id_of_digest(digest: bytes, copy: int = 0) -> str:
    """The `image_id` of a photo by its `content_digest`."""
    return hashlib.sha256(digest + copy.to_bytes(8, "little")).hexdigest()[:16]


def open_photo(
    content: bytes,
    background: tuple[int, int, int] = (255, 255, 255),
    megapixels: float = 150,
    min_side: int = 1,
) -> np.ndarray:
    """Decode a photo in whatever format its bytes say, and turn it upright by its EXIF tag.

    It reads JPEG, MPO, PNG, WebP, BMP, GIF (the first frame), TIFF (the first page), PBM, PGM,
    PPM, JPEG 2000 and AVIF. Greys of 16 bits are scaled to 8 and rounded; of colours of 16 bits
    the upper 8 are taken.

    Args:
        content: The bytes of the file.
        background: What transparent pixels are laid over: red, green, blue.
        megapixels: More million pixels than this are refused before any is decoded.
        min_side: Fewer pixels than this on a side are refused.

    Returns:
        uint8 RGB (height, width, 3).

    Raises:
        Unusable: The file is no usable photo: one of `REASONS`, and the detail in one line.
        MemoryError: There is not enough of it, which says nothing about the photo.
    """
    return np.asarray(open_image(content, background, megapixels, min_side))


def open_image(
    content: bytes,
    background: tuple[int, int, int] = (255, 255, 255),
    megapixels: float = 150,
    min_side: int = 1,
) -> Image.Image:
    """As `open_photo`, but as an RGB image of Pillow, which need not be copied to be resized."""
    name = picture_format(content)
    if name is None:
        _refuse_other(content)
    if name == "PPM":
        return _read_netpbm(content, megapixels, min_side)
    # Pillow knows no limit for one file, but refuses twice this, before it makes any room.
    Image.MAX_IMAGE_PIXELS = megapixels * 1e6 / 2
    warnings.filterwarnings("ignore", module=r"PIL\b")
    try:
        with Image.open(io.BytesIO(content), formats=[name]) as image:
            _check_size(image.size, megapixels, min_side)
            if (missing := missing_end(content, name)) is not None:
                raise Unusable("truncated", missing)
            if name == "PNG":
                _match_transparency(image, bits=content[24])
            _refuse_misread(image, bits_of_sample(content, name))
            image.load()
            return _to_rgb(_upright(image), background)
    except (Unusable, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        _refuse_large(int(re.search(r"\d+", str(error))[0]), megapixels)
    except Exception as error:  # decoders raise whatever they like on bytes from strangers
        if "MAX_TEXT_" in str(error) and (short := without_png_texts(content)) != content:
            return open_image(short, background, megapixels, min_side)
        _refuse_broken(content, name, error)


def develop(
    photo: np.ndarray | Image.Image,
    size: tuple[int, int],
    color: Literal["rgb", "grayscale"],
    fit: Literal["stretch", "crop", "pad"],
) -> np.ndarray:
    """Bring a photo to the size, colour and fit that the network is to see.

    Args:
        photo: uint8 RGB (height, width, 3), or such an image.
        size: Height and width of the result, pixels.
        color: Three channels, or one of luma (ITU-R 601-2).
        fit: `stretch` to the size, `crop` the middle, or `pad` with black.

    Returns:
        uint8 (*size, 3) or (*size, 1).
    """
    image = photo if isinstance(photo, Image.Image) else Image.fromarray(photo)
    if color == "grayscale":
        image = image.convert("L")
    resize = {"stretch": _stretch, "crop": ImageOps.fit, "pad": ImageOps.pad}[fit]
    height, width = size
    array = np.asarray(resize(image, (width, height), Image.Resampling.BILINEAR))
    return array.reshape(height, width, -1)


def pixel_digest(photo: np.ndarray) -> str:
    """The same for photos with the same pixels, whatever file format they came in."""
    digest = xxhash.xxh3_128(repr(photo.shape).encode())
    digest.update(np.ascontiguousarray(photo))
    return digest.hexdigest()


def _stretch(image: Image.Image, size: tuple[int, int], method: Image.Resampling) -> Image.Image:
    """Of a large photo first averages over whole pixels are taken, as Pillow's thumbnails are."""
    return image.resize(size, method, reducing_gap=2)


def _refuse_other(content: bytes) -> NoReturn:
    """Refuse what begins as no picture that is read."""
    if not content:
        raise Unusable("empty_file", "0 bytes")
    if content.startswith(_GIT_LFS):
        raise Unusable("git_lfs_pointer", "run git lfs pull")
    if (name := archive_format(content)) is not None:
        raise Unusable("archive", f"a file of {name}")
    if (name := other_picture(content)) is not None:
        raise Unusable("unsupported", f"{name}; convert it to PNG or JPEG")
    raise Unusable("not_an_image", f"starts with {content[:16]!r}")


def _refuse_large(pixels: int, megapixels: float) -> NoReturn:
    raise Unusable(
        "too_large", f"{pixels} pixels; ingest.limits.megapixels allows {megapixels:g} million"
    )


def _refuse_broken(content: bytes, name: str, error: Exception) -> NoReturn:
    """Refuse a picture that failed to decode, by what its bytes and the error say."""
    if name not in Image.OPEN:
        raise Unusable("unsupported", f"this Pillow reads no {name}") from None
    if (missing := missing_end(content, name)) is not None:
        raise Unusable("truncated", missing) from None
    if isinstance(error, Image.UnidentifiedImageError):
        error = _cause(content, name)
    detail = f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"
    raise Unusable("unsupported" if _UNSUPPORTED.search(detail) else "unreadable", detail) from None


def _cause(content: bytes, name: str) -> Exception:
    """Why Pillow does not know a picture, which it tells nobody."""
    factory, accepts = Image.OPEN[name]
    if isinstance(refusal := accepts(content[:16]), str):
        return Exception(f"not supported: {refusal}")
    try:
        factory(io.BytesIO(content), "")
    except Exception as error:
        return error
    return Exception("not known by Pillow")


def _check_size(size: tuple[int, int], megapixels: float, min_side: int) -> None:
    width, height = size
    if width * height > megapixels * 1e6:
        _refuse_large(width * height, megapixels)
    if min(size) < min_side:
        raise Unusable(
            "too_small", f"{width} x {height} pixels; ingest.min_side asks for {min_side}"
        )


def _read_netpbm(content: bytes, megapixels: float, min_side: int) -> Image.Image:
    try:
        header = netpbm.read_header(content)
        if header is None:
            raise Unusable("truncated", f"{len(content)} bytes, which end within its header")
        _check_size(header.size, megapixels, max(min_side, 1))
        samples = netpbm.read_samples(content, header)
    except ValueError as error:
        raise Unusable("unreadable", f"PPM: {error}") from None
    if samples is None:
        detail = f"{len(content)} bytes, fewer samples than {header.samples}"
        raise Unusable("truncated", detail)
    return Image.fromarray(_scale(samples, header.largest)).convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    with contextlib.suppress(Exception):  # a broken EXIF block says nothing about the pixels
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _refuse_misread(image: Image.Image, bits: int) -> None:
    """Refuse what Pillow decodes without an error, and to other pixels."""
    tags = getattr(image, "tag_v2", {})
    if image.format == "JPEG2000" and bits > 8 and not image.mode.startswith("I"):
        # It rounds to 8 bits and wraps around: white becomes black.
        raise Unusable("unsupported", f"colours of {bits} bits; convert to 8 bits")
    if image.format in ("BMP", "DIB") and image.mode == "1" and bits > 1:
        raise Unusable("unsupported", f"black and white in {bits} bits; convert to PNG")
    is_raw = all(tile[0] == "raw" for tile in image.tile)
    if tags.get(PLANAR_CONFIGURATION) == 2 and is_raw and max(tags.get(BITSPERSAMPLE, (1,))) > 8:
        raise Unusable("unsupported", "planes of more than 8 bits; convert to PNG")


def _to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if image.mode == "F":
        raise Unusable("unsupported", "floating-point pixels; convert to 8 or 16 bits")
    if image.mode.startswith("I"):
        image = _from_wide_grey(image)
    if image.mode == "La":  # Pillow converts this one to nothing else
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        behind = Image.new("RGBA", image.size, background)
        image = Image.alpha_composite(behind, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _match_transparency(image: Image.Image, bits: int) -> None:
    """A PNG gives its transparent colour in bits of the file; the pixels of Pillow have 8."""
    value = image.info.get("transparency")
    if image.mode == "RGB" and value is not None:
        image.info["transparency"] = tuple(one >> max(bits - 8, 0) & 255 for one in value)
    elif image.mode == "L" and value is not None:
        image.info["transparency"] = value * (255 // (2**bits - 1)) & 255


def _from_wide_grey(image: Image.Image) -> Image.Image:
    """Greys of 12, 16 or 32 bits with 8, and with alpha where one of them is transparent."""
    samples, tags = np.asarray(image), getattr(image, "tag_v2", {})
    lowest, highest = int(samples.min()), int(samples.max())
    if lowest < 0 or highest > 65535:
        detail = f"greys from {lowest} to {highest}; convert to 8 or 16 bits"
        raise Unusable("unsupported", detail)
    grey = _scale(samples, 4095 if 12 in tags.get(BITSPERSAMPLE, ()) else 65535)
    if tags.get(PHOTOMETRIC_INTERPRETATION) == 0:  # there 0 is white
        grey = 255 - grey
    if "transparency" not in image.info:
        return Image.fromarray(grey)
    alpha = np.where(samples == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([grey, alpha]))


def _scale(samples: np.ndarray, largest: int) -> np.ndarray:
    """Samples from 0 to `largest` as uint8 from 0 to 255, rounded half up."""
    levels = (np.arange(largest + 1) * 510 + largest) // (2 * largest)
    return levels.astype(np.uint8)[samples]
