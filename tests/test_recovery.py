"""`dvc repro` after it was killed at random moments, and after the disk was full."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project, make_project

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


def test_a_run_killed_at_ten_random_moments_ends_as_if_undisturbed(tmp_path, undisturbed):
    project = make_project(tmp_path, PHOTOS)
    moments, kills = random.Random(0), 0
    began = time.monotonic()
    while kills < KILLS and kill_after(project, moments.uniform(1.5, 4)):
        kills += 1
    assert kills >= 3, f"the run ended after {time.monotonic() - began:.0f} s and {kills} kills"
    project.repro()
    assert project.path("dvc.lock").read_bytes() == undisturbed
    left = [*tmp_path.glob("data/.[!g]*"), *tmp_path.glob("models/.[!g]*")]
    assert left == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_clear_error_and_the_next_run_succeeds(small_disk, undisturbed):
    project = make_project(small_disk, PHOTOS)
    assert project.run("dvc", "repro", "ingest").returncode == 0
    free = shutil.disk_usage(small_disk).free
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free - 600_000))
    before = project.files("data/images")
    done = project.run("dvc", "repro")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in output, output
    assert any("expected space on its disk" in line for line in output.splitlines()), output
    assert project.files("data/images") == before
    ballast.unlink()
    shutil.rmtree(small_disk / ".git")  # nothing needs it, and the disk is small
    subprocess.run(["git", "init", "-q"], cwd=small_disk, check=True)
    project.repro()
    assert project.path("dvc.lock").read_bytes() == undisturbed
