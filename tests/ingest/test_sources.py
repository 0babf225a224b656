import io
import os
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.ingest.sources import find_sources, image_ids


def write_files(root: Path, *names: str) -> None:
    """Files whose content is their own name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def zipped(*names: str) -> bytes:
    """A zip whose members hold their own name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return buffer.getvalue()


def write_zip(file: Path, *names: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(zipped(*names))


def labels(root: Path) -> dict[str, str | None]:
    sources, rejected = find_sources(root)
    assert rejected == []
    return {source.name: source.label for source in sources}


def reasons(root: Path) -> dict[str, str]:
    return {one.source: one.reason for one in find_sources(root)[1]}


def test_a_folder_is_a_class(tmp_path):
    write_files(tmp_path, "dogs/b.jpg", "cats/a.jpg", "cats/tabby/c.PNG", "dogs/no suffix")
    assert labels(tmp_path) == {
        "cats/a.jpg": "cats",
        "cats/tabby/c.PNG": "tabby",
        "dogs/b.jpg": "dogs",
        "dogs/no suffix": "dogs",
    }


def test_photos_come_in_the_order_of_their_names(tmp_path):
    write_files(tmp_path, "b/1.jpg", "a/2.jpg", "a/10.jpg", "a b/1.jpg", "B/1.jpg")
    write_zip(tmp_path / "a" / "3.zip", "z.jpg", "y.jpg")
    names = [source.name for source in find_sources(tmp_path)[0]]
    assert names == [
        *("B/1.jpg", "a b/1.jpg", "a/10.jpg", "a/2.jpg", "a/3.zip/y.jpg", "a/3.zip/z.jpg"),
        "b/1.jpg",
    ]


def test_a_zip_is_read_as_a_folder(tmp_path):
    write_zip(tmp_path / "photos.zip", "cats/a.jpg", "all/dogs/b.jpg", "c.jpg")
    write_zip(tmp_path / "emus" / "more.ZIP", "d.jpg", "cats/e.jpg")
    assert labels(tmp_path) == {
        "photos.zip/cats/a.jpg": "cats",
        "photos.zip/all/dogs/b.jpg": "dogs",
        "photos.zip/c.jpg": "photos",
        "emus/more.ZIP/d.jpg": "emus",
        "emus/more.ZIP/cats/e.jpg": "cats",
    }


def test_the_bytes_are_those_of_the_file_and_of_the_member(tmp_path):
    write_files(tmp_path, "cats/a.jpg")
    write_zip(tmp_path / "cats.zip", "a.jpg", "dogs/b.jpg")
    contents = {source.name: source.read() for source in find_sources(tmp_path)[0]}
    assert contents == {
        "cats/a.jpg": b"cats/a.jpg",
        "cats.zip/a.jpg": b"a.jpg",
        "cats.zip/dogs/b.jpg": b"dogs/b.jpg",
    }


def test_litter_is_no_photo(tmp_path):
    write_files(tmp_path, "cats/a.jpg", "cats/Thumbs.db", "cats/desktop.ini", "cats/.DS_Store")
    write_files(tmp_path, ".gitignore", ".cache/cats/b.jpg")
    write_zip(tmp_path / "dogs.zip", "b.jpg", "__MACOSX/._b.jpg", ".hidden/c.jpg")
    assert list(labels(tmp_path)) == ["cats/a.jpg", "dogs.zip/b.jpg"]


def test_a_file_at_the_top_has_no_label_of_a_folder(tmp_path):
    write_files(tmp_path, "a.jpg", "cats/b.jpg")
    assert labels(tmp_path) == {"a.jpg": None, "cats/b.jpg": "cats"}


@pytest.mark.parametrize("member", ["../x.jpg", "cats/../../x.jpg", "/etc/x.jpg"])
def test_a_member_that_points_outside_its_zip_is_listed_and_not_read(tmp_path, member):
    write_zip(tmp_path / "cats.zip", member, "dogs/a.jpg")
    assert [source.name for source in find_sources(tmp_path)[0]] == ["cats.zip/dogs/a.jpg"]
    assert reasons(tmp_path) == {f"cats.zip/{member}": "unsafe_name"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "broken_archive"),
        (b"no zip", "broken_archive"),
        (zipped("cats/a.jpg")[:-10], "broken_archive"),
        (zipped(), "empty_archive"),
        (zipped("__MACOSX/._a.jpg"), "empty_archive"),
        (zipped("cats/"), "empty_archive"),
    ],
)
def test_a_zip_without_photos_is_listed_and_stops_nothing(tmp_path, content, reason):
    write_files(tmp_path, "cats/a.jpg")
    (tmp_path / "dogs.zip").write_bytes(content)
    assert [source.name for source in find_sources(tmp_path)[0]] == ["cats/a.jpg"]
    assert reasons(tmp_path) == {"dogs.zip": reason}


def test_no_damage_to_a_zip_stops_the_search(tmp_path):
    """Among others, a version of the future and a name in no encoding."""
    draw = random.Random(0)
    for number in range(500):
        content = bytearray(zipped("cats/a.jpg", "dogs/é.jpg"))
        content[draw.randrange(len(content))] = draw.randrange(256)
        (tmp_path / f"{number}.zip").write_bytes(content)
    broken = [one for one in find_sources(tmp_path)[1] if one.reason == "broken_archive"]
    assert len(broken) > 50


def test_a_name_that_is_no_text_is_listed(tmp_path):
    write_files(tmp_path, "cats/a.jpg")
    Path(os.fsdecode(bytes(tmp_path) + b"/cats/\xe9.jpg")).write_text("latin-1")
    assert [source.name for source in find_sources(tmp_path)[0]] == ["cats/a.jpg"]
    assert reasons(tmp_path) == {"cats/\N{REPLACEMENT CHARACTER}.jpg": "unsafe_name"}


def ids_below(root: Path) -> dict[bytes, list[str]]:
    """The ids of each content."""
    contents = [source.read() for source in find_sources(root)[0]]
    found: dict[bytes, list[str]] = {}
    for content, image_id in zip(contents, image_ids(contents), strict=True):
        found.setdefault(content, []).append(image_id)
    return found


def test_a_renamed_relabelled_or_zipped_photo_keeps_its_id(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    write_files(first, "cats/a.jpg", "cats/b.jpg", "dogs/c.jpg")
    (second / "emus").mkdir(parents=True)
    (second / "emus" / "z.jpg").write_text("cats/a.jpg")
    (second / "emus" / "y.jpg").write_text("dogs/c.jpg")
    write_zip(second / "lions.zip", "cats/b.jpg")
    assert ids_below(first) == ids_below(second)


@given(st.lists(st.binary(max_size=3), max_size=30))
def test_every_copy_has_an_id_of_its_own_and_the_others_change_nothing(contents):
    ids = image_ids(contents)
    assert len(set(ids)) == len(contents)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)
    for content in set(contents):
        copies = [one for one, other in zip(ids, contents, strict=True) if other == content]
        assert copies == image_ids([content] * len(copies))
