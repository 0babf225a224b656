"""`kfold` and `finetune` on two devices and in two processes, against a single one."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.common.test_distribution import free_addresses, tf_config
from tests.conftest import Project, make_project

PHOTOS = 40


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("single") / "project", PHOTOS)
    project.set(training__epochs=4, kfold__predict_test=True)
    done = project.run("dvc", "repro", "finetune")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def copied(project: Project, folder: Path, strategy: str) -> Project:
    """Return a copy in which two replicas are to train."""
    shutil.copytree(project.folder, folder)
    copy = Project(folder)
    copy.set(training__distribution={"strategy": strategy, "replicas": 2})
    return copy


def assert_same_training(received: Project, expected: Project) -> None:
    """Compare all that training decides; only last bits may differ."""
    for name in ("kfold/folds.csv", "kfold/out_of_fold.csv", "finetune/history.csv"):
        tables = [pd.read_csv(one.path(f"reports/{name}")) for one in (received, expected)]
        pd.testing.assert_frame_equal(*tables, check_exact=False, rtol=0, atol=1e-3)
    configs = []
    for project in (received, expected):
        with zipfile.ZipFile(project.path("models/model.keras")) as file:
            configs.append(json.loads(file.read("config.json")))
    assert configs[0] == configs[1]


def test_two_devices_train_as_one(single, tmp_path):
    project = copied(single, tmp_path / "project", "mirrored")
    done = project.run("dvc", "repro", "finetune")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kfold: computed 4 of 4 fits" in done.stdout
    assert_same_training(project, single)


def test_two_processes_train_as_one_and_the_second_writes_nothing(single, tmp_path):
    project = copied(single, tmp_path / "project", "multi_worker")
    addresses = free_addresses(2)
    chief, follower = (
        project.environment() | {"TF_CONFIG": tf_config(addresses, index)} for index in (0, 1)
    )
    # As on a machine whose cache is its own.
    follower |= {"DARKROOM_CACHE": str(tmp_path / "cache")}
    both = f"{sys.executable} -m stages.kfold && {sys.executable} -m stages.finetune"
    started = [
        subprocess.Popen(
            command,
            cwd=project.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command, environment in [
            (["dvc", "repro", "finetune"], chief),
            (["sh", "-c", both], follower),
        ]
    ]
    printed = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(printed)
    assert "kfold: computed 4 of 4 fits" in printed[0]
    assert_same_training(project, single)
    written = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert [file for file in written if file.suffix in (".npy", ".npz", ".keras")] == []
    assert "up to date" in project.run("dvc", "status", "kfold", "finetune").stdout


def test_without_tf_config_it_is_one_line_and_the_last_model_stays(single, tmp_path):
    project = copied(single, tmp_path / "project", "multi_worker")
    model = project.path("models/model.keras").read_bytes()
    done = project.run("dvc", "repro", "-f", "-s", "finetune")
    assert done.returncode != 0
    assert 'error: TF_CONFIG: expected {"cluster"' in done.stderr
    assert "Traceback" not in done.stderr
    assert project.path("models/model.keras").read_bytes() == model


def test_a_network_with_a_trained_convolution_is_the_same_on_two_devices(single, tmp_path):
    """Frozen normalisation, dropout and images behind the cut, after a phase of the head alone."""
    projects = []
    for name, distribution in {
        "one": {"strategy": "single", "replicas": 1},
        "two": {"strategy": "mirrored", "replicas": 2},
    }.items():
        project = copied(single, tmp_path / name, "mirrored")
        project.set(
            training__distribution=distribution,
            training__epochs=2,
            training__head_first={"epochs": 1, "rate_factor": 0.1},
            features={
                "whole": {
                    "backbone": "lite0",
                    "strategy": "partial",
                    "cut": "block6d_add",
                }
            },
            candidates={"only": {}},
            finetune__candidate="only",
        )
        for stage in ("embed", "finetune"):
            done = project.run(sys.executable, "-m", f"stages.{stage}")
            assert done.returncode == 0, done.stdout + done.stderr
        projects.append(project)
    one, two = (pd.read_csv(project.path("reports/finetune/history.csv")) for project in projects)
    assert one["phase"].tolist() == ["head", "all", "all"]
    pd.testing.assert_frame_equal(two, one, check_exact=False, rtol=0, atol=1e-3)
    assert np.isfinite(two["loss"]).all()
