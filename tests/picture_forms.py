"""A table of every form of pictures that is read, with what each of them shows."""

import io
import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.pictures_by_hand import bmp, netpbm, packed, png, tiff

HEIGHT, WIDTH = 35, 53  # rows and columns end within a byte, a word, a block and a tile
BACKGROUND = (200, 30, 120)
ORIENTATION = 0x0112  # of EXIF


def encoded(image: Image.Image | np.ndarray, file_format: str = "PNG", **options: object) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def first_of_two(first: np.ndarray, file_format: str, **options: object) -> bytes:
    second = Image.fromarray(255 - first)
    return encoded(first, file_format, save_all=True, append_images=[second], **options)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def slopes() -> np.ndarray:
    """Red rises to the right, green downwards, and blue falls along the diagonal."""
    down, right = np.mgrid[:HEIGHT, :WIDTH]
    down, right = down / (HEIGHT - 1), right / (WIDTH - 1)
    return np.rint(255 * np.dstack([right, down, 1 - (down + right) / 2])).astype(np.uint8)


class Form(NamedTuple):
    """A form of pictures: how it is written, what it shows and how exactly, and where it ends."""

    write: Callable[[], bytes]
    pixels: np.ndarray
    tolerance: int = 0
    needed: Callable[[bytes], int] = len


SLOPES, NOISE = slopes(), noise(HEIGHT, WIDTH, 3)
LEVELS, ALPHA = NOISE[..., 0], NOISE[::-1, :, 1]
WIDE = NOISE.astype(int) * 256 + NOISE[:, ::-1]
PALETTE, CLEAR = noise(256, 3), noise(256)


def grey(levels: np.ndarray) -> np.ndarray:
    return np.dstack([levels] * 3)


def scaled(samples: np.ndarray, largest: int) -> np.ndarray:
    return np.floor(samples * 255.0 / largest + 0.5)


def over(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(colours * share + np.array(BACKGROUND) * (1 - share))


def without_first(samples: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """What is shown where all pixels like the upper left one are transparent."""
    same = samples.reshape(HEIGHT, WIDTH, -1) == samples[0, 0]
    return np.where(same.all(axis=2, keepdims=True), BACKGROUND, shown)


def cmyk(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([255 - pixels, np.zeros_like(pixels[..., 0])]), mode="CMYK")


def photoshop_jpeg(pixels: np.ndarray) -> bytes:
    """A JPEG of inks, of which Photoshop stores the luma and chroma (YCCK)."""
    ink = 255.0 - pixels
    y = ink @ [0.299, 0.587, 0.114]
    blue, red = (ink[..., 2] - y) / 1.772 + 128, (ink[..., 0] - y) / 1.402 + 128
    stored = np.rint(np.dstack([y, blue, red, np.full_like(y, 255)]).clip(0, 255))
    # Pillow stores the inverse of what it is given, and marks it as CMYK, 0; YCCK has 2.
    image = Image.fromarray(255 - stored.astype(np.uint8), mode="CMYK")
    start, rest = encoded(image, "JPEG", quality=95).split(b"Adobe")
    return start + b"Adobe" + rest[:6] + b"\2" + rest[7:]


def turned(pixels: np.ndarray) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encoded(np.rot90(pixels).copy(), "JPEG", quality=95, exif=exif)


def jpeg_forms() -> dict[str, Form]:
    write = partial(encoded, file_format="JPEG", quality=95)
    two = partial(first_of_two, SLOPES, "MPO", quality=95)
    red = SLOPES[..., 0]
    return {
        "jpeg": Form(partial(write, SLOPES), SLOPES, 10),
        "jpeg-progressive": Form(partial(write, SLOPES, progressive=True), SLOPES, 10),
        "jpeg-grey": Form(partial(write, red), grey(red), 2),
        "jpeg-rgb": Form(partial(write, SLOPES, keep_rgb=True), SLOPES, 2),
        "jpeg-cmyk": Form(partial(write, cmyk(SLOPES)), SLOPES, 2),
        "jpeg-photoshop": Form(partial(photoshop_jpeg, SLOPES), SLOPES, 4),
        "jpeg-turned": Form(partial(turned, SLOPES), SLOPES, 10),
        "jpeg-mpo": Form(two, SLOPES, 10, lambda content: content.rindex(b"\xff\xd8\xff")),
    }


def png_forms() -> dict[str, Form]:
    forms = {}
    for bits in (1, 2, 4, 8, 16):
        levels = WIDE[..., 0] >> (16 - bits)
        shown = grey(scaled(levels, 2**bits - 1))
        clear = int(levels[0, 0]).to_bytes(2)
        forms[f"png-grey-{bits}"] = Form(partial(png, levels, bits, 0), shown)
        forms[f"png-grey-{bits}-clear"] = Form(
            partial(png, levels, bits, 0, tRNS=clear), without_first(levels, shown)
        )
    for bits in (1, 2, 4, 8):
        numbers = LEVELS >> (8 - bits)
        palette, shown = PALETTE[: 2**bits].tobytes(), PALETTE[numbers]
        forms[f"png-palette-{bits}"] = Form(partial(png, numbers, bits, 3, PLTE=palette), shown)
        forms[f"png-palette-{bits}-clear"] = Form(
            partial(png, numbers, bits, 3, PLTE=palette, tRNS=CLEAR[: 2**bits].tobytes()),
            over(shown, CLEAR[numbers]),
        )
    for bits, samples, alpha in [(8, NOISE, ALPHA), (16, WIDE, ALPHA.astype(int) * 256)]:
        clear = samples[0, 0].astype(">u2").tobytes()
        rgba, grey_alpha = np.dstack([samples, alpha]), np.dstack([samples[..., 0], alpha])
        forms |= {
            f"png-rgb-{bits}": Form(partial(png, samples, bits, 2), NOISE),
            f"png-rgb-{bits}-clear": Form(
                partial(png, samples, bits, 2, tRNS=clear), without_first(samples, NOISE)
            ),
            f"png-grey-alpha-{bits}": Form(
                partial(png, grey_alpha, bits, 4), over(grey(LEVELS), ALPHA)
            ),
            f"png-rgba-{bits}": Form(partial(png, rgba, bits, 6), over(NOISE, ALPHA)),
        }
    forms["png-interlaced-1"] = Form(
        partial(png, LEVELS >> 7, 1, 0, interlaced=True), grey((LEVELS >> 7) * 255)
    )
    forms["png-interlaced-rgb-8"] = Form(partial(png, NOISE, 8, 2, interlaced=True), NOISE)
    long_text = b"Comment\0\0" + zlib.compress(bytes(2**21))
    forms["png-long-text"] = Form(partial(png, NOISE, 8, 2, zTXt=long_text), NOISE)
    return forms


def bitmap_forms() -> dict[str, Form]:
    bgr = NOISE[..., ::-1].reshape(HEIGHT, -1)
    bgra = np.dstack([NOISE[..., ::-1], ALPHA]).reshape(HEIGHT, -1)
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    forms = {
        "24": Form(partial(bmp, bgr, WIDTH, 24), NOISE),
        "24-top-down": Form(partial(bmp, bgr, WIDTH, 24, top_down=True), NOISE),
        "32": Form(partial(bmp, bgra, WIDTH, 32), NOISE),
        "32-alpha": Form(partial(bmp, bgra, WIDTH, 32, masks=masks), over(NOISE, ALPHA)),
    }
    for bits in (1, 4, 8):
        numbers, palette = LEVELS >> (8 - bits), PALETTE[: 2**bits]
        forms[f"{bits}"] = Form(
            partial(bmp, packed(numbers, bits), WIDTH, bits, palette), palette[numbers]
        )
    return {f"bmp-{name}": form for name, form in forms.items()} | {
        f"dib-{name}": form._replace(write=lambda form=form: form.write()[14:])
        for name, form in forms.items()
    }


def gif_forms() -> dict[str, Form]:
    image = Image.fromarray(LEVELS).convert("P")
    image.putpalette(PALETTE.tobytes())
    write, shown = partial(encoded, image, "GIF"), PALETTE[LEVELS]
    return {
        "gif87a": Form(partial(write, interlace=0), shown),
        "gif87a-interlaced": Form(partial(write, interlace=1), shown),
        "gif89a-clear": Form(
            partial(write, transparency=int(LEVELS[0, 0])), without_first(LEVELS, shown)
        ),
        "gif89a-animated": Form(partial(first_of_two, LEVELS, "GIF", duration=100), grey(LEVELS)),
    }


def tiff_forms() -> dict[str, Form]:
    deep, bits = WIDE[..., 0], LEVELS >> 7
    forms = {
        f"tiff-{name}": Form(partial(encoded, NOISE, "TIFF", **options), NOISE)
        for name, options in {
            **{one: {"compression": one} for one in ("raw", "tiff_lzw", "packbits")},
            "big": {"big_tiff": True},
        }.items()
    }
    for order, name in {"<": "little", ">": "big"}.items():
        write = partial(tiff, order=order)
        forms |= {
            f"tiff-{name}-endian-rgb-8": Form(partial(write, NOISE, 8, 2), NOISE),
            f"tiff-{name}-endian-rgb-16": Form(partial(write, WIDE, 16, 2), NOISE),
            f"tiff-{name}-endian-grey-16": Form(
                partial(write, deep, 16), grey(scaled(deep, 65535))
            ),
            f"tiff-{name}-endian-tiles": Form(partial(write, NOISE, 8, 2, tiled=True), NOISE),
            f"tiff-{name}-endian-deflated-tiles": Form(
                partial(write, deep, 16, tiled=True, deflated=True), grey(scaled(deep, 65535))
            ),
        }
    rgba = np.dstack([NOISE, ALPHA])
    dimmed = np.dstack([np.rint(LEVELS * (ALPHA / 255)).astype(np.uint8), ALPHA])
    page = len(encoded(NOISE, "TIFF"))
    return forms | {
        "tiff-grey-1": Form(partial(tiff, bits, 1), grey(bits * 255)),
        "tiff-white-is-0-1": Form(partial(tiff, bits, 1, 0), grey(255 - bits * 255)),
        "tiff-white-is-0-8": Form(partial(tiff, LEVELS, 8, 0), grey(255 - LEVELS)),
        "tiff-white-is-0-16": Form(partial(tiff, deep, 16, 0), grey(255 - scaled(deep, 65535))),
        "tiff-grey-12": Form(partial(tiff, deep >> 4, 12), grey(scaled(deep >> 4, 4095))),
        "tiff-palette": Form(partial(tiff, LEVELS, 8, 3, palette=PALETTE), PALETTE[LEVELS]),
        "tiff-planar": Form(partial(tiff, NOISE, 8, 2, planar=True), NOISE),
        "tiff-planar-deflated-16": Form(
            partial(tiff, WIDE, 16, 2, planar=True, deflated=True), NOISE
        ),
        "tiff-alpha": Form(partial(tiff, rgba, 8, 2, alpha=2), over(NOISE, ALPHA)),
        "tiff-premultiplied": Form(partial(tiff, dimmed, alpha=1), over(grey(LEVELS), ALPHA), 1),
        "tiff-cmyk": Form(partial(encoded, cmyk(NOISE), "TIFF"), NOISE),
        "tiff-jpeg": Form(partial(encoded, SLOPES, "TIFF", compression="jpeg"), SLOPES, 4),
        "tiff-pages": Form(partial(first_of_two, NOISE, "TIFF"), NOISE, 0, lambda _: page),
    }


def netpbm_forms() -> dict[str, Form]:
    bits = LEVELS >> 7
    forms = {
        f"pbm-{kind}": Form(partial(netpbm, kind, bits), grey(255 - bits * 255)) for kind in (1, 4)
    }
    for largest in (1, 255, 1000, 65535):
        samples = WIDE % (largest + 1)
        samples[-1, -1] = 1  # as text one digit, of which no cut leaves a smaller number
        shown = scaled(samples, largest)
        for kind in (2, 5):
            write = partial(netpbm, kind, samples[..., 0], largest)
            forms[f"pgm-{kind}-{largest}"] = Form(write, grey(shown[..., 0]))
        for kind in (3, 6):
            forms[f"ppm-{kind}-{largest}"] = Form(partial(netpbm, kind, samples, largest), shown)
    comment = partial(netpbm, samples=bits, comment="1 2 3")
    forms |= {
        f"pbm-{kind}-comments": Form(partial(comment, kind), grey(255 - bits * 255))
        for kind in (1, 4)
    }
    return forms


def other_forms() -> dict[str, Form]:
    rgba = np.dstack([NOISE, ALPHA])
    lossless = {"lossless": True, "exact": True}
    forms = {
        "webp-lossy": Form(partial(encoded, SLOPES, "WEBP", quality=95), SLOPES, 10),
        "webp-lossless": Form(partial(encoded, NOISE, "WEBP", **lossless), NOISE),
        "webp-alpha": Form(partial(encoded, rgba, "WEBP", **lossless), over(NOISE, ALPHA)),
        "webp-animated": Form(partial(first_of_two, NOISE, "WEBP", **lossless), NOISE),
        "avif": Form(partial(encoded, SLOPES, "AVIF", quality=95), SLOPES, 8),
        "avif-animated": Form(partial(first_of_two, SLOPES, "AVIF", quality=95), SLOPES, 8),
    }
    for name, bare in {"jp2": False, "j2k": True}.items():
        write = partial(encoded, file_format="JPEG2000", no_jp2=bare)
        forms |= {
            f"{name}": Form(partial(write, NOISE), NOISE),
            f"{name}-lossy": Form(partial(write, SLOPES, irreversible=True), SLOPES, 2),
            f"{name}-grey-16": Form(
                partial(write, WIDE[..., 0].astype(np.uint16)), grey(scaled(WIDE[..., 0], 65535))
            ),
            f"{name}-alpha": Form(partial(write, rgba), over(NOISE, ALPHA)),
        }
    return forms


FORMS = {
    **jpeg_forms(),
    **png_forms(),
    **bitmap_forms(),
    **gif_forms(),
    **tiff_forms(),
    **netpbm_forms(),
    **other_forms(),
}
