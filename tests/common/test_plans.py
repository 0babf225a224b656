"""What a candidate is trained on: by its strategy, its phases, and what `auto` finds."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from stages.common import plans, strategy
from stages.common.dataset import Dataset
from stages.common.errors import InputError
from stages.common.files import file_digest
from stages.common.keras_files import save
from stages.common.params import Features, Params
from stages.common.paths import BACKBONES, CLASSES, DIGESTS, MANIFEST, SPLITS, TARGETS
from stages.common.plans import Plan, make_plan

IMAGES = 30
CODES = np.arange(IMAGES) % 3
TRAIN = np.arange(IMAGES) % 10 > 2  # 21 images, seven of each class
SECTIONS = ("ingest", "encode", "split", "kfold", "finetune", "evaluate", "gradcam", "tensorflow")


def backbone() -> keras.Model:
    """Return image -> preprocess -> c1 -> ... -> c8, each of which can be a cut."""
    image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(image)
    for number in range(1, 9):
        x = keras.layers.Conv2D(3, 1, name=f"c{number}")(x)
    return keras.Model(image, x, name="small")


def branched_backbone() -> keras.Model:
    """Return image -> left + right."""
    image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    branches = [keras.layers.Rescaling(1, name=name)(image) for name in ("left", "right")]
    return keras.Model(image, keras.layers.Add(name="sum")(branches), name="small")


def write_features(name: str, features: np.ndarray) -> None:
    for variant in ("original", "v1"):
        path = Path("data/features", name, variant, "part.npy")
        path.parent.mkdir(parents=True)
        np.save(path, features.astype("float32"))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("data/images", "data/augmented/v1"):
        Path(folder).mkdir(parents=True)
        np.save(Path(folder, "part.npy"), np.zeros((IMAGES, 8, 8, 3), np.uint8))
    digest = file_digest(Path("data/augmented/v1/part.npy"))
    DIGESTS.write_text(f"variant,part,digest\nv1,part.npy,{digest}\n")
    for path in (MANIFEST, TARGETS, SPLITS, CLASSES):
        path.write_text(path.name)
    save(backbone(), BACKBONES / "small.keras")
    plans._digest.cache_clear()


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Note what was to be computed, which here is nothing but a name."""
    calls = []

    def embed(name: str, features: Features, images: dict, rescale: float | None) -> dict:
        calls.append((name, features, images, rescale))
        return {variant: {"part.npy": Path(name, variant)} for variant in images}

    monkeypatch.setattr(plans, "embed", embed)
    return calls


def dataset_of(**changes: Any) -> Dataset:
    split = np.where(TRAIN, "train", np.where(np.arange(IMAGES) < 25, "validation", "test"))
    rows = np.arange(IMAGES)
    manifest = pd.DataFrame({"part": "part.npy", "row": rows, "group": rows, "split": split})
    facts = {
        "manifest": manifest,
        "targets": CODES[:, None],
        "truth": CODES,
        "folds": np.zeros((IMAGES, 1), int),
        "classes": ["a", "b", "c"],
        "task": "multiclass",
        "encoder": "label",
    }
    return Dataset(**facts | changes)


def params_of(features: dict, **training: Any) -> Params:
    return Params.model_validate(
        {name: {} for name in SECTIONS}
        | {
            "augment": {"rescale": 0.01},
            "backbones": {"small": {"network": "VGG16"}},
            "features": {"some": {"backbone": "small", **features}},
            "training": {"features": "some"},
            "candidates": {"plain": training},
        }
    )


def plan_of(features: dict, dataset: Dataset | None = None, **training: Any) -> Plan:
    return make_plan(params_of(features, **training), "plain", dataset or dataset_of())


def folders(shards: Iterable[dict[str, Path]]) -> list[str]:
    return [path.parent.as_posix() for of_variant in shards for path in of_variant.values()]


HEAD = {"strategy": "head"}
PARTIAL = {"strategy": "partial", "cut": "c4"}
FULL = {"strategy": "full"}
AUTO = {"strategy": "auto"}
OF_STAGE = ["data/features/some/original", "data/features/some/v1"]
OF_IMAGES = ["data/images", "data/augmented/v1"]


# By strategy


def test_a_head_is_trained_on_what_the_stage_embedded(embedded):
    write_features("some", np.zeros((IMAGES, 4)))
    plan = plan_of(HEAD)
    assert folders(plan.at_cut) == OF_STAGE
    assert (plan.pooled, plan.rescale, plan.why) == (None, None, None)
    assert embedded == []


def test_a_head_asks_for_no_variant_of_an_image():
    write_features("some", np.zeros((IMAGES, 4)))
    shutil.rmtree("data/augmented")
    shutil.rmtree("data/images")
    assert folders(plan_of(HEAD).at_cut) == OF_STAGE


def test_a_partial_network_is_trained_on_what_the_stage_embedded_and_first_on_the_pooling(embedded):
    write_features("some", np.zeros((IMAGES, 8, 8, 3)))
    plan = plan_of(PARTIAL)
    assert folders(plan.at_cut) == OF_STAGE
    assert plan.rescale is None
    [(name, features, images, rescale)] = embedded
    assert name == "some pooled"
    assert (features.strategy, features.cut) == ("head", None)
    assert (folders(images.values()), rescale) == (OF_IMAGES, 0.01)
    assert plan.pooled == [{"part.npy": Path(name, one)} for one in ("original", "v1")]
    # What was asked for stays what is trained.
    assert (plan.features.strategy, plan.features.cut) == ("partial", "c4")


def test_a_full_network_is_trained_on_the_images_as_they_were_written(embedded):
    plan = plan_of(FULL)
    assert folders(plan.at_cut) == OF_IMAGES
    assert plan.rescale == 0.01
    assert plan.pooled is not None


@pytest.mark.parametrize("features", [PARTIAL, FULL], ids=["partial", "full"])
def test_without_a_first_phase_nothing_is_pooled(embedded, features):
    write_features("some", np.zeros((IMAGES, 8, 8, 3)))
    assert plan_of(features, head_first=None).pooled is None
    assert embedded == []


@pytest.mark.parametrize("features", [HEAD, PARTIAL, FULL], ids=["head", "partial", "full"])
def test_without_augmentation_the_originals_are_all(embedded, features):
    write_features("some", np.zeros((IMAGES, 4)))
    plan = plan_of(features, augmented=False)
    assert len(plan.at_cut) == 1
    shown = [folders(images.values()) for _, _, images, _ in embedded]
    assert shown == ([] if features is HEAD else [["data/images"]])


# Strategy auto


def telling_features() -> np.ndarray:
    """Return features of which those of the train side say the class."""
    noise = np.random.default_rng(0).normal(0, 0.1, (IMAGES, 3))
    return noise + 10 * np.eye(3)[CODES]


def test_few_images_that_are_alike_train_the_head(embedded):
    write_features("some", telling_features())
    plan = plan_of(AUTO)
    assert plan.features.strategy == "head"
    assert folders(plan.at_cut) == OF_STAGE
    assert "21 training images are few" in plan.why
    assert "likeness 1.00" in plan.why
    assert embedded == []


def test_few_images_that_are_unlike_train_from_the_middle_on(embedded):
    write_features("some", np.random.default_rng(1).normal(size=(IMAGES, 3)))
    plan = plan_of(AUTO)
    # Of preprocess, c1, ..., c8 the one at a half.
    assert (plan.features.strategy, plan.features.cut) == ("partial", "c4")
    names = [(name, features.strategy, features.cut) for name, features, *_ in embedded]
    assert names == [("some pooled", "head", None), ("some c4", "partial", "c4")]
    assert plan.at_cut == [{"part.npy": Path("some c4", one)} for one in ("original", "v1")]


def test_many_images_that_are_alike_train_the_last_quarter(embedded, monkeypatch):
    monkeypatch.setattr(strategy, "MANY_IMAGES", 21)
    write_features("some", telling_features())
    plan = plan_of(AUTO, head_first=None)
    assert (plan.features.strategy, plan.features.cut) == ("partial", "c6")


def test_many_images_that_are_unlike_train_everything(embedded, monkeypatch):
    monkeypatch.setattr(strategy, "MANY_IMAGES", 21)
    write_features("some", np.random.default_rng(1).normal(size=(IMAGES, 3)))
    plan = plan_of(AUTO)
    assert (plan.features.strategy, plan.features.cut) == ("full", None)
    assert folders(plan.at_cut) == OF_IMAGES
    assert plan.rescale == 0.01


def test_the_choice_is_made_by_the_train_side_alone(embedded):
    features, codes = telling_features(), CODES.copy()
    features[~TRAIN], codes[~TRAIN] = np.nan, 2
    write_features("some", features)
    plan = plan_of(AUTO, dataset_of(truth=codes, targets=codes[:, None]))
    assert "likeness 1.00" in plan.why


@pytest.mark.parametrize(
    ("task", "truth"),
    [("multilabel", np.eye(3, dtype=int)[CODES]), ("regression", 1000.0 * CODES)],
)
def test_labels_and_numbers_are_judged_too(embedded, task, truth):
    write_features("some", telling_features())
    encoder = "binarizer" if task == "multilabel" else "none"
    plan = plan_of(AUTO, dataset_of(task=task, truth=truth, encoder=encoder))
    assert "likeness 1.00" in plan.why


def test_repeats_of_a_photo_do_not_make_the_data_alike(embedded):
    random = np.random.default_rng(2)
    photo = np.arange(IMAGES) // 5
    write_features("some", random.normal(size=(6, 8))[photo])
    codes = random.permutation([0, 0, 1, 1, 2, 2])[photo]
    manifest = dataset_of().manifest.assign(group=photo)
    plan = plan_of(AUTO, dataset_of(manifest=manifest, truth=codes))
    assert plan.features.strategy == "partial"


def test_a_network_that_cannot_be_cut_is_refused(embedded):
    save(branched_backbone(), BACKBONES / "small.keras")
    write_features("some", np.random.default_rng(1).normal(size=(IMAGES, 3)))
    with pytest.raises(InputError, match="set strategy: full or head"):
        plan_of(AUTO | {"layers": ["left", "right"]})


# What a training depends on


def identity(features: dict, **training: Any) -> str:
    plans._digest.cache_clear()  # as in the next run
    return plan_of(features, **training).identity()


def test_the_identity_is_that_of_the_files_and_the_cut():
    write_features("some", np.zeros((IMAGES, 4)))
    before = identity(HEAD)
    assert identity(HEAD) == before
    assert identity(FULL, head_first=None) != before
    for path in [MANIFEST, TARGETS, SPLITS, CLASSES, Path("data/features/some/v1/part.npy")]:
        kept = path.read_bytes()
        path.write_bytes(kept + b"x")
        assert identity(HEAD) != before, path
        path.write_bytes(kept)
    assert identity(HEAD) == before


def test_the_identity_of_a_head_does_not_ask_for_the_backbone():
    write_features("some", np.zeros((IMAGES, 4)))
    before = identity(HEAD), identity(FULL, head_first=None)
    path = BACKBONES / "small.keras"
    path.write_bytes(path.read_bytes() + b"x")
    after = identity(HEAD), identity(FULL, head_first=None)
    assert after[0] == before[0]
    assert after[1] != before[1]
