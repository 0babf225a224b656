"""The stage: which images it shows the model, and the files that it leaves."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stages.common.dataset import Dataset
from stages.common.encoding import decode, encode, find_classes, truth
from stages.common.files import file_digest
from stages.common.params import Augment
from stages.common.paths import DIGESTS
from stages.common.tables import read_table, write_table
from stages.common.tasks import TASKS
from stages.evaluate import __main__ as stage

ENCODERS = {
    "binary": "label",
    "multiclass": "label",
    "multilabel": "binarizer",
    "regression": "none",
}
LABELS = {
    "binary": ["no", "yes"],
    "multiclass": ["red", "green", "blue"],
    "multilabel": ["sun|sea", "sea", "sun", "sun|sand"],
    "regression": ["0.5", "1.25", "-3", "70.125"],
}


def dataset(task: str, images: int = 40) -> Dataset:
    """A fourth of the images are test images; image i has value i in each pixel."""
    labels = np.resize(np.array(LABELS[task], dtype=object), images)
    classes = find_classes(labels, task, "|")
    manifest = pd.DataFrame(
        {
            "id": [f"{number:04}" for number in range(images)],
            "source": [f"photo-{number}.jpg" for number in range(images)],
            "label": labels,
            "part": "one.npy",
            "row": range(images),
            "split": np.where(np.arange(images) % 4 == 3, "test", "train"),
        }
    )
    if task == "multiclass":  # three classes, four places: every class is on every side
        manifest["split"] = np.where(np.arange(images) < images * 3 // 4, "train", "test")
    targets = encode(labels, classes, task, ENCODERS[task])
    of_images = truth(targets, task, ENCODERS[task])
    folds = np.zeros((images, 1), dtype=np.int64)
    return Dataset(manifest, targets, of_images, folds, classes, task, ENCODERS[task])


def params(augmented: bool = False, rescale: float | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        tensorflow=SimpleNamespace(threads=1),
        evaluate=SimpleNamespace(calibration_bins=10, test_time_augmentation=augmented),
        encode=SimpleNamespace(separator="|"),
        augment=Augment(rescale=rescale),
    )


def write_images(folder: str, images: int, added: int = 0, factor: float | None = None) -> None:
    pixels = np.broadcast_to(
        (np.arange(images) + added).astype(np.uint8)[:, None, None, None], (images, 4, 4, 3)
    )
    Path(folder).mkdir(parents=True)
    array = pixels if factor is None else pixels * np.float32(factor)
    np.save(Path(folder) / "one.npy", array)


def write_variants(*added: int, factor: float | None = None) -> None:
    """What the stage `augment` leaves: variants of the 40 images with so much added to each."""
    rows = []
    for number, more in enumerate(added, start=1):
        variant = f"variant-{number}"
        write_images(f"data/augmented/{variant}", 40, more, factor)
        digest = file_digest(Path("data/augmented", variant, "one.npy"))
        rows.append({"variant": variant, "part": "one.npy", "digest": digest})
    write_table(pd.DataFrame(rows), DIGESTS)


@pytest.fixture(autouse=True)
def in_an_empty_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_leaves_its_files(task, monkeypatch):
    data = dataset(task)
    write_images("data/images", 40)
    random = np.random.default_rng(1)

    def network(batch: np.ndarray) -> np.ndarray:
        of_batch = data.truth[batch[:, 0, 0, 0]]
        if task == "regression":
            return (of_batch + random.normal(size=len(batch)))[:, None]
        sure = of_batch if task == "multilabel" else np.eye(len(data.classes))[of_batch]
        noisy = 0.2 + 0.6 * sure + random.uniform(-0.4, 0.4, sure.shape).clip(-0.2, 0.2)
        return noisy if task == "multilabel" else noisy / noisy.sum(axis=1, keepdims=True)

    monkeypatch.setattr(stage, "make_deterministic", lambda threads, seed: None)
    monkeypatch.setattr(stage, "read_dataset", lambda: data)
    monkeypatch.setattr(stage, "load", lambda path: SimpleNamespace(predict_on_batch=network))
    stage.main(params())

    facts = json.loads(Path("reports/metrics.json").read_text())["test"]
    assert facts["n"] == 10
    assert set(TASKS[task].metrics) <= set(facts)
    table = read_table(Path("reports/predictions.csv"))
    assert list(table)[:5] == ["id", "source", "split", "label", "predicted"]
    assert table["id"].tolist() == data.manifest["id"].iloc[data.side("test")].tolist()
    assert set(table["split"]) == {"test"}
    written = {path.name for path in Path("reports/evaluate").iterdir()}
    of_classes = {"classes.csv", "calibration.csv", "calibration.svg"}
    pictures = {"multilabel": {"labels.svg"}, "regression": {"numbers.svg"}}
    expected = pictures.get(task, {"confusion.svg"}) | {"confusion.csv"}
    assert written == expected | (set() if task == "regression" else of_classes)
    if task == "regression":
        assert list(table)[5:] == ["residual"]
        left = table["label"].astype(float) - table["predicted"].astype(float)
        np.testing.assert_allclose(table["residual"], left, atol=1e-3)
    else:
        assert list(table)[5:] == ["confidence", *(f"p_{name}" for name in data.classes)]
        assert "ece" in facts


def test_labels_stand_in_the_order_of_the_predicted_ones():
    data = dataset("multilabel")
    test = data.side("test")[:1]
    data.manifest.loc[test, "label"] = "sun|sand|sea"
    data.truth[test] = 1
    table = stage.tabulate(data, test, np.array([[0.9, 0.8, 0.6]]), "|")
    assert table["label"].tolist() == table["predicted"].tolist() == ["sand|sea|sun"]
    assert table["confidence"].tolist() == [pytest.approx(0.6)]


@pytest.mark.parametrize("rescale", [None, 1 / 255])
def test_with_test_time_augmentation_the_mean_of_image_and_variants_counts(rescale):
    data = dataset("binary")
    write_images("data/images", 40)
    write_variants(60, 120, factor=rescale)
    test = data.side("test")

    def network(batch: np.ndarray) -> np.ndarray:
        """One sigmoid that says a hundredth of the pixel's value, 0 to 255."""
        assert batch.dtype == np.uint8
        return batch[:, 0, 0, :1] / np.float32(256)

    plain = stage.predict_test(network, data, test, params(augmented=False))
    mean = stage.predict_test(network, data, test, params(augmented=True, rescale=rescale))
    np.testing.assert_allclose(plain[:, 1], test / 256, atol=1e-6)
    np.testing.assert_allclose(mean[:, 1], (test + 60) / 256, atol=1e-6)
    np.testing.assert_allclose(mean.sum(axis=1), 1, atol=1e-6)


def test_numbers_are_averaged_too():
    data = dataset("regression")
    write_images("data/images", 40)
    write_variants(10)
    test = data.side("test")
    found = stage.predict_test(
        lambda batch: batch[:, 0, 0, :1].astype(np.float32), data, test, params(augmented=True)
    )
    np.testing.assert_allclose(found, test + 5)
    assert decode(found[:1], "regression", []).tolist() == ["8"]
