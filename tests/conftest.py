"""A small project of drawn photos, for tests that run `dvc` itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import settings
from PIL import Image

# No test is a matter of luck: not of the load of the machine, nor of the examples of this run.
settings.register_profile("reproducible", deadline=None, derandomize=True)
settings.load_profile("reproducible")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs of whole pipelines first: they take longest, and short tests fill what remains."""
    items.sort(key=lambda item: item.path.parent != ROOT / "tests")


class Project:
    """A copy of the pipeline in a folder of its own, with drawn photos and small params."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def run(self, *command: str, workers: int = 2) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; `python` is the one that runs the tests."""
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(workers), capture_output=True, text=True
        )

    def environment(self, workers: int = 2) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "DARKROOM_WORKERS": str(workers)}

    def repro(self, *targets: str, workers: int = 2) -> str:
        """Run `dvc repro` and give what it printed; fails if it fails.

        Args:
            targets: Stages; these and all before them are run, or all there are.
            workers: Processes.
        """
        done = self.run("dvc", "repro", *targets, workers=workers)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def set(self, **changes: object) -> None:
        """Change params: `set(split__seed=1)` sets `split.seed`."""
        params = yaml.safe_load(self.path("params.yaml").read_text())
        for key, value in changes.items():
            *sections, name = key.split("__")
            section = params
            for one in sections:
                section = section[one]
            section[name] = value
        self.path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def files(self, *folders: str) -> dict[str, bytes]:
        """Every file below some folders, by its name and bytes."""
        found = [file for folder in folders for file in self.path(folder).rglob("*")]
        return {
            file.relative_to(self.folder).as_posix(): file.read_bytes()
            for file in found
            if file.is_file() and file.name != ".gitignore"
        }


def draw_photo(path: Path, color: str, seed: int) -> None:
    """A bright disc of a colour at some place on a background of large soft spots."""
    random = np.random.default_rng(seed)
    spots = Image.fromarray(random.integers(0, 110, (5, 5, 3), np.uint8))
    pixels = np.array(spots.resize((40, 40), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:40, :40]
    disc = (x - random.uniform(12, 28)) ** 2 + (y - random.uniform(12, 28)) ** 2 < 150
    pixels[disc] = {"red": (230, 40, 40), "green": (40, 220, 60), "blue": (50, 60, 240)}[color]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def empty_project(folder: Path) -> Project:
    """A project without photos."""
    for name in ["stages", "models/weights"]:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ["dvc.yaml", "params.yaml", "requirements.lock", ".dvcignore"]:
        shutil.copyfile(ROOT / name, folder / name)
    project = Project(folder)
    project.set(
        ingest__size=[64, 48],
        augment__variants=1,
        features={"whole": {"backbone": "lite0"}},
        candidates={"linear": {"head": {"layers": []}}, "hidden": {}},
        split__folds=2,
        training__epochs=8,
        gradcam__measured=8,
        training__optimizer__learning_rate=0.003,
    )
    for command in ["git init -q", "dvc init -q"]:
        assert project.run(*command.split()).returncode == 0
    return project


def make_project(folder: Path, photos: int) -> Project:
    """A project with so many photos of each of three classes, that has not run yet."""
    project = empty_project(folder)
    for seed in range(photos):
        for number, color in enumerate(["red", "green", "blue"]):
            draw_photo(folder / f"data/raw/{color}/{seed:04}.png", color, 3 * seed + number)
    return project
