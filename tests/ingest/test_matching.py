import pytest

from stages.ingest.matching import Photos
from stages.ingest.sources import Source


def find(names: list[str], path: str, folder: str = "", table: str = "") -> list[str]:
    photos = Photos(Source(name, name, 0) for name in names)
    return sorted(photo.name for photo in photos.find(path, folder, table))


@pytest.mark.parametrize(
    "path",
    [
        *("one/a.jpg", "one/a", "./one/a.jpg", "one\\a.jpg", "  one/a.jpg ", "x/../one/a.jpg"),
        *("ONE/A.JPG", "one/a.png", "one/A", "a.jpg", "a", "A.PNG"),
        *("/home/somebody/pets/one/a.jpg", "C:\\pets\\one\\a.jpg", "../one/a.jpg"),
    ],
)
def test_a_path_may_be_written_in_many_ways(path):
    assert find(["one/a.jpg", "one/b.jpg"], path) == ["one/a.jpg"]


@pytest.mark.parametrize("path", ["", " ", "/", "c.jpg", "two/a.jpg", "one"])
def test_what_names_no_photo_finds_none(path):
    assert find(["one/a.jpg", "one/b.jpg"], path) == []


def test_the_folder_of_the_table_goes_first_then_the_top():
    names = ["a.jpg", "one/a.jpg", "two/b.jpg"]
    assert find(names, "a.jpg", folder="one") == ["one/a.jpg"]
    assert find(names, "a.jpg") == ["a.jpg"]
    assert find(names, "two/b.jpg", folder="one") == ["two/b.jpg"]


def test_of_two_photos_the_extension_the_case_and_the_name_of_the_table_tell():
    assert find(["a.jpg", "a.png"], "A.PNG") == ["a.png"]
    assert find(["one/a.jpg", "two/A.jpg"], "A.jpg") == ["two/A.jpg"]
    assert find(["train/1.jpg", "test/1.jpg"], "1", table="train_labels") == ["train/1.jpg"]


def test_what_nothing_tells_apart_is_found_twice():
    assert find(["a.jpg", "a.png"], "a") == ["a.jpg", "a.png"]
    assert find(["one/a.jpg", "two/a.jpg"], "a.jpg") == ["one/a.jpg", "two/a.jpg"]


def test_a_dot_in_a_name_is_no_extension():
    assert find(["scan.001.png", "scan.002.png"], "scan.002") == ["scan.002.png"]
