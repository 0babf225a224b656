"""The same bytes on local processes, a Dask and a Ray cluster, whatever happens to these."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.clusters import (
    PATIENCE,
    Cluster,
    calls_done,
    dask_cluster,
    free_port,
    ray_cluster,
    started,
    wait_until,
)
from tests.conftest import ROOT, Project, empty_project
from tests.small_disk import hidden_behind_a_disk, seeing

KEPT = ".cache/embed_shard"


class Sample(Project):
    """The sample photos, with fewer variants, folds and candidates than the repository has."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        empty_project(folder)
        (folder / "data").mkdir()
        shutil.copyfile(ROOT / "data/sample.py", folder / "data/sample.py")
        # Or short stages would be done before workers have started.
        code = folder / "stages/common/shard_map.py"
        code.write_text(code.read_text().replace("_START_UP = 1.0", "_START_UP = 0.0"))
        assert self.run(sys.executable, "data/sample.py").returncode == 0

    def lock(self) -> str:
        return self.path("dvc.lock").read_text()

    def shards(self) -> int:
        """How many shards of features are finished."""
        return len([one for one in self.path(KEPT).glob("*") if not one.name.startswith(".")])


def run(
    project: Project, *command: str, engine: str = "local", workers: int = 2, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**project.environment(workers), "DARKROOM_ENGINE": engine, **variables}
    return subprocess.run(
        command, cwd=project.folder, env=environment, capture_output=True, text=True
    )


def repro(project: Project, *targets: str, **options: object) -> str:
    done = run(project, "dvc", "repro", *targets, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def repro_and_kill(project: Sample, cluster: Cluster, worker: int) -> str:
    """Run the stages up to `kfold`, and kill a worker in the middle of `embed`; the log."""
    command = ["dvc", "repro", "kfold"]
    with started(
        command,
        project.folder / "run",
        cwd=project.folder,
        **{**project.environment(), "DARKROOM_ENGINE": cluster.engine},
    ) as process:
        wait_until(lambda: project.shards() > 10 or process.poll() is not None)
        assert process.poll() is None, project.path("run/log").read_text()
        cluster.kill(worker)
        done = project.shards()
        assert process.wait() == 0, project.path("run/log").read_text()
    assert done < project.shards()
    return project.path("run/log").read_text()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The sample, run by two processes of this machine."""
    project = Sample(tmp_path_factory.mktemp("reference") / "two processes")
    repro(project, "kfold")
    return project


def test_one_process_writes_the_same_lock_file(reference: Sample, tmp_path: Path):
    project = Sample(tmp_path / "project")
    repro(project, "kfold", workers=1)
    assert project.lock() == reference.lock()


def test_a_dask_cluster_writes_the_same_lock_file_though_a_worker_dies(
    reference: Sample, tmp_path: Path
):
    project = Sample(tmp_path / "project")
    without_tensorflow = {"PYTHONPATH": str(broken_package(tmp_path, "tensorflow"))}
    # Two threads each: joblib does without a cluster that has but one left.
    with dask_cluster(tmp_path / "dask", [{}, without_tensorflow], threads=2) as cluster:
        for stage in ("split", "augment"):  # in the order of `dvc repro kfold`
            repro(project, stage, engine=cluster.engine)
        assert all(calls > 1 for calls in calls_done(cluster))
        repro_and_kill(project, cluster, worker=1)
        before = calls_done(cluster)[0]
        shutil.rmtree(project.path(".cache/fit_fold"))
        repro(project, "kfold", "-f", "-s", engine=cluster.engine)
        assert calls_done(cluster)[0] > before > 1
    assert project.lock() == reference.lock()


def test_a_ray_cluster_writes_the_same_lock_file_though_a_machine_dies(
    reference: Sample, tmp_path: Path
):
    project = Sample(tmp_path / "project")
    with ray_cluster(tmp_path / "ray", nodes=2) as cluster:
        said = repro_and_kill(project, cluster, worker=1)
    assert "a worker was lost" in said
    assert project.lock() == reference.lock()


VARY = """
import hashlib
from pathlib import Path
from stages.common.augment_shard import augment_shard
from stages.common.shard_map import Task, map_shards
from stages.common.stage import run

def main(params):
    shards = sorted(Path("data/images").glob("*.npy"))
    read = (Path("params.yaml"),)
    tasks = [Task((shard, ("a", "b", "c")), (shard,), read) for shard in shards]
    settings = {"number": 1, "rotation_range": 30.0}
    for folder in map_shards(augment_shard, tasks, settings, "augment", where="apart"):
        print(hashlib.sha256((folder / "images.npy").read_bytes()).hexdigest())

run(main)
"""
"""What a stage does that varies the images of a few shards, none of them in its own process."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a few shards of images."""
    project = empty_project(tmp_path_factory.mktemp("small") / "project")
    random = np.random.default_rng(0)
    project.path("data/images").mkdir(parents=True)
    for number in range(8):
        images = random.integers(0, 256, (3, 20, 30, 3), np.uint8)
        np.save(project.path(f"data/images/part-{number}.npy"), images)
    return project


def vary(project: Project, engine: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Vary the images with an empty cache."""
    shutil.rmtree(project.path(".cache"), ignore_errors=True)
    return run(project, sys.executable, "-c", VARY, engine=engine, **variables)


def varied(project: Project, engine: str) -> list[str]:
    """The digests of the varied shards."""
    done = vary(project, engine)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"^[0-9a-f]{64}$", done.stdout, re.M)


def refusal(project: Project, engine: str, **variables: str) -> str:
    """What is said where that cannot be done."""
    done = vary(project, engine, **variables)
    said = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return said[0]


@contextmanager
def changed_code(project: Project, old: str, new: str) -> Iterator[None]:
    """Other code of the function that varies images."""
    file = project.path("stages/common/augment_shard.py")
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    try:
        yield
    finally:
        file.write_text(text)


def broken_package(folder: Path, name: str) -> Path:
    """A folder for PYTHONPATH where a package cannot be imported."""
    path = folder / f"without {name}"
    path.mkdir()
    (path / f"{name}.py").write_text(f'raise ImportError("No module named {name!r}")\n')
    return path


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Cluster]:
    with dask_cluster(tmp_path / "dask", [{}], threads=2) as cluster:
        yield cluster


def test_a_worker_with_threads_that_outlives_a_change_of_code_runs_the_new_code(
    small: Project, dask: Cluster
):
    before = varied(small, "local")
    assert varied(small, dask.engine) == before
    code = small.path("stages/common/augment_shard.py")
    text = code.read_text()
    try:
        code.write_text(
            text.replace("vary_all(read_shard(shard)", "255 - vary_all(read_shard(shard)")
        )
        changed = varied(small, dask.engine)
        assert changed == varied(small, "local") != before
    finally:
        code.write_text(text)
    assert varied(small, dask.engine) == before
    assert calls_done(dask)[0] >= 3 * len(before)


@pytest.mark.parametrize("kind", ["dask:tcp://", "ray:"])
def test_an_address_that_does_not_answer_is_one_line(small: Project, kind: str):
    address = f"{kind}127.0.0.1:{free_port()}"
    said = refusal(small, address)
    assert said.startswith(f"error: {address}: expected ")
    assert "start it, or set another DARKROOM_ENGINE" in said


@pytest.mark.parametrize(("package", "kind"), [("distributed", "dask:tcp://"), ("ray", "ray:")])
def test_a_machine_without_the_package_is_one_line(
    small: Project, tmp_path: Path, package: str, kind: str
):
    without = str(broken_package(tmp_path, package))
    said = refusal(small, f"{kind}127.0.0.1:1", PYTHONPATH=without)
    assert f"No module named '{package}'; install requirements-cluster.lock" in said


@pytest.mark.parametrize(
    ("kill", "said"),
    [
        (Cluster.kill_scheduler, "expected a Dask scheduler there"),
        (partial(Cluster.kill, worker=0), "expected workers, found none"),
    ],
    ids=["scheduler", "only worker"],
)
def test_a_cluster_that_dies_is_one_line_and_what_was_finished_is_kept(
    small: Project, tmp_path: Path, kill: Callable[[Cluster], None], said: str
):
    shutil.rmtree(small.path(".cache"), ignore_errors=True)
    slow = changed_code(small, "    return {", "    import time\n\n    time.sleep(1)\n    return {")
    with dask_cluster(tmp_path / "dask", [{}], threads=2) as cluster, slow:
        variables = {**small.environment(), "DARKROOM_ENGINE": cluster.engine}
        command = [sys.executable, "-c", VARY]
        with started(command, tmp_path / "run", cwd=small.folder, **variables) as process:
            finished = small.path(".cache/augment_shard")
            wait_until(lambda: len(list(finished.glob("[0-9a-f]*"))) > 1)
            kill(cluster)
            assert process.wait(PATIENCE) == 1
        log = (tmp_path / "run/log").read_text()
        assert f"error: {cluster.engine}: {said}" in log
        assert "Traceback" not in log
        assert 1 < len(list(finished.glob("[0-9a-f]*"))) < 8


def refusal_of_another_clone(project: Project, folder: Path, file: str) -> str:
    """What is said of a machine with a clone of its own at the same path, in which a file is
    another, and the same cache."""
    other = folder / "other"
    shutil.copytree(project.folder, other)
    with (other / file).open("a") as changed:
        changed.write("# another revision\n")
    before = seeing(other, at=project.folder)
    with dask_cluster(folder / "dask", [{}], threads=2, before=before) as cluster:
        return refusal(project, cluster.engine, DARKROOM_CACHE=str(folder / "cache"))


def test_a_worker_with_other_code_at_the_same_path_is_one_line(small: Project, tmp_path: Path):
    said = refusal_of_another_clone(small, tmp_path, "stages/common/augment_shard.py")
    assert f"expected the same code in {small.folder}, found another" in said


def test_a_worker_that_reads_another_file_at_the_same_path_is_one_line(
    small: Project, tmp_path: Path
):
    said = refusal_of_another_clone(small, tmp_path, "params.yaml")
    assert f"{small.folder}/params.yaml: expected what the machine that asks has there" in said


def test_a_worker_that_outlives_a_change_of_data_sees_the_new(small: Project, dask: Cluster):
    assert varied(small, dask.engine) == (before := varied(small, "local"))
    shard = small.path("data/images/part-0.npy")
    content = shard.read_bytes()
    try:
        np.save(shard, 255 - np.load(shard))
        changed = varied(small, dask.engine)
        assert changed == varied(small, "local") != before
    finally:
        shard.write_bytes(content)


def test_a_ray_cluster_without_cpus_is_one_line(small: Project, tmp_path: Path):
    with ray_cluster(tmp_path / "ray", nodes=1, cpus=0) as cluster:
        assert "no CPU of a node in 10 s" in refusal(small, cluster.engine)


def test_a_cluster_without_workers_is_one_line(small: Project, tmp_path: Path):
    with dask_cluster(tmp_path / "dask", []) as cluster:
        assert "expected workers, found none" in refusal(small, cluster.engine)


def test_a_worker_without_a_package_is_one_line(small: Project, tmp_path: Path):
    without = str(broken_package(tmp_path, "cv2"))
    with dask_cluster(tmp_path / "dask", [{"PYTHONPATH": without}], threads=2) as cluster:
        said = refusal(small, cluster.engine)
    assert "No module named 'cv2'; install requirements.lock there" in said


WITHOUT_JOBLIB = """
from importlib import metadata

def version(name, known=metadata.version):
    if name == "joblib":
        raise metadata.PackageNotFoundError(name)
    return known(name)

metadata.version = version
"""
"""What Python runs at its start, if it is to know of no such package."""


def test_a_worker_without_joblib_is_one_line(small: Project, tmp_path: Path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without/sitecustomize.py").write_text(WITHOUT_JOBLIB)
    without = {"PYTHONPATH": str(tmp_path / "without")}
    with dask_cluster(tmp_path / "dask", [without], threads=2) as cluster:
        said = refusal(small, cluster.engine)
    assert "expected joblib, found none at tcp://" in said


DEADLY = """    import os, signal, tempfile

    if not os.listdir("deaths"):
        tempfile.mkstemp(dir="deaths")
        os.kill(os.getppid(), signal.SIGKILL)
    return {"""


def test_a_call_that_dask_gives_up_is_made_again(small: Project, tmp_path: Path, monkeypatch):
    """As where machines are taken away one after the other; here Dask gives up after the first."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    expected = varied(small, "local")
    small.path("deaths").mkdir()
    with (
        dask_cluster(tmp_path / "dask", [{}], threads=2) as cluster,
        changed_code(small, "    return {", DEADLY),
    ):
        done = vary(small, cluster.engine)
    assert done.returncode == 0, done.stderr
    assert "a worker was lost" in done.stdout
    assert re.findall(r"^[0-9a-f]{64}$", done.stdout, re.M) == expected


def test_a_worker_with_another_version_is_one_line(small: Project, tmp_path: Path):
    facts = tmp_path / "packages/numpy-0.1.dist-info/METADATA"
    facts.parent.mkdir(parents=True)
    facts.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")
    other = {"PYTHONPATH": str(tmp_path / "packages")}
    with dask_cluster(tmp_path / "dask", [other], threads=2) as cluster:
        assert "found 0.1; install requirements.lock there" in refusal(small, cluster.engine)


def test_a_worker_that_does_not_see_the_disk_is_one_line(small: Project, tmp_path: Path):
    before = hidden_behind_a_disk(small.folder)
    with dask_cluster(tmp_path / "dask", [{}], threads=2, before=before) as cluster:
        assert str(small.folder) in refusal(small, cluster.engine)


def test_a_worker_that_sees_another_cache_is_one_line(small: Project, tmp_path: Path):
    cache = tmp_path / "cache"
    cache.mkdir()
    before = hidden_behind_a_disk(cache)
    with dask_cluster(tmp_path / "dask", [{}], threads=2, before=before) as cluster:
        said = refusal(small, cluster.engine, DARKROOM_CACHE=str(cache))
    assert f"{cache}/augment_shard: expected what the machine that asks has there" in said


def test_the_file_of_settings_names_the_engine_and_the_environment_goes_before(small: Project):
    file = small.path("machine.yaml")
    try:
        file.write_text("engine: spark\n")
        assert "machine.yaml: engine: expected one like local, dask:tcp://" in refusal(small, "")
        file.write_text("engin: local\n")
        assert "machine.yaml: expected some of workers, cache, engine" in refusal(small, "")
        file.write_text(f"engine: dask:tcp://127.0.0.1:{free_port()}\ncache: elsewhere\n")
        assert "expected a Dask scheduler" in refusal(small, "")
        varied(small, "local")
        assert small.path("elsewhere/augment_shard").is_dir()
    finally:
        file.unlink()
