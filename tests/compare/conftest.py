"""A project written by hand: a tiny pipeline in real Git and DVC, without a run."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.conftest import Project

PIPELINE = {
    "ingest": {"outs": ["data/images", "data/manifest.csv", "reports/ingest"]},
    "encode": {"outs": ["data/classes.json"]},
    "split": {"outs": ["data/splits.csv"]},
    "kfold": {"outs": ["models/choice.json"]},
    "evaluate": {
        "deps": ["data/manifest.csv"],
        "metrics": [{"reports/metrics.json": {"cache": False}}],
    },
}


@dataclass
class Photo:
    """An image of one colour."""

    source: str
    label: str
    split: str = "train"
    fold: int = 0
    color: tuple[int, int, int] = (120, 120, 120)


@dataclass
class State:
    """What the pipeline made of some photos, by their ids; four ids share a shard."""

    photos: dict[str, Photo]
    rejected: list[tuple[str, str, str]] = field(default_factory=list)
    metrics: dict = field(default_factory=lambda: {"test": {"accuracy": 0.5}})
    params: dict = field(default_factory=lambda: {"split": {"seed": 0}})
    candidate: str = "linear"
    task: str = "multiclass"


class HandMade(Project):
    """A project whose artifacts a test writes."""

    def write(self, state: State) -> None:
        """Replace the artifacts in the workspace."""
        for name in ["data", "reports/ingest"]:
            shutil.rmtree(self.path(name), ignore_errors=True)
        for name in ["data/images", "reports/ingest", "models"]:
            self.path(name).mkdir(parents=True, exist_ok=True)
        manifest, splits = ["id,source,label,part,row"], ["id,split,fold"]
        ids = sorted(state.photos)
        for start in range(0, len(ids), 4):
            part = f"part-{'-'.join(ids[start : start + 4])}.npy"
            colors = [state.photos[one].color for one in ids[start : start + 4]]
            shard = np.repeat(np.array(colors, np.uint8), 64, 0).reshape(-1, 8, 8, 3)
            np.save(self.path(f"data/images/{part}"), shard)
            for row, one in enumerate(ids[start : start + 4]):
                photo = state.photos[one]
                names = f"{_quoted(photo.source)},{_quoted(photo.label)}"
                manifest.append(f"{one},{names},{part},{row}")
                if photo.split:
                    splits.append(f"{one},{photo.split},{photo.fold}")
        self._text("data/manifest.csv", "\n".join(manifest) + "\n")
        self._text("data/splits.csv", "\n".join(splits) + "\n")
        rows = [",".join(map(_quoted, row)) for row in state.rejected]
        self._text("reports/ingest/rejected.csv", "\n".join(["source,reason,detail", *rows, ""]))
        self._text("data/classes.json", json.dumps({"task": state.task}))
        self._text("models/choice.json", json.dumps({"candidate": state.candidate}))
        self._text("reports/metrics.json", json.dumps(state.metrics))
        self._text("params.yaml", yaml.safe_dump(state.params))

    def commit(self, state: State) -> str:
        """Write the artifacts, and let DVC and Git keep them; gives the commit."""
        self.write(state)
        for command in ["dvc commit -fq", "git add -A", "git commit -qm state --allow-empty"]:
            done = self.run(*command.split())
            assert done.returncode == 0, done.stdout + done.stderr
        return self.run("git", "rev-parse", "HEAD").stdout.strip()

    def _text(self, name: str, text: str) -> None:
        self.path(name).write_text(text, encoding="utf-8", newline="\n")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandMade:
    """An empty project, in the working folder."""
    made = HandMade(tmp_path / "project")
    made.folder.mkdir()
    stages = {name: {"cmd": "true", **stage} for name, stage in PIPELINE.items()}
    made.path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    made.path(".gitignore").write_text("/compared/\n")
    for command in ["git init -q", "dvc init -q"]:
        assert made.run(*command.split()).returncode == 0
    monkeypatch.chdir(made.folder)
    return made
