from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.common.errors import InputError
from stages.common.params import Limits
from stages.common.photos import image_id, pixel_digest
from stages.ingest.develop_shard import develop_shard
from stages.ingest.duplicates import fingerprint
from stages.ingest.find_sources import find_sources
from stages.ingest.sources import Source

OPENED = {"background": (255, 255, 255), "min_side": 1, "megapixels": 150}


def found(folder: Path) -> tuple[list[Source], list[str]]:
    """The files of a folder, and the id of the bytes of each."""
    sources, _ = find_sources(folder, Limits())
    return sources, [image_id(source.read()).encode() for source in sources]


def test_usable_photos_keep_their_order_and_the_others_are_explained(tmp_path):
    (tmp_path / "cats").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    Image.fromarray(pixels[0]).save(tmp_path / "cats" / "a.png")
    Path(tmp_path, "cats", "b.png").write_text("no image")
    Image.fromarray(pixels[1]).save(tmp_path / "cats" / "c.bmp")
    Path(tmp_path, "cats", "d.png").write_bytes(b"")
    sources, originals = found(tmp_path)

    shard = develop_shard(sources, originals, size=(20, 30), color="rgb", fit="stretch", **OPENED)

    assert shard["rejected"][:, 0].tolist() == ["", "not_an_image", "", "empty_file"]
    assert "no image" in shard["rejected"][1, 1]
    assert np.array_equal(shard["images"], pixels)
    assert shard["facts"][["width", "height"]].tolist() == [(30, 20), (30, 20)]
    assert shard["facts"]["exact"].tolist() == [pixel_digest(photo).encode() for photo in pixels]
    assert np.array_equal(shard["facts"]["fingerprint"], [fingerprint(photo) for photo in pixels])


@pytest.mark.parametrize(("color", "channels"), [("rgb", 3), ("grayscale", 1)])
def test_a_shard_without_a_usable_photo_is_empty_and_not_broken(tmp_path, color, channels):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.png").write_text("no image")
    sources, originals = found(tmp_path)
    shard = develop_shard(sources, originals, size=(20, 30), color=color, fit="stretch", **OPENED)
    assert shard["images"].shape == (0, 20, 30, channels)
    assert shard["images"].dtype == np.uint8
    assert len(shard["facts"]) == 0
    assert shard["rejected"][:, 0].tolist() == ["not_an_image"]


def test_size_and_repeats_are_of_the_photo_and_not_of_the_small_image(tmp_path):
    """Two photos that look the same once shrunk are no exact copies."""
    (tmp_path / "cats").mkdir()
    photo = np.full((400, 200, 3), 100, np.uint8)
    Image.fromarray(photo).save(tmp_path / "cats" / "a.png")
    photo[0, 0] += 1
    Image.fromarray(photo).save(tmp_path / "cats" / "b.png")
    sources, originals = found(tmp_path)
    shard = develop_shard(
        sources, originals, size=(8, 8), color="grayscale", fit="stretch", **OPENED
    )
    assert np.array_equal(shard["images"][0], shard["images"][1])
    assert shard["facts"]["exact"][0] != shard["facts"]["exact"][1]
    assert shard["facts"][["width", "height"]].tolist() == [(200, 400), (200, 400)]


def test_a_turned_photo_counts_as_what_is_seen(tmp_path):
    (tmp_path / "cats").mkdir()
    photo = np.zeros((10, 40, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(tmp_path / "cats" / "a.png", exif=exif)
    sources, originals = found(tmp_path)
    shard = develop_shard(sources, originals, size=(8, 8), color="rgb", fit="stretch", **OPENED)
    assert shard["facts"][["width", "height"]].tolist() == [(10, 40)]


def removed(photo: Path) -> None:
    photo.unlink()


def cut_off(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:-1])


def replaced(photo: Path) -> None:
    """Another photo of the same size, that can be decoded."""
    size = photo.stat().st_size
    Image.fromarray(np.full((10, 10, 3), 9, np.uint8)).save(photo)
    assert photo.stat().st_size == size


@pytest.mark.parametrize("change", [removed, cut_off, replaced])
def test_a_photo_that_changed_since_it_was_read_stops_the_run(tmp_path, change):
    photo = tmp_path / "cats/a.bmp"
    photo.parent.mkdir()
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(photo)
    sources, originals = found(tmp_path)
    change(photo)
    with pytest.raises(InputError, match=r"^cats/a\.bmp: expected the bytes that it had .*again$"):
        develop_shard(sources, originals, size=(8, 8), color="rgb", fit="stretch", **OPENED)
