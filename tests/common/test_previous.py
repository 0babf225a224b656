"""What DVC remembers of the last run, asked by a stage that DVC runs."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from stages.common.previous import previous_table
from stages.common.tables import write_table

ROOT = Path(__file__).resolve().parents[2]
STAGE = """
from pathlib import Path
from stages.common.previous import previous_table
from stages.common.tables import read_table, write_table

before = previous_table(Path("data/out.csv"))
print("before:", None if before is None else before["split"].tolist(), flush=True)
assert not Path("data/out.csv").exists()
write_table(read_table(Path("in.csv")), Path("data/out.csv"))
"""
PIPELINE = """
stages:
  probe:
    cmd: python probe.py
    deps: [in.csv]
    outs: [data/out.csv]
"""


def repro(split: str) -> str:
    """What the stage prints when DVC runs it with that in its table."""
    write_table(pd.DataFrame({"id": ["a"], "split": [split]}), Path("in.csv"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["dvc", "repro"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(line for line in done.stdout.splitlines() if line.startswith("before:"))


@pytest.fixture(autouse=True)
def in_an_empty_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)


def test_a_stage_can_ask_what_it_wrote_last_and_a_lost_cache_does_no_harm(tmp_path):
    for command in ["git init -q", f"{sys.executable} -m dvc init -q"]:
        subprocess.run(command.split(), check=True)
    Path("probe.py").write_text(STAGE)
    Path("dvc.yaml").write_text(PIPELINE)
    assert repro("train") == "before: None"
    assert repro("test") == "before: ['train']"
    assert repro("validation") == "before: ['test']"
    for file in Path(".dvc/cache/files").rglob("*"):
        if file.is_file():
            file.unlink()
    assert repro("other") == "before: None"


def test_outside_of_dvc_there_is_nothing_to_know(monkeypatch):
    write_table(pd.DataFrame({"id": ["a"]}), Path("data/out.csv"))
    assert previous_table(Path("data/out.csv")) is None
    # Whatever goes wrong in DVC: here there is no project.
    monkeypatch.setenv("DVC_STAGE", "probe")
    assert previous_table(Path("data/out.csv")) is None
