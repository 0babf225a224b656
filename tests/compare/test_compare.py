"""The command as its users run it, on projects in real Git and DVC."""

import json
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.common.errors import InputError
from stages.compare.__main__ import main
from stages.compare.command_line import parse
from stages.compare.sheets import HEIGHT
from tests.compare.conftest import HandMade, Photo, State
from tests.conftest import ROOT, Project, draw_photo, make_project

RED, GREEN, BLUE, GREY = (200, 20, 20), (20, 180, 20), (20, 20, 200), (120, 120, 120)


def key(number: int) -> str:
    return f"{number:016x}"


def twelve_photos() -> State:
    """Eight cats and four dogs; every fourth is a test image."""
    photos = {}
    for number in range(12):
        label = "dog" if number % 3 == 2 else "cat"
        side = ("test", -1) if number % 4 == 3 else ("train", number % 2)
        photos[key(number)] = Photo(f"{label}/{number:02}.png", label, *side)
    return State(photos)


def compare(*arguments: str) -> None:
    main(parse(arguments))


def compare_json(capsys, *arguments: str) -> dict:
    compare("--format", "json", *arguments)
    return json.loads(capsys.readouterr().out)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the working folder, as another process."""
    return subprocess.run(
        [sys.executable, "-m", "stages.compare", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=120,
    )


def refusal(*arguments: str) -> str:
    """The line that refuses; nothing else is printed."""
    with pytest.raises(InputError) as refused:
        compare(*arguments)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def colors(sheet: str, count: int) -> list[tuple[int, ...]]:
    """The colour in the middle of each of the first pictures of a sheet."""
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape[1] == count * HEIGHT
    return [tuple(pixels[HEIGHT // 2, HEIGHT // 2 + number * HEIGHT]) for number in range(count)]


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def assert_close(got: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> None:
    assert np.abs(np.array(got, int) - np.array(expected, int)).max() <= 4


def test_adding_removing_relabelling_moving_and_renaming(project: HandMade, capsys):
    before = twelve_photos()
    before.rejected = [("old.png", "truncated", "cut"), ("both.png", "unreadable", "?")]
    before.photos[key(0)].color = RED
    project.commit(before)

    after = deepcopy(before)
    del after.photos[key(0)]
    after.photos[key(1)] = replace(after.photos[key(1)], label="dog", color=GREEN)
    after.photos[key(2)] = replace(after.photos[key(2)], split="validation", color=BLUE)
    after.photos[key(4)].fold = 1
    after.photos[key(5)].source = "dog/renamed.png"
    after.photos[key(50)] = Photo("fox/50.png", "fox", "test", -1, color=RED)
    after.photos[key(51)] = Photo("fox/51.png", "fox", "train", 1, color=GREEN)
    after.rejected = [("both.png", "unreadable", "?"), ("new.png", "not_an_image", "text")]
    after.metrics = {"test": {"accuracy": 0.75}}
    after.params = {"split": {"seed": 1}}
    after.candidate = "hidden"
    project.write(after)

    facts = compare_json(capsys, "HEAD")
    assert facts["counts"] == {
        "added": 2,
        "removed": 1,
        "relabelled": 1,
        "moved": 1,
        "refolded": 1,
        "renamed": 1,
    }
    assert {kind: [one["id"] for one in found] for kind, found in facts["images"].items()} == {
        "added": [key(50), key(51)],
        "removed": [key(0)],
        "relabelled": [key(1)],
        "moved": [key(2)],
        "refolded": [key(4)],
        "renamed": [key(5)],
    }
    assert facts["metrics"] == [
        {"figure": "test.accuracy", "before": 0.5, "after": 0.75, "change": 0.25}
    ]
    assert facts["params"] == [{"param": "split.seed", "before": 0, "after": 1}]
    assert facts["candidate"] == {"before": "linear", "after": "hidden"}
    assert facts["test"] == {"before": 3, "after": 4, "both": 3}
    assert [(one["change"], one["source"]) for one in facts["rejected"]] == [
        ("new", "new.png"),
        ("gone", "old.png"),
    ]
    assert_close(colors("compared/added.jpg", 2), [RED, GREEN])
    assert_close(colors("compared/removed.jpg", 1), [RED])
    assert_close(colors("compared/relabelled.jpg", 1), [GREEN])
    assert_close(colors("compared/moved.jpg", 1), [BLUE])
    assert names("compared") == [
        "added.jpg",
        "index.html",
        "moved.jpg",
        "relabelled.jpg",
        "removed.jpg",
    ]

    compare()
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "cat 8 0 1 0 1 6 0 1 0" in lines
    assert "dog 4 0 0 1 0 5 1 0 1" in lines
    assert "fox 0 2 0 0 0 2 0 0 0" in lines
    assert "all images 12 2 1 1 1 13 1 1 1" in lines
    assert "test.accuracy 0.5 0.75 +0.25" in lines
    assert "split.seed 0 -> 1" in out and "linear -> hidden" in out
    assert "3 before and 4 after, 3 of them the same" in out
    page = Path("compared/index.html").read_text()
    for text in ["cat -&gt; dog", "train -&gt; validation", "fox/51.png", "dog/renamed.png"]:
        assert text in page


def test_nothing_changed(project: HandMade, capsys):
    project.commit(twelve_photos())
    compare()
    out = capsys.readouterr().out
    assert "no image changed" in out and "note:" not in out
    assert names("compared") == ["index.html"]
    assert project.run("git", "status", "--short").stdout == ""


def test_two_revisions_whatever_lies_in_the_workspace(project: HandMade, capsys):
    state = twelve_photos()
    first = project.commit(state)
    project.run("git", "tag", "first")
    one = replace(state, photos={**state.photos, key(60): Photo("a.png", "cat", color=BLUE)})
    project.commit(one)
    project.run("git", "tag", "second")
    project.write(State({key(99): Photo("x.png", "bird")}))
    facts = compare_json(capsys, "first", "second")
    assert facts["counts"]["added"] == 1 and facts["counts"]["removed"] == 0
    assert facts["before"] == f"first ({first[:7]})"
    assert facts["after"].startswith("second (")
    assert_close(colors("compared/added.jpg", 1), [BLUE])
    facts = compare_json(capsys, "second", "first")
    assert facts["counts"]["added"] == 0 and facts["counts"]["removed"] == 1
    assert_close(colors("compared/removed.jpg", 1), [BLUE])
    assert not Path("compared/added.jpg").exists()  # that was of the comparison before


def test_the_same_inputs_give_the_same_bytes(project: HandMade):
    state = twelve_photos()
    project.commit(state)
    project.write(State({one: replace(photo, label="x") for one, photo in state.photos.items()}))
    compare("--output", "a")
    Path("later").mkdir()
    done = run("--output", "later/b", TZ="Asia/Tokyo", PYTHONHASHSEED="7", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert project.files("a").keys() == {"a/index.html", "a/relabelled.jpg"}
    for name, content in project.files("a").items():
        assert project.path(name.replace("a/", "later/b/", 1)).read_bytes() == content


def cached_shards(project: Project) -> list[Path]:
    """The files in DVC's cache that hold images."""
    files = [path for path in project.path(".dvc/cache").rglob("*") if path.is_file()]
    return [path for path in files if path.read_bytes().startswith(b"\x93NUMPY")]


def with_remote(project: HandMade, state: State) -> None:
    """Keep a state in a remote and in Git, and nothing of it in the cache."""
    project.run("dvc", "remote", "add", "-d", "store", str(project.folder.parent / "store"))
    project.commit(state)
    done = project.run("dvc", "push")
    assert done.returncode == 0, done.stderr
    forget_cache(project)


def forget_cache(project: HandMade) -> None:
    shutil.rmtree(project.path(".dvc/cache"))
    project.run("dvc", "config", "--local", "core.site_cache_dir", str(project.folder.parent / "s"))


def test_of_a_remote_only_the_files_with_shown_images_are_loaded(project: HandMade, capsys):
    state = twelve_photos()
    state.photos[key(0)].color = GREEN
    with_remote(project, state)
    remaining = {one: photo for one, photo in state.photos.items() if one != key(0)}
    project.write(replace(state, photos=remaining))
    compare("--no-page")
    assert not Path("compared").exists()
    assert not cached_shards(project)
    capsys.readouterr()
    assert compare_json(capsys)["counts"]["removed"] == 1
    assert len(cached_shards(project)) == 1
    assert_close(colors("compared/removed.jpg", 1), [GREEN])


def test_what_neither_cache_nor_remote_holds_is_one_line(project: HandMade):
    state = twelve_photos()
    project.commit(state)
    project.write(State({}))
    forget_cache(project)
    done = run()
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "of HEAD" in done.stderr and "found it in neither; ask" in done.stderr


@pytest.mark.parametrize("scheme", ["ssh", "s3"])
def test_a_remote_that_does_not_answer_is_one_line(project: HandMade, scheme: str):
    with_remote(project, twelve_photos())
    project.write(State({}))
    closed = {"ssh": "ssh://nobody@127.0.0.1:1/store", "s3": "s3://store"}[scheme]
    project.run("dvc", "remote", "modify", "store", "url", closed)
    if scheme == "s3":
        project.run("dvc", "remote", "modify", "store", "endpointurl", "http://127.0.0.1:1")
    done = run(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_MAX_ATTEMPTS="1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert "of HEAD" in done.stderr and "127.0.0.1" in done.stderr


def test_removed_images_that_are_lost_can_be_compared_without_pictures(project: HandMade, capsys):
    state = twelve_photos()
    project.commit(state)
    for path in cached_shards(project):
        path.unlink()
    project.write(replace(state, photos={key(70): Photo("x.png", "cat")}))
    assert "data/images/part-" in refusal()
    assert compare_json(capsys, "--no-page")["counts"]["removed"] == 12


def test_wrong_revisions_and_folders_are_one_line(project: HandMade, monkeypatch):
    assert "git" in refusal("nonsense") and "'nonsense'" in refusal("nonsense")
    project.run("git", "commit", "-qm", "bare", "--allow-empty")
    assert "data/manifest.csv" in refusal("HEAD") and "pipeline had not run" in refusal("HEAD")
    project.commit(twelve_photos())
    assert "data/manifest.csv" in refusal("HEAD~1") and "HEAD~1" in refusal("HEAD~1")
    shutil.rmtree("data")
    assert "the workspace" in refusal("HEAD") and "dvc repro" in refusal("HEAD")
    Path("data").mkdir()
    monkeypatch.chdir("data")
    assert "folder of a project" in refusal("HEAD")
    monkeypatch.chdir(project.folder.parent)
    assert "folder of a project" in refusal("HEAD")


def test_a_project_without_git_is_one_line(tmp_path, monkeypatch):
    project = Project(tmp_path)
    project.run("dvc", "init", "-q", "--no-scm")
    monkeypatch.chdir(tmp_path)
    assert "without Git" in refusal("HEAD")


def test_a_project_in_a_folder_of_a_repository(tmp_path, monkeypatch, capsys):
    outer, inner = Project(tmp_path), HandMade(tmp_path / "deep/project")
    inner.folder.mkdir(parents=True)
    outer.run("git", "init", "-q")
    inner.run("dvc", "init", "-q", "--subdir")
    inner.path("dvc.yaml").write_text(
        "stages: {ingest: {cmd: 'true', outs: [data/images, data/manifest.csv]}}"
    )
    monkeypatch.chdir(inner.folder)
    state = twelve_photos()
    state.photos[key(0)].color = RED
    inner.commit(state)
    inner.write(replace(state, photos={one: state.photos[one] for one in list(state.photos)[1:]}))
    assert compare_json(capsys)["counts"]["removed"] == 1
    assert_close(colors("compared/removed.jpg", 1), [RED])


def test_older_versions_need_no_more_than_a_manifest(project: HandMade, capsys):
    project.path("dvc.yaml").write_text("stages: {ingest: {cmd: 'true', outs: [data]}}")
    state = twelve_photos()
    project.write(state)
    for name in ["data/splits.csv", "data/classes.json", "reports", "models", "params.yaml"]:
        path = project.path(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for command in ["dvc commit -fq", "git add -A", "git commit -qm old"]:
        assert project.run(*command.split()).returncode == 0
    project.write(state)
    facts = compare_json(capsys)
    assert not any(facts["counts"].values())
    assert facts["test"] is None and facts["sides"] == {}
    assert re.search(
        r"HEAD \(\w+\) has no data/splits.csv, reports/ingest/rejected.csv", "".join(facts["notes"])
    )


def test_columns_of_newer_manifests_are_ignored(project: HandMade, capsys):
    project.commit(twelve_photos())
    manifest = project.path("data/manifest.csv")
    head, *rows = manifest.read_text().splitlines()
    more = [f"{head},given_split,given_group", *(f'{row},test,"p=1,\'2"' for row in rows)]
    manifest.write_text("\n".join(more) + "\n")
    assert not any(compare_json(capsys)["counts"].values())


def test_a_manifest_without_a_needed_column_is_one_line(project: HandMade):
    project.commit(twelve_photos())
    project.path("data/manifest.csv").write_text("id,source,label\n")
    assert "found no part, row" in refusal()
    project.path("data/manifest.csv").write_text("")
    assert "data/manifest.csv of the workspace: cannot be read" in refusal()


def test_figures_of_an_earlier_run_are_told(project: HandMade, capsys):
    state = twelve_photos()
    project.commit(state)
    del state.photos[key(0)]
    project.write(state)
    assert "is not the one of its dvc.lock" in compare_json(capsys)["notes"][0]
    assert project.run("dvc", "commit", "-fq", "ingest").returncode == 0
    assert (
        "reports/metrics.json of the workspace is of an earlier run"
        in (compare_json(capsys)["notes"][0])
    )
    assert project.run("dvc", "commit", "-fq", "evaluate").returncode == 0
    assert compare_json(capsys)["notes"] == []


def test_names_from_strangers_are_harmless(project: HandMade, capsys):
    evil = '<script>alert(1)</script>\n\x1b[31m"\u202e=1+1.png'
    before = State({key(1): Photo(evil, "<b>a</b>"), key(2): Photo("b.png", "x")})
    project.commit(before)
    after = State(
        {
            key(1): Photo(f"2{evil}", "<i>\x07"),
            key(3): Photo(evil, evil),
            key(2): Photo("b.png", "x", "<u>\x07"),
        },
        rejected=[(evil, evil, evil)],
        metrics={evil: evil},
        params={evil: evil, "list": [evil]},
        candidate=evil,
    )
    project.write(after)
    compare()
    out = capsys.readouterr().out
    page = Path("compared/index.html").read_text()
    for text in (out, page):
        assert not [one for one in text if not one.isprintable() and one != "\n"]
        assert "script>alert(1)</script>\n" not in text
    for tag in ["<script", "<b>a", "<i>", "<u>"]:
        assert tag not in page
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\n\x1b[31m&#34;\u202e=1+1.png" in page
    facts = compare_json(capsys)
    assert facts["images"]["added"][0]["source_after"] == evil


def test_a_folder_with_other_files_keeps_them(project: HandMade):
    project.commit(twelve_photos())
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep")
    compare("--output", "mine")
    assert names("mine") == ["index.html", "notes.txt"]


WRONG = {
    "format": (("--format", "jsn"), ["unknown format 'jsn', did you mean 'json'"]),
    "option": (("--pictures",), ["--pictures"]),
    "three": (("a", "b", "c"), ["c"]),
    "output": (("--output", "dvc.yaml"), ["--output with a folder", "'dvc.yaml'"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_line_is_one_line(project: HandMade, capsys, case):
    arguments, parts = WRONG[case]
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    for part in parts:
        assert part in error


def test_changes_are_no_failure_and_errors_are(project: HandMade):
    project.commit(twelve_photos())
    project.write(State({key(70): Photo("x.png", "cat")}))
    done = run("--no-page")
    assert (done.returncode, done.stderr) == (0, "")
    done = run("nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_reader_that_stops_early_is_no_error(project: HandMade):
    photos = {key(number): Photo(f"{number}.png", f"class {number}") for number in range(3000)}
    project.commit(State({}))
    project.write(State(photos))
    command = f"{sys.executable} -m stages.compare --no-page | head -n 1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_help_says_what_the_exit_code_means(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    out = capsys.readouterr().out
    assert "whether or not anything differs" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_run_of_the_pipeline(tmp_path, monkeypatch, capsys):
    project = make_project(tmp_path, photos=40)
    project.repro("evaluate")
    monkeypatch.chdir(tmp_path)
    for command in ["git add -A", "git commit -qm first"]:
        assert project.run(*command.split()).returncode == 0
    draw_photo(project.path("data/raw/green/new.png"), "green", seed=9999)
    shutil.move("data/raw/red/0003.png", "data/raw/blue/from-red.png")
    project.path("data/raw/red/0004.png").unlink()
    project.set(split__seed=1)
    project.repro("evaluate")
    facts = compare_json(capsys)
    assert (facts["counts"]["added"], facts["counts"]["removed"]) == (1, 1)
    assert [
        (one["source_before"], one["label_before"], one["label_after"])
        for one in facts["images"]["relabelled"]
    ] == [("red/0003.png", "red", "blue")]
    assert facts["counts"]["moved"] > 0 and facts["notes"][-1].startswith("the figures")
    assert {one["param"]: (one["before"], one["after"]) for one in facts["params"]} == {
        "split.seed": (0, 1)
    }
    figures = json.loads(project.path("reports/metrics.json").read_text())["test"]
    shown = {one["figure"]: one["after"] for one in facts["metrics"]}
    assert shown == {f"test.{name}": value for name, value in figures.items()}
    sheet = np.asarray(Image.open("compared/removed.jpg"), int)
    assert (sheet[..., 0] - sheet[..., 1] > 100).mean() > 0.05  # a red disc
