"""The stage: the files that it leaves for each task, and what they say."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from stages.common import keras_files, paths
from stages.common.encoding import decode, to_predictions
from stages.common.errors import InputError
from stages.common.params import load_params
from stages.common.tables import read_table, write_json, write_table
from stages.gradcam import __main__ as stage
from tests.conftest import ROOT

COLORS = {"blue": (30, 40, 250), "green": (10, 230, 30), "red": (240, 10, 20)}
ACTIVATIONS = {
    "multiclass": "softmax",
    "binary": "sigmoid",
    "multilabel": "sigmoid",
    "regression": "linear",
}
CLASSES = {
    "multiclass": list(COLORS),
    "binary": ["blue", "red"],
    "multilabel": list(COLORS),
    "regression": [],
}


def colour_model(task: str) -> keras.Model:
    """Each class has a feature, the value of its colour; red speaks for a single output."""
    outputs = 1 if task in ("binary", "regression") else 3
    x = image = keras.Input((16, 24, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(x)
    x = keras.layers.Conv2D(3, 1, use_bias=False, activation="relu", name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    x = keras.layers.Dense(outputs, use_bias=False, name="logits")(x)
    activation = keras.layers.Activation(ACTIVATIONS[task], name="predictions")
    model = keras.Model(image, activation(x))
    model.get_layer("conv").kernel.assign(np.eye(3)[:, ::-1].reshape(1, 1, 3, 3))
    kernel = np.array([[-9.0], [0.0], [9.0]]) if outputs == 1 else 9 * np.eye(3)
    model.get_layer("logits").kernel.assign(kernel)
    return model


def spots(count: int) -> np.ndarray:
    """Photos with a spot of each colour in turn, in the top left, on dark noise."""
    random = np.random.default_rng(0)
    images = random.integers(0, 20, (count, 16, 24, 3), dtype=np.uint8)
    for number, image in enumerate(images):
        image[:8, :8] = list(COLORS.values())[number % 3]
    return images


def predicted(task: str, model: keras.Model, images: np.ndarray, ids: list[str]) -> pd.DataFrame:
    """The table that `evaluate` leaves; the last label is wrong."""
    found = to_predictions(model.predict_on_batch(images), task)
    answers = decode(found, task, CLASSES[task])
    table = pd.DataFrame({"id": ids, "source": ids, "split": "test", "label": answers})
    table["predicted"] = answers
    if task == "regression":
        table["label"] = table["label"].astype(float) + 0.5
        return table.assign(residual=0.5)
    table.loc[len(ids) - 1, "label"] = "red" if answers[-1] != "red" else "blue"
    table["confidence"] = found.max(axis=1)
    return pd.concat(
        [table, pd.DataFrame(found).set_axis([f"p_{n}" for n in CLASSES[task]], axis=1)], axis=1
    )


def prepare(task: str, count: int = 10, **knobs: object) -> None:
    """Write what the stages before leave in the working folder."""
    model, images = colour_model(task), spots(count)
    ids = [f"{number:016x}" for number in range(count)]
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["gradcam"] = {"compared": ["layercam"], "measured": 6, **knobs}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    write_json({"task": task, "encoder": "label", "classes": CLASSES[task]}, paths.CLASSES)
    manifest = {"id": ids, "source": ids, "label": "", "part": "part-0.npy", "row": range(count)}
    write_table(pd.DataFrame(manifest), paths.MANIFEST)
    Path("data/images").mkdir(exist_ok=True)
    np.save("data/images/part-0.npy", images)
    write_table(predicted(task, model, images, ids), paths.PREDICTIONS)
    keras_files.save(model, paths.MODEL)


def explain() -> dict[str, bytes]:
    """Run the stage, and give every file that it left."""
    stage.main(load_params("params.yaml"))
    files = [path for path in sorted(stage.FOLDER.rglob("*")) if path.is_file()]
    return {path.relative_to(stage.FOLDER).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # TensorFlow is set up once in a process, and other tests ran before.
    monkeypatch.setattr(stage, "make_deterministic", lambda threads, seed: None)


@pytest.mark.parametrize("task", ACTIVATIONS)
def test_every_task_leaves_all_files_and_twice_the_same(task):
    prepare(task)
    files = explain()
    ids = [f"{number:016x}" for number in range(10)]
    tables = ["attention", "classes", "faithfulness", "methods", "randomised", "summary"]
    pictures = [f"photos/{one}.jpg" for one in ids]
    pictures += [
        f"overlays/{method}/{one}.jpg" for method in ("gradcam", "layercam") for one in ids
    ]
    others = ["classes.jpg", "overlays.jpg", "summary.json"]
    assert set(files) == {*[f"{name}.csv" for name in tables], *pictures, *others}
    (stage.FOLDER / "photos/of-another-run.jpg").touch()
    assert explain() == files

    summary = read_table(stage.FOLDER / "summary.csv")
    assert summary["id"].tolist() == ids
    assert summary["method"].eq("gradcam").all() and summary["layer"].eq("conv").all()
    for file in (*summary["photo"], *summary["file"]):
        with Image.open(file) as picture:
            assert picture.size == (192, 128)
    places = read_table(stage.FOLDER / "attention.csv")
    assert places["method"].value_counts().to_dict() == {"gradcam": 10, "layercam": 10}
    of_first = places[places["method"] == "gradcam"].reset_index(drop=True)
    names = ["id", "border", "entropy", "peak_x", "peak_y", "zero"]
    pd.testing.assert_frame_equal(of_first[names], summary[names])
    measured = read_table(stage.FOLDER / "faithfulness.csv")
    assert measured["method"].value_counts().to_dict() == dict.fromkeys(
        ["gradcam", "layercam", "random", "centre"], 6
    )
    assert measured.drop(columns=["id", "method"]).notna().all(axis=None)
    facts = json.loads((stage.FOLDER / "summary.json").read_text())
    assert facts["images"] == 10 and set(facts["beats_controls"]) == {"gradcam", "layercam"}


def test_of_classes_the_heat_lies_on_the_spots_and_is_believed():
    prepare("multiclass", count=12, measured=12)
    explain()
    summary = read_table(stage.FOLDER / "summary.csv")
    assert (summary["peak_x"] < 1 / 3).all() and (summary["peak_y"] < 1 / 2).all()
    # The one with the wrong label is the most suspicious.
    assert summary["suspicion"].idxmax() == 11 and (summary["suspicion"] > 1).sum() == 1
    methods = read_table(stage.FOLDER / "methods.csv").set_index("method")
    assert methods["is_control"].to_dict() == {
        "gradcam": False,
        "layercam": False,
        "random": True,
        "centre": True,
    }
    assert methods.loc["gradcam", "beats_controls"]
    assert methods.loc[["random", "centre"], "beats_controls"].isna().all()
    classes = read_table(stage.FOLDER / "classes.csv")
    assert classes["class"].tolist() == list(COLORS) and classes["images"].tolist() == [4, 4, 4]


def test_a_class_of_which_nothing_is_seen_has_zero_maps_that_are_counted():
    prepare("binary", target="blue", measured=6)
    images = np.load("data/images/part-0.npy")
    images[..., 2] = 0  # of the photos nothing speaks for blue
    np.save("data/images/part-0.npy", images)
    explain()
    facts = json.loads((stage.FOLDER / "summary.json").read_text())
    assert facts["zero"] == {"gradcam": 10, "layercam": 10}
    assert facts["beats_controls"] == {"gradcam": False, "layercam": False}
    methods = read_table(stage.FOLDER / "methods.csv").set_index("method")
    assert (methods["images"] == 6).all() and methods["zero"].tolist() == [6, 6, 0, 0]
    measured = read_table(stage.FOLDER / "faithfulness.csv").pivot(index="id", columns="method")
    for measure in ("deletion", "insertion", "road"):
        assert (measured[measure]["gradcam"] == measured[measure]["random"]).all()


def test_a_pair_of_classes_and_several_layers():
    prepare("multiclass", target=["red", "green"], layer=["conv", "conv"], images=7)
    explain()
    summary = read_table(stage.FOLDER / "summary.csv")
    assert len(summary) == 7 and summary["layer"].eq("conv+conv").all()
    # Red speaks for it, green against it, and blue lets nothing but noise speak.
    red = summary["predicted"] == "red"
    assert (summary.loc[red, "peak_y"] < 1 / 2).all() and red.any()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"target": "rad"}, "gradcam.target: unknown class 'rad', did you mean 'red'?"),
        ({"layer": "conf"}, "gradcam.layer: unknown layer 'conf', did you mean 'conv'?"),
    ],
)
def test_a_wrong_name_is_one_line_and_costs_nothing(knobs, message):
    prepare("multiclass", **knobs)
    kept = stage.FOLDER / "summary.csv"
    kept.parent.mkdir()
    kept.write_text("as it was")
    with pytest.raises(InputError) as refusal:
        explain()
    assert str(refusal.value).startswith(message) and "\n" not in str(refusal.value)
    assert kept.read_text() == "as it was"
