import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.files import file_digest, publish


def test_publishing_replaces_the_folder_whole(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("1")
    second.write_text("2")
    folder = tmp_path / "data" / "images"
    publish([(first, Path("a.npy")), (first, Path("old/b.npy"))], folder)
    publish([(second, Path("a.npy")), (first, Path("new/c.npy"))], folder)
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert found == {"a.npy", "new/c.npy"}
    assert (folder / "a.npy").read_text() == "2"
    assert not (folder / "old").exists()
    assert list(folder.parent.iterdir()) == [folder]
    assert first.read_text() == "1"  # the cache keeps its own copy
    assert folder.stat().st_mode & 0o777 == 0o755


def test_what_cannot_be_published_whole_leaves_the_last_good_output(tmp_path):
    good = tmp_path / "good"
    good.write_text("1")
    folder = tmp_path / "data" / "images"
    publish([(good, Path("a.npy"))], folder)
    with pytest.raises(FileNotFoundError):
        publish([(good, Path("b.npy")), (tmp_path / "missing", Path("c.npy"))], folder)
    assert [file.name for file in folder.iterdir()] == ["a.npy"]


@settings(max_examples=20)
@given(st.binary(max_size=2000))
def test_a_file_is_known_by_its_bytes(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("files") / "file"
    file.write_bytes(content)
    assert file_digest(file) == hashlib.sha256(content).hexdigest()
