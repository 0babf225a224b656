"""Augmented images are not sent; missing ones and those of another revision are computed again."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT, Project, make_project

LAYERS = {"whole": {"backbone": "lite0", "layers": ["block4b_expand_activation"]}}


def call(project: Project, *command: str) -> str:
    """Run a command that must not fail, and give what it printed."""
    done = project.run(*command, workers=1)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def commit(project: Project, message: str) -> None:
    call(project, "git", "add", "--all")
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    call(project, "git", *who, "commit", "--quiet", "-m", message)


def ran(log: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", log)


def lock(project: Project) -> str:
    return project.path("dvc.lock").read_text()


def digests(project: Project, algorithm: str) -> list[str]:
    """Of each file of variants that lies there."""
    files = sorted(project.path("data/augmented").rglob("*.npy"))
    return [hashlib.new(algorithm, file.read_bytes()).hexdigest() for file in files]


def listed_digests(project: Project) -> list[str]:
    return pd.read_csv(project.path("data/augmented.csv"))["digest"].tolist()


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project up to `kfold` that ran, was committed and pushed; then with other variants."""
    folder = tmp_path_factory.mktemp("author")
    project = make_project(folder / "project", photos=60)
    project.set(
        augment__variants=2,
        augment__rescale=1 / 255,
        candidates={"linear": {"head": {"layers": []}}},
        training__epochs=1,
    )
    shutil.copyfile(ROOT / ".gitignore", project.path(".gitignore"))
    project.path("data/.gitignore").write_text("/augmented\n")
    pipeline = yaml.safe_load(project.path("dvc.yaml").read_text())
    after = ("finetune", "evaluate", "gradcam", "report")
    stages = {name: stage for name, stage in pipeline["stages"].items() if name not in after}
    project.path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    call(project, "dvc", "remote", "add", "--default", "store", str(folder / "store"))
    call(project, "dvc", "add", "--quiet", "data/raw")
    project.repro(workers=1)
    commit(project, "first")
    call(project, "git", "tag", "first")
    call(project, "dvc", "push")
    project.set(augment__seed=1, augment__variants=3)
    call(project, "dvc", "repro", "augment")
    commit(project, "second")
    return project


def clone(author: Project, folder: Path) -> Project:
    """What a colleague has who pulls the first revision."""
    source, target = str(author.folder), str(folder)
    call(author, "git", "clone", "--quiet", "--branch", "first", source, target)
    project = Project(folder)
    call(project, "dvc", "pull")
    return project


def kill_when_a_variant_is_computed(project: Project, *command: str) -> None:
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment(workers=1),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list(project.path(".cache/augment_shard").glob("[!.]*")):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_who_pulls_can_change_the_head_without_variants(author: Project, tmp_path):
    colleague = clone(author, tmp_path / "colleague")
    assert not colleague.path("data/augmented").exists()
    assert ran(colleague.repro(workers=1)) == []
    colleague.set(training__head__dropout=0.3)
    log = colleague.repro(workers=1)
    assert ran(log) == ["encode", "kfold"]
    assert "augment variant" not in log
    assert not colleague.path("data/augmented").exists()


def test_no_variant_is_pushed(author: Project):
    call(author, "git", "checkout", "--quiet", "first")
    call(author, "dvc", "checkout")
    call(author, "python", "-m", "stages.augment")
    pushed = author.folder.parent / "store/files/md5"
    sent = {path.parent.name + path.name for path in pushed.rglob("*") if path.is_file()}
    assert hashlib.md5(author.path("data/augmented.csv").read_bytes()).hexdigest() in sent
    of_variants = digests(author, "md5")
    assert len(of_variants) == len(listed_digests(author)) > 4
    assert sent.isdisjoint(of_variants)


def test_lost_variants_and_those_of_another_revision_give_the_same_features(
    author: Project, tmp_path
):
    call(author, "git", "checkout", "--quiet", "--force", "master")
    call(author, "dvc", "checkout")
    call(author, "python", "-m", "stages.augment")
    others = digests(author, "sha256")
    call(author, "git", "checkout", "--quiet", "first")
    call(author, "dvc", "checkout")
    assert ran(author.repro(workers=1)) == []
    assert digests(author, "sha256") == others, "so that there is something not to be used"
    author.set(features=LAYERS)
    assert ran(call(author, "dvc", "repro", "embed")) == ["embed"]
    assert digests(author, "sha256") == listed_digests(author)

    colleague = clone(author, tmp_path / "colleague")
    first = lock(colleague)
    colleague.set(features=LAYERS)
    kill_when_a_variant_is_computed(colleague, "dvc", "repro", "embed")
    assert lock(colleague) == first
    log = call(colleague, "dvc", "repro", "embed")
    assert ran(log) == ["embed"]
    counts = re.findall(r"augment variant-\d: computed (\d+) of (\d+)", log)
    assert 0 < sum(int(computed) for computed, _ in counts) < sum(int(of) for _, of in counts)
    assert digests(colleague, "sha256") == listed_digests(colleague)
    assert lock(colleague) == lock(author) != first
