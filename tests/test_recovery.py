"""`dvc repro` after it was killed at random moments, and after the disk was full."""

import json
import os
import random
import signal
import subprocess

import pytest

from tests.conftest import Project, make_project
from tests.small_disk import run_on_small_disk

PHOTOS = 60
KILLS = 10


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What `dvc.lock` is after a run that nothing disturbs."""
    project = make_project(tmp_path_factory.mktemp("undisturbed"), PHOTOS)
    project.repro()
    return project.path("dvc.lock").read_bytes()


def kill_after(project: Project, seconds: float) -> bool:
    """Run `dvc repro` and kill it with all its processes; whether it was still running."""
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def test_runs_killed_at_ten_random_moments_end_as_if_undisturbed(tmp_path, undisturbed):
    moments, kills = random.Random(0), 0
    project = make_project(tmp_path / "first", PHOTOS)
    while kills < KILLS:
        if kill_after(project, moments.uniform(1.5, 6)):
            kills += 1
        else:  # it came to its end between the kills, so the others are to hit another run
            assert project.path("dvc.lock").read_bytes() == undisturbed
            project = make_project(tmp_path / f"after {kills} kills", PHOTOS)
    project.repro()
    assert project.path("dvc.lock").read_bytes() == undisturbed
    left = [file for folder in ("data", "models") for file in project.path(folder).glob(".[!g]*")]
    assert left == []


ON_A_SMALL_DISK = """
import json, os, shutil, sys
from pathlib import Path
from tests.conftest import make_project

disk = Path(sys.argv[1])
project = make_project(disk / "project", int(sys.argv[2]))
first = project.run("dvc", "repro", "ingest")
ballast = disk / "ballast"
with ballast.open("wb") as file:
    os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - 600_000)
before = project.files("data/images")
full = project.run("dvc", "repro")
kept = project.files("data/images") == before
ballast.unlink()
last = project.run("dvc", "repro")
print(json.dumps({
    "first": first.returncode,
    "full": full.returncode,
    "said": full.stdout + full.stderr,
    "kept": kept,
    "last": last.returncode,
    "last_said": last.stdout + last.stderr,
    "lock": project.path("dvc.lock").read_text(),
}))
"""


def test_a_full_disk_is_one_clear_error_and_the_next_run_succeeds(tmp_path, undisturbed):
    disk = tmp_path / "disk"
    disk.mkdir()
    script = ON_A_SMALL_DISK.replace("sys.argv[1]", repr(str(disk))).replace(
        "sys.argv[2]", str(PHOTOS)
    )
    found = json.loads(run_on_small_disk(disk, "400m", script))
    assert found["first"] == 0
    assert found["full"] != 0
    assert "Traceback" not in found["said"], found["said"]
    errors = [line for line in found["said"].splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "expected space on its disk, found none left" in errors[0]
    assert found["kept"]
    assert found["last"] == 0, found["last_said"]
    assert found["lock"].encode() == undisturbed
