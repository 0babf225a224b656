"""The command as its users run it, with a small model whose answers are known."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import skimage.data
import yaml
from PIL import Image
from sklearn.datasets import load_sample_image

from stages.common import keras_files
from stages.common.errors import InputError
from stages.common.params import load_params
from stages.common.photos import develop, image_id, open_photo
from stages.common.warp import vary
from stages.predict.__main__ import main
from stages.predict.command_line import parse
from tests.conftest import ROOT

COLORS = {"red": (240, 10, 20), "green": (10, 230, 30), "blue": (20, 30, 250)}
STEEPNESS = 4.0


def colour_model(activation: str = "softmax", outputs: int = 3) -> keras.Model:
    """Return image -> mean of each channel, 0 to 1 -> times STEEPNESS -> activation."""
    x = image = keras.Input((16, 24, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(x)
    x = keras.layers.Conv2D(3, 1, use_bias=False, activation="relu", name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    x = keras.layers.Dense(outputs, use_bias=False, name="logits")(x)
    model = keras.Model(image, keras.layers.Activation(activation, name="predictions")(x))
    model.get_layer("conv").kernel.assign(np.eye(3).reshape(1, 1, 3, 3))
    model.get_layer("logits").kernel.assign(STEEPNESS * np.eye(3)[:, :outputs])
    return model


def known_logits(image: np.ndarray) -> np.ndarray:
    return STEEPNESS * image.mean(axis=(0, 1)) / 255


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def draw(path: str, color: tuple[int, int, int], size: tuple[int, int] = (48, 32)) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def developed(path: str, **ingest: object) -> np.ndarray:
    options = {"size": (16, 24), "color": "rgb", "fit": "stretch", **ingest}
    return develop(open_photo(Path(path).read_bytes()), **options)


def set_params(**sections: dict) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, changes in sections.items():
        params[section].update(changes)
    Path("params.yaml").write_text(yaml.safe_dump(params))


def set_task(task: str, encoder: str, classes: list[str], model: keras.Model) -> None:
    Path("data").mkdir(exist_ok=True)
    facts = {"task": task, "encoder": encoder, "classes": classes}
    Path("data/classes.json").write_text(json.dumps(facts))
    keras_files.save(model, "models/model.keras")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with what a run of the pipeline leaves, and the working folder."""
    monkeypatch.chdir(tmp_path)
    set_params(ingest={"size": [16, 24]})
    set_task("multiclass", "label", list(COLORS), colour_model())
    return tmp_path


def predict(*arguments: str) -> int:
    return main(parse(arguments))


def run(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess:
    """Run the command in the working folder, as another process."""
    return subprocess.run(
        [sys.executable, "-m", "stages.predict", *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )


def assert_refused(parts: list[str], *arguments: str) -> None:
    """It is refused with one line that holds all the parts."""
    with pytest.raises(InputError) as refusal:
        predict(*arguments)
    for part in parts:
        assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_answers_are_those_that_arithmetic_gives(project, capsys):
    paths = [draw(f"photos/{name}.png", color) for name, color in COLORS.items()]
    assert predict("--format", "json", *paths) == 0
    for facts, path in zip(json.loads(capsys.readouterr().out), paths, strict=True):
        assert facts["path"] == path
        assert facts["predictions"][0]["class"] == Path(path).stem
        expected = softmax(known_logits(developed(path)))
        got = {one["class"]: one["confidence"] for one in facts["predictions"]}
        assert [got[name] for name in COLORS] == pytest.approx(expected, rel=1e-4)
        assert sorted(got.values(), reverse=True) == list(got.values())


@pytest.mark.parametrize("ingest", [{"fit": "crop"}, {"fit": "pad"}, {"color": "grayscale"}])
def test_photos_are_developed_as_params_say(project, capsys, ingest):
    set_params(ingest={"size": [16, 24], **ingest})
    if "color" in ingest:
        image = keras.Input((16, 24, 1), dtype="uint8")
        x = keras.layers.Concatenate()([image] * 3)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(x))
        x = keras.layers.Dense(3, activation="softmax", name="dense")(x)
        model = keras.Model(image, x)
        model.get_layer("dense").set_weights([np.diag([1.0, 2.0, 3.0]), np.zeros(3)])
        keras_files.save(model, "models/model.keras")
    pixels = np.zeros((40, 30, 3), np.uint8)
    pixels[:10] = COLORS["red"]
    pixels[10:, :5] = COLORS["blue"]
    picture, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    picture.save("photo.png", exif=exif)
    assert predict("--format", "csv", "photo.png") == 0
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    got = {row["class"]: float(row["confidence"]) for row in rows}
    image = developed("photo.png", **ingest)
    if "color" in ingest:
        expected = softmax(image.mean() / 255 * np.array([1, 2, 3]))
    else:
        expected = softmax(known_logits(image))
    assert [got[name] for name in COLORS] == pytest.approx(expected, rel=1e-4)


def test_what_is_transparent_shows_the_colour_of_the_params(project, capsys):
    set_params(ingest={"size": [16, 24], "background": list(COLORS["green"])})
    Image.new("RGBA", (30, 20), (*COLORS["red"], 0)).save("photo.png")
    assert predict("--format", "json", "photo.png") == 0
    [facts] = json.loads(capsys.readouterr().out)
    assert facts["predictions"][0]["class"] == "green"


@pytest.mark.parametrize(
    ("ingest", "reason"),
    [({"min_side": 25}, "too_small"), ({"limits": {"megapixels": 0.0001}}, "too_large")],
)
def test_what_ingest_refuses_is_not_predicted(project, capsys, ingest, reason):
    set_params(ingest={"size": [16, 24], **ingest})
    assert predict(draw("photo.png", COLORS["red"], (30, 20))) == 1
    assert reason in capsys.readouterr().err


def test_so_many_classes_as_asked_for(project, capsys):
    draw("a.png", COLORS["green"])
    predict("--top", "1", "--format", "csv", "a.png")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["rank"], row["class"]) for row in rows] == [("1", "green")]
    predict("--top", "1", "a.png")
    share = softmax(known_logits(developed("a.png")))[1]
    assert capsys.readouterr().out.split() == ["green", f"{share:.1%}", "a.png"]


def test_two_classes_of_one_sigmoid(project, capsys):
    model = colour_model("sigmoid", outputs=1)
    set_task("binary", "binarizer", ["other", "red"], model)
    draw("a.png", COLORS["red"])
    predict("--format", "json", "a.png")
    [facts] = json.loads(capsys.readouterr().out)
    red = 1 / (1 + np.exp(-known_logits(developed("a.png"))[0]))
    assert [one["class"] for one in facts["predictions"]] == ["red", "other"]
    got = [one["confidence"] for one in facts["predictions"]]
    assert got == pytest.approx([red, 1 - red], rel=1e-4)


def test_several_labels_are_all_shown_and_marked(project, capsys):
    model = colour_model("sigmoid")
    model.get_layer("logits").set_weights([8 * np.eye(3) - 1])
    set_task("multilabel", "binarizer", ["red", "green", "blue"], model)
    draw("a.png", (250, 0, 240))
    predict("a.png")
    lines = capsys.readouterr().out.splitlines()[1:4]
    assert [line.split()[:-1] for line in lines] == [["*", "red"], ["*", "blue"], ["green"]]


def test_a_regression_gives_values(project, capsys):
    set_task("regression", "none", [], colour_model("linear", outputs=1))
    paths = [draw(f"{level}.png", (level, 0, 0)) for level in (0, 51, 255)]
    predict("--format", "csv", *paths)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["path"], float(row["value"])) for row in rows] == [
        ("0.png", 0),
        ("51.png", pytest.approx(STEEPNESS * 0.2, rel=1e-4)),
        ("255.png", pytest.approx(STEEPNESS, rel=1e-4)),
    ]


def test_test_time_augmentation_is_the_mean_over_the_variants(project, capsys):
    options = {"variants": 3, "width_shift_range": 0.4, "fill_mode": "constant", "rescale": 1 / 255}
    augment = {**options, "rotation_range": 40}
    set_params(
        ingest={"size": [16, 24]}, augment=augment, evaluate={"test_time_augmentation": True}
    )
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    pixels[:, :10, 0] = 255
    for name in ["a.png", "b.png"]:
        Image.fromarray(pixels).save(name)
    predict("--format", "json", "a.png", "b.png")
    first, second = json.loads(capsys.readouterr().out)
    # A photo's variants do not depend on which photos stand beside it.
    assert first["predictions"] == second["predictions"]

    params, content = load_params("params.yaml"), Path("a.png").read_bytes()
    variants = [vary(pixels, image_id(content), number, params.augment) for number in (1, 2, 3)]
    shown = [pixels, *variants]
    each = [softmax(known_logits(image)) for image in shown]
    assert np.ptp(each, axis=0).max() > 0.01
    got = {one["class"]: one["confidence"] for one in first["predictions"]}
    assert [got[name] for name in COLORS] == pytest.approx(np.mean(each, axis=0), rel=1e-4)


def test_more_photos_than_a_batch_keep_their_order(project, capsys):
    names = list(COLORS)
    for number in range(77):
        draw(f"photos/{number:03}.png", COLORS[names[number % 3]])
    assert predict("--top", "1", "--format", "csv", "photos") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in rows] == [f"photos/{number:03}.png" for number in range(77)]
    assert [row["class"] for row in rows] == [names[number % 3] for number in range(77)]


@pytest.mark.parametrize("file_format", ["csv", "json", "table"])
def test_a_broken_photo_is_told_and_the_others_are_predicted(project, capsys, file_format):
    draw("photos/a.png", COLORS["red"])
    draw("photos/c.png", COLORS["blue"])
    Path("photos/b\n,\x1b[1m.png").write_text("no photo")
    assert predict("--top", "1", "--format", file_format, "photos", "missing.png") == 1
    out, error = capsys.readouterr()
    assert out.count("photos/a.png") == out.count("photos/c.png") == 1
    lines = error.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(r"error: photos/b\n,\x1b[1m.png: not_an_image: ")
    assert lines[1] == "error: missing.png: No such file or directory"


def test_only_broken_photos_give_an_empty_array(project, capsys):
    Path("b.png").write_text("no photo")
    assert predict("--format", "json", "b.png") == 1
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_a_pipe_of_paths(project, arguments):
    draw("photos/a.png", COLORS["red"])
    draw("photos/deep/b c.png", COLORS["blue"])
    no_utf8 = b"caf\xe9, cr\xe8me.png"
    Path(draw("a.png", COLORS["green"])).rename(os.fsdecode(no_utf8))
    done = run(*arguments, "--format", "json", stdin=b"photos\n\n" + no_utf8)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [
        (os.fsencode(one["path"]), one["predictions"][0]["class"])
        for one in json.loads(done.stdout)
    ] == [(b"photos/a.png", "red"), (b"photos/deep/b c.png", "blue"), (no_utf8, "green")]


def test_a_reader_that_stops_early_is_no_error(project):
    for number in range(40):
        draw(f"photos/{number:02}.png", COLORS["red"])
    command = f"{sys.executable} -m stages.predict --top 1 photos | head -n 1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
    assert done.stdout.split()[::2] == ["red", "photos/00.png"]
    assert done.stderr == ""


WRONG = {
    "format": (("--format", "jsn", "a.png"), ["unknown format 'jsn', did you mean 'json'"]),
    "top": (("--top", "-3", "a.png"), ["--top", "from 1", "'-3'"]),
    "top_zero": (("--top", "0", "a.png"), ["--top", "from 1", "'0'"]),
    "option": (("--topp", "3", "a.png"), ["--topp"]),
    "network": (("--pretrained", "MobilNetV2", "a.png"), ["did you mean 'MobileNetV2'"]),
    "two_models": (("--pretrained", "VGG16", "--model", "m.keras", "a.png"), ["--model or"]),
    "weights": (("--weights", "x.h5", "a.png"), ["--weights with --pretrained"]),
    "explain": (("a.png", "--explain", "a.png"), ["--explain with a folder", "'a.png'"]),
    "model": (("--model", "no.keras", "a.png"), ["no.keras", "dvc repro", "--pretrained"]),
    "no_photo": ((), ["at least one photo", "standard input"]),
    "empty_folder": (("empty",), ["at least one photo", "empty"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(project, case):
    draw("a.png", COLORS["red"])
    Path("empty").mkdir()
    arguments, parts = WRONG[case]
    done = run(*arguments)
    error = done.stderr.decode()
    assert done.returncode in (1, 2) and done.stdout == b""
    assert error.startswith("error: ") and error.count("\n") == 1, error
    for part in parts:
        assert part in error


def test_weights_that_are_not_there_are_one_line(project):
    wanted = ["--pretrained", "MobileNetV2", "--weights", "none.h5"]
    assert_refused(["'none.h5', which does not exist"], *wanted, draw("a.png", COLORS["red"]))


def test_what_the_pipeline_has_not_made_yet_is_one_line(project):
    photo = draw("a.png", COLORS["red"])
    Path("data/classes.json").unlink()
    assert_refused(["data/classes.json", "dvc repro"], photo)
    shutil.rmtree("models")
    assert_refused(["models/model.keras", "dvc repro", "--pretrained"], photo)


def test_a_model_that_does_not_fit_is_one_line(project):
    photo = draw("a.png", COLORS["red"])
    set_params(ingest={"size": [16, 16]})
    assert_refused(["(16, 24, 3)", "(16, 16, 3)", "ingest.size", "dvc repro"], photo)
    set_params(ingest={"size": [16, 24]})
    set_task("multiclass", "label", ["red", "green"], colour_model())
    assert_refused(["2 outputs", "[3]", "data/classes.json"], photo)
    Path("models/model.keras").write_text("no model")
    assert_refused(["models/model.keras"], photo)
    Path("params.yaml").unlink()
    assert_refused(["params.yaml"], photo)


def test_a_model_that_gives_no_number_is_one_line(project):
    model = colour_model()
    model.get_layer("logits").set_weights([np.full((3, 3), np.nan)])
    set_task("multiclass", "label", list(COLORS), model)
    assert_refused(["no number"], draw("a.png", COLORS["red"]))


def test_help_and_refusals_need_no_tensorflow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = (
        "import sys\n"
        "from stages.predict.command_line import parse\n"
        "import stages.predict.__main__\n"
        "try: parse(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'sklearn', 'pydantic'} & sys.modules.keys()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for option in ["--top", "--format", "--explain", "--model", "--pretrained", "--weights"]:
        assert option in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


PHOTOS = {
    "chelsea": {"Egyptian cat", "tabby", "tiger cat"},
    "coffee": {"espresso", "cup", "coffee mug"},
    "china": {"palace"},
}


def test_an_imagenet_classifier_knows_real_photos_in_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    china = load_sample_image("china.jpg")
    for name, pixels in [
        ("chelsea", skimage.data.chelsea()),
        ("coffee", skimage.data.coffee()),
        ("china", china),
    ]:
        Image.fromarray(pixels).save(f"{name}.png")
    assert predict("--pretrained", "EfficientNetLite0", "--format", "json", ".") == 0
    answers = json.loads(capsys.readouterr().out)
    assert len(answers) == len(PHOTOS)
    for facts in answers:
        assert len(facts["predictions"]) == 5
        assert facts["predictions"][0]["class"] in PHOTOS[Path(facts["path"]).stem]
        assert 0 < sum(one["confidence"] for one in facts["predictions"]) <= 1
