import re

import pytest

from stages.common.errors import InputError
from stages.ingest.folders import read_folders


def labels(*names: str, class_folder: str = "auto") -> list[str | None]:
    return read_folders(names, class_folder).labels


def sides(*names: str) -> list[str]:
    return read_folders(names).sides


def test_a_folder_is_a_class():
    assert labels("cats/1.jpg", "dogs/2.jpg", "cats/3.jpg") == ["cats", "dogs", "cats"]


def test_wrappers_say_nothing():
    assert labels("pets/v2/cats/1.jpg", "pets/v2/dogs/2.jpg") == ["cats", "dogs"]
    assert labels("cats/images/1.jpg", "dogs/images/2.jpg") == ["cats", "dogs"]
    assert labels("cats/1.jpg") == ["cats"]


def test_a_photo_in_no_folder_has_no_class():
    assert labels("1.jpg", "cats/2.jpg", "dogs/3.jpg") == [None, "cats", "dogs"]
    assert labels("pets/1.jpg", "pets/cats/2.jpg", "pets/dogs/3.jpg") == [None, "cats", "dogs"]


def test_classes_may_lie_at_different_depths():
    names = [
        "animals/cats/1.jpg",
        "animals/dogs/2.jpg",
        "plants/trees/old/oaks/3.jpg",
        "cars/4.jpg",
    ]
    assert labels(*names) == ["cats", "dogs", "oaks", "cars"]
    assert labels("left/cats/1.jpg", "right/dogs/2.jpg") == ["cats", "dogs"]


@pytest.mark.parametrize(
    "names",
    [
        ["train/cats/1.jpg", "train/dogs/2.jpg", "val/cats/3.jpg", "test/dogs/4.jpg"],
        [
            "Training/cats/1.jpg",
            "Training/dogs/2.jpg",
            "Validation/cats/3.jpg",
            "Testing/dogs/4.jpg",
        ],
        ["w/train/cats/1.jpg", "w/train/dogs/2.jpg", "w/dev/cats/3.jpg", "w/test/dogs/4.jpg"],
        ["cats/train/1.jpg", "dogs/train/2.jpg", "cats/valid/3.jpg", "dogs/test/4.jpg"],
        [
            "seg_train/x/cats/1.jpg",
            "seg_train/x/dogs/2.jpg",
            "val2017/x/cats/3.jpg",
            "test/x/dogs/4",
        ],
    ],
)
def test_a_given_split_is_found_inside_and_outside_of_classes(names):
    assert sides(*names) == ["train", "train", "validation", "test"]
    assert labels(*names) == ["cats", "dogs", "cats", "dogs"]


def test_a_class_called_train_is_no_split():
    names = ["train/1.jpg", "bus/2.jpg", "car/3.jpg"]
    assert sides(*names) == ["", "", ""]
    assert labels(*names) == ["train", "bus", "car"]


def test_a_lone_train_folder_is_a_wrapper():
    assert sides("train/cats/1.jpg", "train/dogs/2.jpg") == ["", ""]
    assert labels("train/cats/1.jpg", "train/dogs/2.jpg") == ["cats", "dogs"]


def test_archives_are_wrappers_unless_photos_lie_in_no_other_folder():
    assert labels("a.zip/cats/1.jpg", "b.tar.gz/dogs/2.jpg") == ["cats", "dogs"]
    assert labels("cats.zip/1.jpg", "dogs.TAR/2.jpg") == ["cats", "dogs"]
    assert labels("cats/more.zip/1.jpg", "dogs/2.jpg") == ["cats", "dogs"]


UNCERTAIN = {
    "patients": ["ill/p1/1.jpg", "ill/p2/2.jpg", "well/p3/3.jpg"],
    "two kinds": ["cats/indoor/1.jpg", "cats/outdoor/2.jpg", "dogs/indoor/3.jpg"],
    "a class in a class": ["cats/1.jpg", "cats/tabby/2.jpg", "dogs/3.jpg"],
    "numbers at some depth": ["ill/p1/1.jpg", "ill/p2/2.jpg", "well/3.jpg"],
}


@pytest.mark.parametrize("case", UNCERTAIN)
def test_what_is_not_certain_stops_with_the_candidates(case):
    names = UNCERTAIN[case]
    with pytest.raises(
        InputError, match=r"class_folder: .* first \(\d names: .*\) and last \(\d names: "
    ):
        labels(*names)
    first = [re.split("/", name)[0] for name in names]
    last = [re.split("/", name)[-2] for name in names]
    assert labels(*names, class_folder="first") == first
    assert labels(*names, class_folder="last") == last
