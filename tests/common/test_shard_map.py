import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.common import imports
from stages.common.shard_map import Task, map_shards
from stages.common.shards import read_shard


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
        return {"sum": np.array([number + plus]), "squares": np.arange(number) ** 2}

    add.calls = []
    add.__module__ = "stages.made_up"
    return add


def tasks_for(*numbers: int) -> list[Task]:
    return [Task((number,), (str(number),)) for number in numbers]


def sums(folders: list[Path]) -> list[int]:
    return [int(read_shard(folder / "sum.npy")[0]) for folder in folders]


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


def test_a_half_written_result_is_never_used(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)
    save, saved = np.save, []

    def save_until_the_disk_is_full(file: Path, *args: object, **options: object) -> None:
        if saved:
            raise OSError("no space left")
        saved.append(file)
        save(file, *args, **options)

    monkeypatch.setattr(np, "save", save_until_the_disk_is_full)
    with pytest.raises(OSError, match="no space left"):
        map_shards(add, tasks_for(5), {"plus": 0}, "add")
    assert not saved[0].exists()
    monkeypatch.setattr(np, "save", save)
    [folder] = map_shards(add, tasks_for(5), {"plus": 0}, "add")
    assert sorted(file.name for file in folder.iterdir()) == ["squares.npy", "sum.npy"]
    assert add.calls == [5, 5]


def test_a_shard_that_another_process_finished_first_is_taken(tmp_path, monkeypatch):
    add = make_project(tmp_path, monkeypatch)

    def add_slowly(number: int, plus: int) -> dict[str, np.ndarray]:
        if not add.calls:
            map_shards(add, tasks_for(number), {"plus": plus}, "the other process")
        return {"sum": np.array([number + plus]), "squares": np.arange(number) ** 2}

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
from stages.augment.augment_shard import augment_shard
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
