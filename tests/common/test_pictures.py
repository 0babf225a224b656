import numpy as np
import pytest
from PIL import Image

from stages.common.pictures import contact_sheet, save_photo, to_picture


def flat(height: int, width: int, *color: int) -> np.ndarray:
    return np.full((height, width, len(color)), color, np.uint8)


def box(sheet: Image.Image, *color: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of the pixels of one colour, which must fill a rectangle."""
    rows, columns = np.nonzero((np.asarray(sheet) == color).all(axis=2))
    width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
    assert len(rows) == width * height
    return int(columns.min()), int(rows.min()), int(width), int(height)


@pytest.mark.parametrize(
    ("shape", "size"), [((20, 40, 3), (100, 50)), ((40, 20, 1), (25, 50)), ((500, 1, 3), (1, 50))]
)
def test_a_picture_keeps_its_aspect(shape, size):
    picture = to_picture(np.zeros(shape, np.uint8), height=50)
    assert picture.mode == "RGB"
    assert picture.size == size


def test_a_grey_picture_has_three_equal_channels():
    picture = to_picture(flat(4, 4, 77), height=4)
    assert np.unique(np.asarray(picture)).tolist() == [77]


def test_rows_stand_under_each_other_and_their_pictures_side_by_side():
    red, green, blue = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    rows = [
        ("first", [flat(10, 10, *red), flat(10, 20, *green)]),
        ("second", [flat(20, 10, *blue)]),
    ]
    sheet = contact_sheet(rows, height=40)
    left, top, width, height = box(sheet, *red)
    assert (width, height) == (40, 40)
    # Beside it, a gap between; twice as wide, as it is.
    assert box(sheet, *green) == (2 * left + 40, top, 80, 40)
    lower_left, lower_top, *lower_size = box(sheet, *blue)
    assert (lower_left, lower_size) == (left, [20, 40])
    assert lower_top - top == sheet.height // 2 - left // 2
    assert sheet.height - lower_top - 40 >= left


def test_a_caption_stands_above_its_row():
    sheet = np.asarray(contact_sheet([("caption", [flat(10, 99, 255, 255, 255)])], height=30))
    written = np.flatnonzero((sheet < 128).all(axis=2).any(axis=1))
    assert 0 < written.min() < written.max() < len(sheet) - 30


def test_the_widest_row_fits_on_the_sheet():
    pictures = [flat(10, 30, 200, 0, 0)] * 9 + [flat(10, 30, 0, 200, 0)]
    sheet = contact_sheet([("many", pictures), ("few", pictures[:1])], height=20)
    left, _, width, _ = box(sheet, 0, 200, 0)
    assert width == 60
    assert left + width < sheet.width


def test_the_widest_caption_fits_on_the_sheet():
    row = [flat(10, 10, 255, 255, 255)]
    narrow, wide = (np.asarray(contact_sheet([(text, row)])) for text in ("x" * 100, "x" * 200))
    written = [np.flatnonzero((one < 128).all(axis=2).any(axis=0)).max() for one in (narrow, wide)]
    assert wide.shape[1] > narrow.shape[1] > 320
    assert [one.shape[1] - end for one, end in zip((narrow, wide), written, strict=True)] >= [5, 5]


def test_a_sheet_without_rows_is_a_picture_all_the_same(tmp_path):
    save_photo(contact_sheet([]), tmp_path / "empty.jpg")
    assert Image.open(tmp_path / "empty.jpg").size[0] > 0


def test_a_photo_has_the_same_bytes_each_time_and_no_metadata(tmp_path):
    slope = np.linspace(0, 255, 30 * 40 * 3).reshape(30, 40, 3).astype(np.uint8)
    picture = to_picture(slope, height=60)
    picture.info["exif"] = b"Exif\0\0MM\0*\0\0\0\x08\0\0"
    save_photo(picture, tmp_path / "new" / "folder" / "first.jpg")
    save_photo(picture.copy(), tmp_path / "second.jpg")
    first = (tmp_path / "new" / "folder" / "first.jpg").read_bytes()
    assert (tmp_path / "second.jpg").read_bytes() == first
    with Image.open(tmp_path / "second.jpg") as read:
        assert (read.format, read.size) == ("JPEG", (80, 60))
        assert all(key.startswith("jfif") for key in read.info)
        assert np.abs(np.asarray(read, int) - np.asarray(picture)).mean() < 3
