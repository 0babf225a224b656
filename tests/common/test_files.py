import fcntl
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.files import file_digest, locked, publish
from tests.small_disk import run_on_small_disk


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local cache of each test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DARKROOM_CACHE", str(folder))
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


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


def test_what_is_there_already_is_not_copied_again(tmp_path):
    """So DVC, which knows a file by inode, time and size, need not read it again either."""
    same, old, new = (write(tmp_path / name, name) for name in ("same", "old", "new"))
    folder = tmp_path / "features"
    publish([(same, Path("whole/a.npy")), (old, Path("b.npy"))], folder)
    before = {name: (folder / name).stat() for name in ("whole/a.npy", "b.npy")}
    publish([(same, Path("whole/a.npy")), (new, Path("b.npy"))], folder)
    after = {name: (folder / name).stat() for name in before}
    assert [after[name].st_ino == before[name].st_ino for name in before] == [True, False]
    assert after["whole/a.npy"].st_mtime_ns == before["whole/a.npy"].st_mtime_ns
    assert after["whole/a.npy"].st_nlink == 1
    assert (folder / "whole/a.npy").read_text() == "same"
    assert (folder / "b.npy").read_text() == "new"


def test_a_name_and_size_alone_are_no_evidence_of_the_same_content(tmp_path):
    """The shards of two networks have the same names and sizes, and may have the same times."""
    one, other = write(tmp_path / "one", "1111"), write(tmp_path / "other", "2222")
    for source in (one, other):
        os.utime(source, (10, 10))
    folder = tmp_path / "features"
    publish([(one, Path("part.npy"))], folder)
    os.utime(folder / "part.npy", (10, 10))
    publish([(other, Path("part.npy"))], folder)
    assert (folder / "part.npy").read_text() == "2222"


@pytest.mark.parametrize("damage", ["source", "target", "folder", "record"])
def test_what_changed_since_is_copied(tmp_path, cache, damage):
    source, folder = write(tmp_path / "source", "first"), tmp_path / "images"
    publish([(source, Path("a.npy"))], folder)
    if damage == "source":
        write(tmp_path / "fresh", "other").replace(source)
    elif damage == "target":
        write(folder / "a.npy", "spoiled")
    elif damage == "folder":
        (folder / "a.npy").unlink()
    else:
        [record] = (cache / "published").iterdir()
        record.write_text("{")
    publish([(source, Path("a.npy"))], folder)
    assert (folder / "a.npy").read_text() == ("other" if damage == "source" else "first")


def test_two_projects_with_one_cache_do_not_mix(tmp_path, monkeypatch):
    source = write(tmp_path / "source", "text")
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        publish([(source, Path("a.npy"))], Path("data/images"))
    inode = Path("data/images/a.npy").stat().st_ino
    monkeypatch.chdir(tmp_path / "one")
    publish([(source, Path("a.npy"))], Path("data/images"))
    assert Path("data/images/a.npy").stat().st_ino != inode
    assert Path("data/images/a.npy").read_text() == "text"


def test_a_disk_without_links_gets_copies(tmp_path, monkeypatch):
    source, folder = write(tmp_path / "source", "text"), tmp_path / "images"
    publish([(source, Path("a.npy"))], folder)

    def refuse(*arguments: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    publish([(source, Path("a.npy"))], folder)
    assert (folder / "a.npy").read_text() == "text"


def test_what_a_killed_run_left_is_removed(tmp_path):
    source = write(tmp_path / "source", "text")
    write(tmp_path / "data/.images-abc/a.npy", "half")
    write(tmp_path / "data/.targets/a.npy", "another's")
    publish([(source, Path("a.npy"))], tmp_path / "data/images")
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"images", ".targets"}


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    operation = fcntl.LOCK_EX | fcntl.LOCK_NB
    with locked(tmp_path, operation) as first, locked(tmp_path, operation) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path, operation) as later:
        assert later


def test_a_full_disk_costs_nothing_that_stood_there_and_the_next_run_succeeds(tmp_path):
    script = f"""
import subprocess
from pathlib import Path
from stages.common.errors import InputError
from stages.common.files import publish
disk, small, large = Path("{tmp_path}/disk"), Path("{tmp_path}/small"), Path("{tmp_path}/large")
small.write_bytes(b"1" * 100_000)
large.write_bytes(b"2" * 2_000_000)
publish([(small, Path("a.npy"))], disk / "images")
try:
    publish([(small, Path("a.npy")), (large, Path("b.npy"))], disk / "images")
except InputError as error:
    print(error)
print(sorted(path.relative_to(disk).as_posix() for path in disk.rglob("*")))
print((disk / "images/a.npy").read_bytes() == small.read_bytes())
subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
publish([(small, Path("a.npy")), (large, Path("b.npy"))], disk / "images")
print(sorted(path.relative_to(disk).as_posix() for path in disk.rglob("*")))
"""
    (tmp_path / "disk").mkdir()
    refusal, *found = run_on_small_disk(tmp_path / "disk", "1m", script).splitlines()
    assert refusal.startswith(f"{tmp_path}/disk: expected space on its disk, found none left")
    assert found == [
        "['images', 'images/a.npy']",
        "True",
        "['images', 'images/a.npy', 'images/b.npy']",
    ]


@settings(max_examples=20)
@given(st.binary(max_size=2000))
def test_a_file_is_known_by_its_bytes(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("files") / "file"
    file.write_bytes(content)
    assert file_digest(file) == hashlib.sha256(content).hexdigest()
