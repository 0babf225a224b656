"""`dvc.yaml` as a whole: what DVC runs, what it does not, and what it leaves behind."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.common.imports import imported_files
from tests.conftest import ROOT, Project, draw_photo, make_project

STAGES, PLOTS = (
    yaml.safe_load((ROOT / "dvc.yaml").read_text())[part] for part in ("stages", "plots")
)
PHOTOS = 130  # of each class
SHARDS = ["data/images", "data/augmented", "data/features"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that ran once. A test that changes it runs `dvc repro` first, so order is free."""
    project = make_project(tmp_path_factory.mktemp("project"), PHOTOS)
    project.repro()
    return project


def ran(log: str) -> list[str]:
    """The stages that DVC ran, not restored or skipped."""
    return re.findall(r"Running stage '(\w+)'", log)


@pytest.mark.parametrize("file", [ROOT / "params.yaml", *(ROOT / "configs").glob("*.yaml")])
def test_every_params_file_names_what_the_pipeline_refers_to(file: Path):
    params = yaml.safe_load(file.read_text())
    referred = set(re.findall(r"\$\{(.*?)\}", (ROOT / "dvc.yaml").read_text()))
    assert referred == {"ingest.source"}
    assert isinstance(params["ingest"]["source"], str)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_modules_that_a_stage_imports(stage: str):
    assert "requirements.lock" in STAGES[stage]["deps"]
    listed = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    assert listed == {file.as_posix() for file in imported_files(f"stages.{stage}")}
    # What Python itself loads must be among them, whatever the reader of imports thinks.
    name = f"stages.{stage}.__main__" if (ROOT / "stages" / stage).is_dir() else f"stages.{stage}"
    script = (
        f"import sys, {name}\n"
        "for module in sys.modules.copy().values():\n"
        "    if module.__name__.startswith('stages.') and module.__file__: print(module.__file__)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {Path(file).relative_to(ROOT).as_posix() for file in loaded} <= listed


def test_no_stage_imports_another():
    for file in (ROOT / "stages").rglob("*.py"):
        own = file.relative_to(ROOT / "stages").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.split(".")[0] == "stages":
                    assert name.split(".")[1] in ("common", own), f"{file} imports {name}"


def test_readme_shows_the_graph_of_dvc(finished: Project):
    drawn = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    drawn_edges = set(re.findall(r"(\w+) --> (\w+)", drawn))
    dot = finished.run("dvc", "dag", "--dot").stdout
    assert drawn_edges == set(re.findall(r'"(\w+)" -> "(\w+)"', dot))


def test_a_second_run_runs_nothing(finished: Project):
    finished.repro()
    assert "up to date" in finished.repro()


def test_another_folder_and_worker_count_write_the_same_lock_file(finished: Project, tmp_path):
    finished.repro()
    other = make_project(tmp_path / "Another name, with a space", PHOTOS)
    assert len(ran(other.repro(workers=1))) == len(STAGES)
    assert other.path("dvc.lock").read_bytes() == finished.path("dvc.lock").read_bytes()


def test_the_drawn_classes_are_learned(finished: Project):
    finished.repro()
    predictions = pd.read_csv(finished.path("reports/predictions.csv"))
    splits = pd.read_csv(finished.path("data/splits.csv"))
    assert set(predictions["id"]) == set(splits.loc[splits["split"] == "test", "id"])
    assert (predictions["label"] == predictions["predicted"]).mean() >= 0.9


def test_a_change_of_training_or_split_computes_no_pixels(finished: Project):
    finished.repro()
    finished.set(training__optimizer__learning_rate=0.002)
    assert ran(finished.repro()) == ["encode", "kfold", "finetune", "evaluate", "gradcam", "report"]
    finished.set(training__optimizer__learning_rate=0.003)
    assert ran(finished.repro()) == ["report"]  # which has no run cache, see dvc.yaml
    finished.set(split__seed=1)
    computed = ran(finished.repro("kfold"))
    assert set(computed).isdisjoint({"ingest", "augment", "backbone", "embed"})
    assert {"split", "kfold"} <= set(computed)
    finished.set(split__seed=0)
    assert ran(finished.repro()) == []


def test_an_added_photo_changes_at_most_two_shards(tmp_path):
    project = make_project(tmp_path, PHOTOS)
    project.repro("embed")
    before = project.files(*SHARDS)
    draw_photo(project.path("data/raw/green/0100b.png"), "green", seed=9999)
    log = project.repro("embed")
    computed = re.findall(r"(\w[\w -]*): computed (\d+) of (\d+) shards", log)
    assert [what for what, _, _ in computed] == [
        "ingest",
        "augment variant-1",
        "embed whole original",
        "embed whole variant-1",
    ]
    assert all(1 <= int(count) <= 2 < int(total) for _, count, total in computed)
    after = project.files(*SHARDS)
    kept = [name for name in before if name.endswith(".npy") and name in after]
    assert all(before[name] == after[name] for name in kept)
    assert len({Path(name).name for name in set(after) - set(before)}) <= 2


def test_a_killed_run_goes_on_where_it_stopped(finished: Project, tmp_path):
    finished.repro()
    killed = make_project(tmp_path, PHOTOS)
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=killed.folder,
        env=killed.environment(workers=1),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    finished_shards = killed.path(".cache/embed_shard")
    while not list(finished_shards.glob("[!.]*")):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(list(finished_shards.glob("[!.]*")))
    log = killed.repro()
    counts = re.findall(r"embed whole [\w-]+: computed (\d+) of (\d+)", log)
    assert 1 <= kept < sum(int(total) for _, total in counts)
    assert sum(int(total) - int(computed) for computed, total in counts) == kept
    assert killed.path("dvc.lock").read_bytes() == finished.path("dvc.lock").read_bytes()


def test_a_killed_training_goes_on_after_its_last_epoch(finished: Project):
    finished.repro()
    finished.set(training__epochs=300, training__early_stopping=None)
    assert "goes on" not in finished.repro("finetune")
    files = ["models/model.keras", "reports/finetune/history.csv"]
    expected = [finished.path(name).read_bytes() for name in files]

    process = subprocess.Popen(
        [sys.executable, "-m", "stages.finetune"],
        cwd=finished.folder,
        env=finished.environment(),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while not list(finished.path(".cache/training").glob("*/state.npz")):
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    finished.path("models/model.keras").unlink()
    done = finished.run(sys.executable, "-m", "stages.finetune")
    assert done.returncode == 0, done.stderr
    assert "goes on after epoch" in done.stdout
    assert [finished.path(name).read_bytes() for name in files] == expected
    finished.set(training__epochs=8, training__early_stopping={})


def test_training_with_the_validation_images_watches_none(finished: Project):
    finished.repro()
    finished.set(finetune__with_validation=True)
    assert "watching 0 images" in finished.repro("finetune")
    splits = pd.read_csv(finished.path("data/splits.csv"))
    facts = json.loads(finished.path("reports/finetune/summary.json").read_text())
    assert facts["train_images"] == (splits["split"] != "test").sum()
    history = pd.read_csv(finished.path("reports/finetune/history.csv"))
    assert "loss" in history and "val_loss" not in history
    finished.set(finetune__with_validation=False)


WRONG_PARAMS = {
    "mistyped": ({"ingest__sise": 3}, "did you mean 'size'"),
    "backbone": ({"backbones__lite0__network": "EfficientNetLite9"}, "'EfficientNetLite0'"),
    "cut": (
        {"features__whole": {"backbone": "lite0", "strategy": "partial", "cut": "block6b_dwconv"}},
        "block6a_expand_conv",
    ),
    "layer": ({"gradcam__layer": "top_activatoin"}, "did you mean 'top_activation'"),
    "weights": ({"backbones__lite0__weights": "models/weights/none.h5"}, "models/weights/none.h5"),
}


def assert_refused(project: Project, message: str) -> None:
    """`dvc repro` fails with one line that holds the message, and every output stays."""
    before = project.files("data", "models", "reports")
    done = project.run("dvc", "repro")
    log = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in log
    assert any(message in line for line in log.splitlines() if line.startswith("error: ")), log
    after = project.files("data", "models", "reports")
    assert {name for name in before if after.get(name) != before[name]} == set()


@pytest.mark.parametrize("case", WRONG_PARAMS)
def test_a_wrong_param_is_one_line_and_costs_nothing(finished: Project, case: str):
    finished.repro()
    params = finished.path("params.yaml").read_text()
    changes, message = WRONG_PARAMS[case]
    finished.set(**changes)
    try:
        assert_refused(finished, message)
    finally:
        finished.path("params.yaml").write_text(params)
    assert ran(finished.repro()) == []


def test_unusable_photos_are_one_line_and_cost_nothing(finished: Project):
    finished.repro()
    raw, aside = finished.path("data/raw"), finished.path("aside")
    texts = raw / "texts"
    texts.mkdir()
    for number in range(5):
        (texts / f"{number}.jpg").write_text("no photo")
    assert_refused(finished, "found none of ['texts']")
    shutil.rmtree(texts)

    raw.rename(aside)
    before = finished.files("data", "models", "reports")
    done = finished.run("dvc", "repro")
    assert done.returncode != 0 and "data/raw" in done.stderr
    assert finished.files("data", "models", "reports") == before
    raw.mkdir()
    (raw / "empty.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    assert_refused(finished, "empty_archive")
    shutil.rmtree(raw)
    aside.rename(raw)
    assert ran(finished.repro()) == []


def test_a_class_with_one_photo_is_refused_and_the_model_stays(finished: Project):
    finished.repro()
    model = finished.path("models/model.keras").read_bytes()
    lone = finished.path("data/raw/white/0.png")
    draw_photo(lone, "red", seed=12345)
    done = finished.run("dvc", "repro")
    assert done.returncode != 0
    assert "error: class 'white'" in done.stderr + done.stdout
    assert finished.path("models/model.keras").read_bytes() == model
    shutil.rmtree(lone.parent)
    finished.repro()


def test_dvc_shows_metrics_plots_and_experiments(finished: Project):
    finished.repro()
    assert "test.accuracy" in finished.run("dvc", "metrics", "show").stdout
    for command in ["git add .", "git -c user.name=a -c user.email=a@b commit -qm one"]:
        assert finished.run(*command.split()).returncode == 0
    plots = finished.run("dvc", "plots", "show", "--json").stdout
    names = {name if isinstance(name, str) else next(iter(name)) for name in PLOTS}
    assert names <= set(json.loads(plots)["data"])
    shown = {name: one[0].get("content") for name, one in json.loads(plots)["data"].items()}
    for name, values in [("Mean score by candidate", "mean"), ("reports/kfold/summary.csv", "std")]:
        axes = shown[name]["encoding"]
        found = {axis: (axes[axis]["field"], axes[axis]["type"]) for axis in "xy"}
        assert found == {"x": (values, "quantitative"), "y": ("candidate", "nominal")}
    # Without columns that are named, DVC draws the last one by the number of the line.
    assert shown["reports/finetune/history.csv"]["encoding"]["x"]["field"] == "epoch"
    assert shown["reports/kfold/folds.csv"]["encoding"]["x"]["field"] == "fold"
    assert shown["reports/predictions.csv"]["spec"]["encoding"]["x"]["field"] == "predicted"
    done = finished.run("dvc", "exp", "run", "evaluate", "-n", "longer", "-S", "training.epochs=9")
    assert done.returncode == 0, done.stderr
    compared = json.loads(finished.run("dvc", "plots", "diff", "--json", "HEAD").stdout)["data"]
    for name in ("Loss by epoch", "Confusion", "Calibration"):
        revisions = {one for plot in compared[name] for one in plot["revisions"]}
        assert revisions == {"HEAD", "workspace"}
    shown = finished.run("dvc", "exp", "show", "--csv").stdout
    assert "longer" in shown and "test.accuracy" in shown
    finished.set(training__epochs=8)


def test_experiments_from_the_queue_give_what_they_give_one_by_one(tmp_path):
    project = make_project(tmp_path, photos=60)
    # What the queue works in is a checkout, so it must know the photos.
    for command in [
        "dvc add -q data/raw",
        "git add .",
        "git -c user.name=a -c user.email=a@b commit -qm photos",
    ]:
        assert project.run(*command.split()).returncode == 0
    project.repro("evaluate")
    for command in ["git add .", "git -c user.name=a -c user.email=a@b commit -qm first"]:
        assert project.run(*command.split()).returncode == 0
    first = json.loads(project.path("reports/metrics.json").read_text())
    experiment = ["dvc", "exp", "run", "evaluate", "-S", "split.seed=1"]
    done = project.run(*experiment, "-n", "seed")
    assert done.returncode == 0, done.stderr
    assert project.run("git", "checkout", "-q", "params.yaml", "dvc.lock").returncode == 0
    queued = project.run(*experiment, "-n", "queued-seed", "--queue")
    assert queued.returncode == 0, queued.stderr
    shutil.rmtree(project.path(".dvc/cache/runs"))  # or DVC would only restore what it knows
    done = project.run("dvc", "exp", "run", "--run-all")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = project.run("dvc", "exp", "show", "--json", "--no-pager").stdout
    metrics = {}
    for experiment in json.loads(shown)[1]["experiments"] or []:
        revision = experiment["revs"][-1] if experiment.get("revs") else experiment
        metrics[experiment["name"]] = revision["data"]["metrics"]["reports/metrics.json"]["data"]
    assert metrics["seed"] == metrics["queued-seed"] != first


def test_shards_are_read_by_numpy_and_rows_agree_with_the_manifest(finished: Project):
    finished.repro()
    manifest = pd.read_csv(finished.path("data/manifest.csv"))
    for part, images in manifest.groupby("part"):
        for folder in ["data/images", "data/augmented/variant-1", "data/features/whole/original"]:
            shard = np.load(finished.path(folder) / part, mmap_mode="r")
            assert sorted(images["row"]) == list(range(len(shard)))
