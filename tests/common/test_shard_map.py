import errno
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.common import imports, shard_map
from stages.common.errors import InputError
from stages.common.files import locked
from stages.common.shard_map import Task, map_shards
from stages.common.shards import read_shard
from tests.small_disk import run_on_small_disk


def make_project(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """A project of one module whose function counts its calls; returns that function."""
    (root / "stages").mkdir()
    (root / "stages" / "made_up.py").write_text("")
    (root / "requirements.lock").write_text("numpy==1\n")
    monkeypatch.setattr(imports, "ROOT", root)
    monkeypatch.setenv("DARKROOM_CACHE", str(root / "cache"))
    monkeypatch.setenv("DARKROOM_WORKERS", "1")  # so that calls are counted in this process
    imports.code_digest.cache_clear()

    def add(number: int, plus: int) -> dict[str, np.ndarray]:
        add.calls.append(number)
        return {"sum": np.array(number + plus), "squares": np.arange(number) ** 2}

    add.calls = []
    add.__module__ = "stages.made_up"
    return add


def tasks_for(*numbers: int) -> list[Task]:
    return [Task((number,), (str(number),)) for number in numbers]


def sums(folders: list[Path]) -> list[int]:
    return [int(np.load(folder / "sum.npy")) for folder in folders]


def test_results_come_in_the_order_of_the_tasks(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)
    folders = map_shards(add, tasks_for(3, 1, 2), {"plus": 10}, "add")
    assert sums(folders) == [13, 11, 12]
    assert read_shard(folders[0] / "squares.npy").tolist() == [0, 1, 4]


def test_what_was_computed_once_is_kept(tmp_path, monkeypatch, capsys):
    add = make_project(tmp_path, monkeypatch)
    map_shards(add, tasks_for(1, 2), {"plus": 10}, "add")
    folders = map_shards(add, tasks_for(2, 3, 1), {"plus": 10}, "add")
    assert sums(folders) == [12, 13, 11]
    assert add.calls == [1, 2, 3]
    assert "add: computed 1 of 3 shards, kept the others" in capsys.readouterr().out


def test_other_settings_compute_again(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)
    assert sums(map_shards(add, tasks_for(1), {"plus": 10}, "add")) == [11]
    assert sums(map_shards(add, tasks_for(1), {"plus": 20}, "add")) == [21]
    assert sums(map_shards(add, tasks_for(1), {"plus": 10}, "add")) == [11]
    assert add.calls == [1, 1]


def test_other_bytes_of_an_input_file_compute_again_and_another_time_does_not(
    tmp_path, monkeypatch
):
    add = make_project(tmp_path, monkeypatch)
    file = tmp_path / "input"
    task = Task((1,), (file,))
    file.write_text("first")
    map_shards(add, [task], {"plus": 0}, "add")
    os.utime(file, (0, 0))
    map_shards(add, [task], {"plus": 0}, "add")
    assert add.calls == [1]
    file.write_text("other")
    map_shards(add, [task], {"plus": 0}, "add")
    assert add.calls == [1, 1]


@pytest.mark.parametrize("changed", ["stages/made_up.py", "requirements.lock"])
def test_other_code_and_other_libraries_compute_again(tmp_path, monkeypatch, changed):
    add = make_project(tmp_path, monkeypatch)
    map_shards(add, tasks_for(1), {"plus": 0}, "add")
    (tmp_path / changed).write_text("# another text")
    imports.code_digest.cache_clear()  # as in a new process
    map_shards(add, tasks_for(1), {"plus": 0}, "add")
    assert add.calls == [1, 1]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)

    def add_until_interrupted(number: int, plus: int) -> dict[str, np.ndarray]:
        if number == 3:
            raise KeyboardInterrupt
        return add(number, plus)

    add_until_interrupted.__module__ = add.__module__
    add_until_interrupted.__name__ = add.__name__
    with pytest.raises(KeyboardInterrupt):
        map_shards(add_until_interrupted, tasks_for(1, 2, 3, 4), {"plus": 0}, "add")
    assert add.calls == [1, 2]
    assert sums(map_shards(add, tasks_for(1, 2, 3, 4), {"plus": 0}, "add")) == [1, 2, 3, 4]
    assert add.calls == [1, 2, 3, 4]


def test_nothing_half_written_stays_on_a_full_disk_and_the_next_run_goes_on(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)
    synced = []

    def full_at_the_second_file(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_at_the_second_file)
    with pytest.raises(InputError, match=r"cache/add: expected space on its disk, found none"):
        map_shards(add, tasks_for(5), {"plus": 0}, "add")
    assert list((tmp_path / "cache" / "add").iterdir()) == []
    [folder] = map_shards(add, tasks_for(5), {"plus": 0}, "add")
    assert sorted(file.name for file in folder.iterdir()) == ["squares.npy", "sum.npy"]
    assert add.calls == [5, 5]


def test_a_full_disk_is_one_clear_error_in_workers_too_and_the_next_run_succeeds(tmp_path):
    script = f"""
import subprocess
from pathlib import Path
import numpy as np
from stages.common.augment_shard import augment_shard
from stages.common.errors import InputError
from stages.common.shard_map import Task, map_shards
tasks = []
for number in range(6):
    file = Path("{tmp_path}", f"part-{{number}}.npy")
    np.save(file, np.full((10, 100, 100, 3), number, np.uint8))
    ids = tuple("abcdefghij")
    tasks.append(Task((file, ids), (file, *ids)))
try:
    map_shards(augment_shard, tasks, {{"number": 1}}, "augment")
except InputError as error:
    print(error)
place = Path("{tmp_path}/disk/augment_shard")
assert all(len(list(one.iterdir())) == 1 for one in place.iterdir() if one.name[0] != "."), "part"
subprocess.run(["mount", "-o", "remount,size=20m", "{tmp_path}/disk"], check=True)
print(len(map_shards(augment_shard, tasks, {{"number": 1}}, "augment")), "folders")
print(sorted(one.name[0] for one in place.iterdir() if one.name[0] == "."), "left")
"""
    (tmp_path / "disk").mkdir()
    disk = str(tmp_path / "disk")
    printed = run_on_small_disk(
        tmp_path / "disk", "1m", script, DARKROOM_CACHE=disk, DARKROOM_WORKERS="2"
    )
    refusal, *_, folders, left = printed.splitlines()
    assert refusal.startswith(f"{disk}/augment_shard: expected space on its disk, found none left")
    assert (folders, left) == ("6 folders", "[] left")


def test_what_a_killed_run_left_is_removed_but_not_while_another_writes(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)
    place = tmp_path / "cache" / "add"
    left = place / ".unfinished-abc"
    left.mkdir(parents=True)
    (left / "sum.npy").write_bytes(b"half")
    # As another process does while it writes.
    with locked(place.with_suffix(".lock"), fcntl.LOCK_SH) as writing:
        assert writing
        map_shards(add, tasks_for(1), {"plus": 0}, "add")
        assert left.exists()
    [folder] = map_shards(add, tasks_for(1), {"plus": 0}, "add")
    assert list(place.iterdir()) == [folder]


def test_no_workers_are_started_if_nothing_is_missing(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)
    folders = map_shards(add, tasks_for(1, 2), {"plus": 0}, "add")

    def refuse(*calls: object) -> None:
        raise AssertionError("started workers")

    monkeypatch.setattr(shard_map, "fan_out", refuse)
    assert map_shards(add, tasks_for(1, 2), {"plus": 0}, "add") == folders
    assert map_shards(add, [], {"plus": 0}, "add") == []


def test_the_same_work_is_done_once(tmp_path, monkeypatch, capsys):
    add = make_project(tmp_path, monkeypatch)
    assert sums(map_shards(add, tasks_for(7, 7, 7), {"plus": 0}, "add")) == [7, 7, 7]
    assert add.calls == [7]


def test_an_input_of_many_tasks_is_read_once(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)
    network = tmp_path / "network"
    network.write_bytes(b"weights")
    read, digest = [], hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, kind: read.append(file.name) or digest(file, kind)
    )
    map_shards(add, [Task((1,), (network,))], {"plus": 0}, "add")
    map_shards(add, [Task((2,), (network, "2")), Task((3,), (network, "3"))], {"plus": 0}, "add")
    assert read == [str(network)]


def test_a_shard_that_another_process_finished_first_is_taken(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)

    def add_slowly(number: int, plus: int) -> dict[str, np.ndarray]:
        if not add.calls:
            map_shards(add, tasks_for(number), {"plus": plus}, "the other process")
        return {"sum": np.array(number + plus), "squares": np.arange(number) ** 2}

    add_slowly.__module__, add_slowly.__name__ = add.__module__, add.__name__
    [folder] = map_shards(add_slowly, tasks_for(4), {"plus": 0}, "add")
    assert sums([folder]) == [4]
    assert list(folder.parent.iterdir()) == [folder]


def test_the_number_of_workers_changes_nothing(tmp_path):
    """A whole project in a process of its own, as the workers import it from there."""
    script = """
import hashlib, sys
from pathlib import Path
import numpy as np
from stages.common.augment_shard import augment_shard
from stages.common.shard_map import Task, map_shards
tasks = [Task((Path(file), ["a", "b", "c"]), (Path(file), "a", "b", "c")) for file in sys.argv[1:]]
settings = {"number": 2, "rotation_range": 30.0, "width_shift_range": 0.2}
for folder in map_shards(augment_shard, tasks, settings, "augment"):
    for file in sorted(folder.iterdir()):
        print(folder.name, file.name, hashlib.sha256(file.read_bytes()).hexdigest())
"""
    files = [tmp_path / f"part-{number}.npy" for number in range(5)]
    random = np.random.default_rng(0)
    for file in files:
        np.save(file, random.integers(0, 256, (3, 12, 10, 3), np.uint8))

    def run(workers: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", script, *map(str, files)],
            cwd=imports.ROOT,
            env={
                **os.environ,
                "DARKROOM_WORKERS": str(workers),
                "DARKROOM_CACHE": str(tmp_path / f"cache-{workers}"),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    one, two = run(1), run(2)
    assert one == two
    assert "computed 5 of 5 shards" in one
    assert len(set(one.splitlines()[1:])) == 5  # no two shards alike
