import re
import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from PIL import Image, features

from stages.common.photos import Unusable, develop, open_photo, pixel_digest
from tests.picture_forms import BACKGROUND, FORMS, ORIENTATION, SLOPES, WIDE, encoded, noise
from tests.pictures_by_hand import bmp, png_chunk, tiff

FEATURES = {"webp": "webp", "avif": "avif", "jp2": "jpg_2000", "j2k": "jpg_2000"}
BEGINNINGS = {"jpeg": 3, "png": 8, "bmp": 2, "dib": 16, "gif87a": 6, "gif89a": 6, "tiff": 4}
BEGINNINGS |= {"pbm": 3, "pgm": 3, "ppm": 3, "webp": 12, "avif": 12, "jp2": 12, "j2k": 4}
"""How many bytes tell the format, by the first word of a form's name."""


class Picture(NamedTuple):
    """A written form: how many bytes tell its format, and how many all that it shows."""

    name: str
    content: bytes
    pixels: np.ndarray
    tolerance: int
    beginning: int
    needed: int


@pytest.fixture(params=FORMS)
def picture(request: pytest.FixtureRequest) -> Picture:
    form, file_format = FORMS[request.param], request.param.split("-")[0]
    if (feature := FEATURES.get(file_format)) and not features.check(feature):
        pytest.skip(f"this Pillow has no {feature}")
    content = form.write()
    ends = (BEGINNINGS[file_format], form.needed(content))
    return Picture(request.param, content, form.pixels, form.tolerance, *ends)


def refusal(content: bytes, **limits: float) -> Unusable:
    with pytest.raises(Unusable) as refused:
        open_photo(content, **limits)
    return refused.value


def test_each_form_has_its_pixels(picture):
    photo = open_photo(picture.content, BACKGROUND)
    assert photo.dtype == np.uint8
    assert photo.shape == picture.pixels.shape
    assert np.abs(photo - picture.pixels.astype(float)).max() <= picture.tolerance


def test_each_form_needs_its_last_byte_and_nothing_behind(picture):
    content, needed = picture.content, picture.needed
    photo = open_photo(content)
    assert np.array_equal(open_photo(content[:needed]), photo)
    assert refusal(content[: needed - 1]).reason == "truncated"
    if not picture.name.startswith(("pgm-2", "ppm-3")):  # there all that follows is numbers
        assert np.array_equal(open_photo(content + b"\xff\xd8\0 12 \xff" * 99), photo)


def test_each_form_that_is_cut_is_truncated_as_soon_as_its_bytes_tell_the_format(picture):
    beginning, needed = picture.beginning, picture.needed
    cuts = [*range(1, min(needed, 200)), needed // 4, needed // 2, needed * 3 // 4]
    found = {length: refusal(picture.content[:length]).reason for length in cuts}
    expected = {one: "truncated" if one >= beginning else "not_an_image" for one in cuts}
    assert found == expected


def test_each_form_is_refused_by_its_size(picture):
    height, width = picture.pixels.shape[:2]
    assert refusal(picture.content, min_side=height + 1).reason == "too_small"
    large = refusal(picture.content, megapixels=(height * width - 1) / 1e6)
    assert large.reason == "too_large"
    assert large.detail.startswith(f"{height * width} pixels")


def test_each_form_that_is_damaged_is_a_photo_or_has_a_reason(picture):
    possible = {"not_an_image", "unsupported", "too_small", "too_large", "truncated", "unreadable"}
    random = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(picture.content)
        for place in random.integers(0, len(damaged), 3):
            damaged[place] = random.integers(0, 256)
        try:
            photo = open_photo(bytes(damaged), megapixels=1)
        except Unusable as unusable:
            assert unusable.reason in possible
            assert not re.search(r" at 0x|\n", unusable.detail)  # addresses change with every run
        else:
            assert photo.shape[2:] == (3,)


# Of formats with a check sum, or in which some values have no meaning.
@pytest.mark.parametrize(
    "name",
    [
        *("jpeg-progressive", "png-grey-1", "png-rgb-16", "gif87a", "tiff-tiff_lzw", "pbm-1"),
        *("tiff-big-endian-deflated-tiles", "pgm-5-1000", "ppm-3-255", "webp-lossy", "jp2-lossy"),
    ],
)
def test_a_whole_file_with_a_damaged_middle_is_unreadable(name):
    content = FORMS[name].write()
    half = len(content) // 2
    assert refusal(content[:half] + b"\xff" * 16 + content[half + 16 :]).reason == "unreadable"


def twelve_bits(jpeg: bytes) -> bytes:
    bits = jpeg.index(b"\xff\xc0") + 4
    return jpeg[:bits] + b"\x0c" + jpeg[bits + 1 :]


BLACK_AND_WHITE = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
NOT_READ = {
    "colours of 16 bits": cv2.imencode(".jp2", np.full((64, 64, 3), 65535, np.uint16))[1].tobytes(),
    "black and white in 8 bits": bmp(noise(9, 9) // 128, 9, 8, BLACK_AND_WHITE),
    "planes of more than 8 bits": tiff(WIDE, 16, 2, planar=True),
    "12-bit": twelve_bits(encoded(SLOPES, "JPEG")),
    "floating-point": encoded(np.ones((9, 9), np.float32), "TIFF"),
    "greys from 70000 to 70000": encoded(np.full((9, 9), 70000, np.int32), "TIFF"),
    "PFM": b"PF\n9 9\n-1.0\n" + bytes(972),
    "HEIF": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "an icon": encoded(SLOPES, "ICO"),
    "Photoshop": b"8BPS\0\1" + bytes(99),
}


@pytest.mark.parametrize("said", NOT_READ)
def test_what_is_not_read_is_named(said):
    refused = refusal(NOT_READ[said])
    assert refused.reason == "unsupported"
    assert said in refused.detail


def test_what_is_transparent_is_white_unless_another_background_is_given():
    clear = encoded(np.zeros((1, 1, 4), np.uint8))
    assert open_photo(clear).tolist() == [[[255, 255, 255]]]
    assert open_photo(clear, BACKGROUND).tolist() == [[[*BACKGROUND]]]


# How a camera stores the picture for each value of the tag (EXIF 2.32, section 4.6.4): which
# side of what was seen is the first row of the file, and which its first column.
STORED = {
    1: lambda seen: seen,
    2: np.fliplr,
    3: lambda seen: np.rot90(seen, 2),
    4: np.flipud,
    5: lambda seen: seen.swapaxes(0, 1),
    6: lambda seen: np.rot90(seen, 1),
    7: lambda seen: np.rot90(seen, 2).swapaxes(0, 1),
    8: lambda seen: np.rot90(seen, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_a_photo_is_turned_upright(orientation, file_format):
    seen = noise(4, 6, 3)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](seen)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = encoded(stored, file_format, exif=exif, **options)
    assert np.array_equal(open_photo(content), seen)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\xff\xff\xff\xffnonsense"])
def test_broken_exif_is_no_reason_to_refuse_the_pixels(exif):
    pixels = noise(4, 6, 3)
    content = encoded(Image.fromarray(pixels), exif=exif)
    assert np.array_equal(open_photo(content), pixels)


def test_text_is_no_image():
    refused = refusal(b"This is no photo, whatever its name.")
    assert refused.reason == "not_an_image"
    assert "This is no photo" in refused.detail


def test_an_empty_file_is_no_image():
    refused = refusal(b"")
    assert (refused.reason, refused.detail) == ("empty_file", "0 bytes")


def test_a_decompression_bomb_is_too_large():
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    refused = refusal(b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b""))
    assert refused.reason == "too_large"
    assert "10000000000 pixels" in refused.detail


RED, GREEN, BLUE = [255, 0, 0], [0, 255, 0], [0, 0, 255]


def three_stripes(height: int, width: int) -> np.ndarray:
    """Red, green and blue from left to right."""
    return np.repeat(np.array([[RED, GREEN, BLUE]], np.uint8), width // 3, axis=1).repeat(
        height, axis=0
    )


def test_stretch_keeps_all_of_the_photo():
    image = develop(three_stripes(30, 90), (60, 30), "rgb", "stretch")
    assert image.shape == (60, 30, 3)
    assert image[30, [4, 15, 25]].tolist() == [RED, GREEN, BLUE]


def test_crop_keeps_the_middle():
    image = develop(three_stripes(30, 90), (60, 60), "rgb", "crop")
    assert image[:, 2:-2].reshape(-1, 3).tolist() == [GREEN] * (60 * 56)
    tall = develop(three_stripes(30, 90).swapaxes(0, 1), (60, 60), "rgb", "crop")
    assert tall[2:-2].reshape(-1, 3).tolist() == [GREEN] * (60 * 56)


def test_pad_keeps_all_and_lays_it_on_black():
    image = develop(three_stripes(30, 90), (60, 60), "rgb", "pad")
    assert image[30, [5, 30, 55]].tolist() == [RED, GREEN, BLUE]
    black = ~image.any(axis=(1, 2))
    assert np.flatnonzero(~black).tolist() == list(range(20, 40))
    tall = develop(three_stripes(30, 90).swapaxes(0, 1), (60, 60), "rgb", "pad")
    assert np.array_equal(tall, image.swapaxes(0, 1))


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("photo", [(1, 1), (1, 3000), (3000, 2), (48, 64)], ids=str)
def test_every_photo_gets_the_size_that_was_asked_for(fit, photo):
    pixels = np.full((*photo, 3), 90, np.uint8)
    assert develop(pixels, (48, 64), "rgb", fit).shape == (48, 64, 3)
    assert develop(pixels, (48, 64), "grayscale", fit).shape == (48, 64, 1)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_a_photo_of_the_right_size_keeps_its_pixels(fit):
    pixels = noise(48, 64, 3)
    assert np.array_equal(develop(pixels, (48, 64), "rgb", fit), pixels)


def test_a_photo_that_shrinks_is_averaged_and_not_sampled():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = develop(np.dstack([board] * 3).astype(np.uint8), (8, 8), "rgb", "stretch")
    assert np.abs(image.astype(int) - 127.5).max() < 4


def test_grayscale_is_luma():
    image = develop(np.array([[RED, GREEN, BLUE]], np.uint8), (1, 3), "grayscale", "stretch")
    assert image[0, :, 0].tolist() == pytest.approx([0.299 * 255, 0.587 * 255, 0.114 * 255], abs=1)


def test_the_digest_is_of_the_pixels_and_not_of_the_file():
    pixels = Image.fromarray(noise(6, 4, 3))
    files = [encoded(pixels, "PNG"), encoded(pixels, "BMP"), encoded(pixels, compress_level=0)]
    assert len(set(files)) == 3
    assert len({pixel_digest(open_photo(file)) for file in files}) == 1


def test_the_digest_differs_by_one_value_and_by_shape():
    pixels = noise(6, 4, 3)
    changed = pixels.copy()
    changed[3, 2, 1] ^= 1
    versions = [pixels, changed, pixels.reshape(4, 6, 3), pixels.reshape(24, 1, 3)]
    assert len({pixel_digest(one) for one in versions}) == 4
