import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.common.photos import Unusable, develop, open_photo, pixel_digest

ORIENTATION = 0x0112  # of EXIF


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def refusal(content: bytes) -> Unusable:
    with pytest.raises(Unusable) as refused:
        open_photo(content)
    return refused.value


def test_a_photo_is_its_rgb_values():
    pixels = noise(5, 7, 3)
    photo = open_photo(encoded(Image.fromarray(pixels)))
    assert photo.dtype == np.uint8
    assert np.array_equal(photo, pixels)


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


def test_grey_is_three_equal_channels():
    grey = noise(5, 7)
    assert np.array_equal(open_photo(encoded(Image.fromarray(grey))), np.dstack([grey] * 3))


def test_black_and_white_are_0_and_255():
    bits = np.array([[True, False], [False, True]])
    photo = open_photo(encoded(Image.fromarray(bits)))
    assert photo[..., 0].tolist() == [[255, 0], [0, 255]]


def test_a_palette_is_looked_up():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 128, 0, 1, 2, 3])
    assert open_photo(encoded(image)).tolist() == [[[255, 0, 0], [0, 128, 0], [1, 2, 3]]]


def test_cmyk_is_ink_on_white_paper():
    inks = {"none": (0, 0, 0, 0), "red": (0, 255, 255, 0), "black": (0, 0, 0, 255)}
    stripes = np.repeat(np.array([[*inks.values()]], np.uint8), 16, axis=1).repeat(16, axis=0)
    content = encoded(Image.fromarray(stripes, mode="CMYK"), "JPEG", quality=100)
    photo = open_photo(content).astype(int)
    expected = [[255, 255, 255], [255, 0, 0], [0, 0, 0]]
    assert np.abs(photo[8, 8::16] - expected).max() <= 8


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(mode):
    channels = len(mode)
    pixels = np.zeros((1, 3, channels), np.uint8)
    pixels[..., -1] = [0, 102, 255]  # of black: all, three fifths and nothing shows the white
    photo = open_photo(encoded(Image.fromarray(pixels, mode=mode)))
    assert photo.tolist() == [[[255] * 3, [153] * 3, [0] * 3]]


def test_a_transparent_colour_is_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert open_photo(encoded(image, transparency=0)).tolist() == [[[255] * 3, [40, 50, 60]]]
    rgb = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert open_photo(encoded(rgb, transparency=(1, 2, 3))).tolist() == [[[255] * 3, [4, 5, 6]]]


def test_16_bits_are_scaled_to_8_and_not_clipped():
    wide = np.array([[0, 257, 128 * 257, 65535], [128, 129, 300, 65535 - 128]], np.uint16)
    photo = open_photo(encoded(Image.fromarray(wide)))
    assert photo[..., 0].tolist() == [[0, 1, 128, 255], [0, 1, 1, 255]]
    assert np.array_equal(photo[..., 0], photo[..., 2])


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM"])
def test_the_format_is_known_by_the_bytes(file_format):
    pixels = np.dstack([noise(5, 7)] * 3)
    options = {"lossless": True} if file_format == "WEBP" else {}
    image = Image.fromarray(pixels)
    if file_format == "GIF":
        image = image.convert("L")
    assert np.array_equal(open_photo(encoded(image, file_format, **options)), pixels)


def test_an_animation_shows_its_first_picture():
    first, second = (Image.new("L", (4, 3), grey) for grey in (10, 200))
    content = encoded(first, "GIF", save_all=True, append_images=[second])
    assert np.unique(open_photo(content)).tolist() == [10]


def test_text_is_no_image():
    refused = refusal(b"This is no photo, whatever its name.")
    assert refused.reason == "not_an_image"
    assert "This is no photo" in refused.detail


def test_an_empty_file_is_no_image():
    refused = refusal(b"")
    assert (refused.reason, refused.detail) == ("empty_file", "0 bytes")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_half_a_file_is_truncated(file_format):
    content = encoded(Image.fromarray(noise(64, 64, 3)), file_format)
    assert refusal(content[: len(content) // 2]).reason == "truncated"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_decompression_bomb_is_too_large():
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    refused = refusal(b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b""))
    assert refused.reason == "too_large"
    assert "10000000000 pixels" in refused.detail


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # each damage has a warning of its own
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), file_format=st.sampled_from(["JPEG", "PNG", "GIF", "TIFF"]))
def test_damaged_bytes_give_a_photo_or_a_reason(seed, file_format):
    random = np.random.default_rng(seed)
    content = bytearray(encoded(Image.fromarray(noise(16, 16)), file_format))
    for place in random.integers(0, len(content), 3):
        content[place] = random.integers(0, 256)
    try:
        photo = open_photo(bytes(content))
    except Unusable as unusable:
        reasons = {"not_an_image", "too_large", "truncated", "unreadable", "unsupported"}
        assert unusable.reason in reasons
        assert " at 0x" not in unusable.detail  # an address would change with every run
    else:
        assert photo.ndim == 3
        assert photo.shape[2] == 3


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
