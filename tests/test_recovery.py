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
def calm(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that ran once, and that nothing disturbed."""
    project = make_project(tmp_path_factory.mktemp("calm"), PHOTOS)
    project.repro()
    return project


@pytest.fixture(scope="module")
def undisturbed(calm: Project) -> bytes:
    """What `dvc.lock` is after a run that nothing disturbs."""
    return calm.path("dvc.lock").read_bytes()


def kill_after(project: Project, seconds: float) -> bool:
    """Run `dvc repro` and kill it with all its processes; whether it was still running."""
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    assert process.returncode == 0, said
    return False


def mend(project: Project) -> None:
    """Remove a `dvc.lock` that DVC cannot read, as the README says.

    DVC writes the file in place, so a kill at that moment leaves an empty or a torn one.
    """
    if "dvc.lock' " in project.run("dvc", "status").stderr:
        project.path("dvc.lock").unlink()


def test_runs_killed_at_ten_random_moments_end_as_if_undisturbed(tmp_path, undisturbed):
    moments, kills = random.Random(0), 0
    project = make_project(tmp_path / "first", PHOTOS)
    while kills < KILLS:
        if kill_after(project, moments.uniform(1.5, 6)):
            kills += 1
            mend(project)
        else:  # it came to its end between the kills, so the others are to hit another run
            assert project.path("dvc.lock").read_bytes() == undisturbed
            project = make_project(tmp_path / f"after {kills} kills", PHOTOS)
    project.repro()
    assert project.path("dvc.lock").read_bytes() == undisturbed
    left = [file for folder in ("data", "models") for file in project.path(folder).glob(".[!g]*")]
    assert left == []


@pytest.mark.parametrize("kept", [b"", b"schema: '2.0'\nstages:\n  ing"])
def test_after_a_torn_lock_file_is_removed_nothing_is_trained_again(calm, undisturbed, kept):
    lock = calm.path("dvc.lock")
    lock.write_bytes(kept)
    refused = calm.run("dvc", "repro")
    assert refused.returncode != 0 and "dvc.lock' " in refused.stderr
    mend(calm)
    said = calm.repro()
    assert lock.read_bytes() == undisturbed
    for stage in ["augment", "embed", "kfold", "finetune", "gradcam"]:
        assert f"Stage '{stage}' is cached" in said


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
