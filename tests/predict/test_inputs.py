"""Which photos are predicted, in which order, and how far they are read ahead."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.common.photos import image_id, open_photo
from stages.predict import inputs
from stages.predict.inputs import Photo, Unreadable, find_photos, read_lines, read_photos


def draw(path: Path, color: tuple[int, int, int] = (9, 8, 7)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), color).save(path)
    return path


def test_a_folder_is_searched_in_the_order_of_names(tmp_path):
    names = ["b.png", "a/2.png", "a/10.png", "a/z/1.png", "c d/e.png", "B.png", "no suffix"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for hidden in [".git/x.png", ".DS_Store", "a/Thumbs.db", "__MACOSX/b.png"]:
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).touch()
    found = [os.path.relpath(path, tmp_path) for path in find_photos([str(tmp_path)])]
    assert found == ["B.png", "a/10.png", "a/2.png", "a/z/1.png", "b.png", "c d/e.png", "no suffix"]


def test_paths_stay_as_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "photos" / "a.png")
    given = ["./photos/a.png", "photos/", "photos//a.png", "missing.png"]
    assert list(find_photos(given)) == [
        *("./photos/a.png", "photos/a.png", "photos//a.png", "missing.png")
    ]


def test_a_link_to_a_folder_is_told_and_not_followed(tmp_path):
    (tmp_path / "round").symlink_to(tmp_path)
    draw(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "none.png")
    found = list(find_photos([str(tmp_path)]))
    assert found[:3] == [str(tmp_path / name) for name in ["a.png", "link.png", "nowhere.png"]]
    assert isinstance(found[3], Unreadable) and "link to a folder" in found[3].why


def test_lines_are_paths_whatever_bytes_they_hold():
    stream = io.BytesIO(b"a.jpg\n\n b c.jpg\ncaf\xe9.jpg\nlast")
    assert [os.fsencode(path) for path in read_lines(stream)] == [
        *(b"a.jpg", b" b c.jpg", b"caf\xe9.jpg", b"last")
    ]


def test_photos_come_in_order_with_the_ids_of_ingest(tmp_path):
    paths = [str(draw(tmp_path / f"{number}.png", (number, 0, 0))) for number in range(200)]
    photos = list(read_photos(paths, open_photo))
    assert [photo.path for photo in photos] == paths
    assert [int(photo.image[0, 0, 0]) for photo in photos] == list(range(200))
    assert photos[7].id == image_id(Path(paths[7]).read_bytes())


def test_a_photo_is_developed_as_it_is_read(tmp_path):
    path = draw(tmp_path / "a.png")
    [photo] = read_photos([str(path)], lambda content: 255 - open_photo(content))
    np.testing.assert_array_equal(photo.image, 255 - open_photo(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("text.jpg", b"no photo", "not_an_image"),
        ("empty.jpg", b"", "empty_file: 0 bytes"),
        ("missing.jpg", None, "No such file"),
        ("nul\0.jpg", None, "null"),
    ],
)
def test_what_is_no_photo_is_told_and_the_others_are_read(tmp_path, name, content, why):
    good = str(draw(tmp_path / "good.png"))
    if content is not None:
        (tmp_path / name).write_bytes(content)
    bad = f"{tmp_path}/{name}"
    first, second, third = read_photos([good, bad, good], open_photo)
    assert isinstance(first, Photo) and isinstance(third, Photo)
    assert isinstance(second, Unreadable) and second.path == bad
    assert why in second.why


def test_a_half_photo_is_told(tmp_path):
    whole = draw(tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    [half] = read_photos([str(tmp_path / "half.png")], open_photo)
    assert isinstance(half, Unreadable)


def test_only_so_many_photos_are_read_ahead(tmp_path):
    path, taken = str(draw(tmp_path / "a.png")), 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield path

    photos = read_photos(endless(), open_photo)
    for number in range(1, 300):
        assert isinstance(next(photos), Photo)
        assert taken <= number + inputs._AHEAD
    photos.close()
