import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from stages.common.params import Quality
from stages.ingest.measures import Measures, luma_of, measure, shrink
from stages.ingest.quality import find_issues

PHOTO = cv2.resize(data.astronaut(), (300, 200), interpolation=cv2.INTER_AREA)
SPOILT = {
    "dark": (PHOTO * 0.1).astype(np.uint8),
    "bright": (255 - (255 - PHOTO.astype(float)) * 0.1).astype(np.uint8),
    "blurred": cv2.GaussianBlur(PHOTO, (0, 0), 6),
    "low_information": np.full((200, 300, 3), 120, np.uint8),
}


def measures_of(photo: np.ndarray) -> Measures:
    small = np.asarray(shrink(Image.fromarray(photo)))
    return Measures(*measure([luma_of(small)])[0].tolist())


def issues(photos: list[np.ndarray], **quality: float) -> list[tuple[int, str]]:
    sizes = np.array([photo.shape[1::-1] for photo in photos])
    found = find_issues(np.array(list(map(measures_of, photos))), sizes, Quality(**quality))
    return list(zip(found["image"], found["issue"], strict=True))


def test_an_ordinary_photo_has_no_issue():
    assert issues([PHOTO, data.coffee(), data.chelsea()]) == []


@pytest.mark.parametrize("issue", SPOILT)
def test_a_spoilt_photo_is_found(issue):
    found = issues([PHOTO, SPOILT[issue]])
    assert (1, issue) in found
    assert {image for image, _ in found} == {1}


def test_the_measures_of_a_known_picture():
    half = np.zeros((100, 100, 3), np.uint8)
    half[:, 50:] = 255
    measured = measures_of(half)
    # One of 8 bits; an edge of two columns with a Laplacian of 255, and a variance of 127.5^2.
    assert measured == pytest.approx((0, 1, 2 * 255**2 / 100 / 127.5**2, 1 / 8), abs=1e-4)
    assert measures_of(np.full((9, 9, 3), 51, np.uint8)) == pytest.approx((0.2, 0.2, 0, 0))


def test_size_and_shape_are_compared_with_the_median():
    photos = [PHOTO] * 5 + [
        cv2.resize(PHOTO, (900, 200)),
        cv2.resize(PHOTO, (100, 200)),
        cv2.resize(PHOTO, (60, 40)),
    ]
    assert issues(photos, blur=0) == [
        (5, "odd_aspect_ratio"),
        (6, "odd_aspect_ratio"),
        (7, "odd_size"),
    ]


def test_the_worst_comes_first():
    found = issues(
        [(PHOTO * 0.15).astype(np.uint8), (PHOTO * 0.05).astype(np.uint8)], information=0
    )
    assert found == [(1, "dark"), (0, "dark")]


def test_a_fogged_photo_is_as_sharp_as_a_clear_one():
    fogged = (128 + (PHOTO.astype(float) - 128) / 2).astype(np.uint8)
    assert measures_of(fogged).sharpness == pytest.approx(measures_of(PHOTO).sharpness, rel=0.05)
