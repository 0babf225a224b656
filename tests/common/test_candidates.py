"""Candidates trained in their phases: from the same start, in their units, and on after a kill."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_class_weight

from stages.common.candidates import ALL, HEAD, Candidate, class_weights
from stages.common.dataset import Dataset
from stages.common.encoding import encode, to_predictions, truth
from stages.common.features import Shards
from stages.common.keras_files import load, save
from stages.common.networks import frozen_part
from stages.common.params import Features, Params, Training
from stages.common.paths import BACKBONES
from stages.common.plans import Plan

IMAGES = 24
TRAIN, WATCHED = np.arange(16), np.arange(16, 24)
STRATEGIES = {
    "full": {"strategy": "full"},
    "partial": {"strategy": "partial", "cut": "low_activation"},
    "head": {"strategy": "head"},
}


def backbone() -> keras.Model:
    """Return image -> low -> high, each a convolution, a normalisation and an activation."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="preprocess")(image)
    for name in ("low", "high"):
        x = keras.layers.Conv2D(4, 3, name=name)(x)
        x = keras.layers.BatchNormalization(momentum=0.5, name=f"{name}_normalize")(x)
        x = keras.layers.Activation("tanh", name=f"{name}_activation")(x)
    return keras.Model(image, x, name="small")


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stand in a folder with a backbone; what candidates are trained on is written beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        save(backbone(), BACKBONES / "small.keras")
        yield


def photos() -> np.ndarray:
    """Return images that are brighter from one to the next, and noisy copies as variant."""
    random = np.random.default_rng(0)
    light = np.linspace(20, 230, IMAGES)[random.permutation(IMAGES), None, None, None]
    shape = (2, IMAGES, 6, 6, 3)
    return np.clip(light + random.normal(0, 15, shape), 0, 255).astype(np.uint8)


def brightness() -> np.ndarray:
    return photos()[0].mean(axis=(1, 2, 3))


def dataset_of(
    labels: np.ndarray | None = None, task: str = "multiclass", encoder: str = "label"
) -> Dataset:
    """Return the images with labels, by default three classes of brightness."""
    if labels is None:
        labels = np.array(["dark", "grey", "light"])[(brightness() // 86).astype(int)]
    classes = [] if task == "regression" else sorted(set("|".join(labels).split("|")))
    targets = encode(labels, classes, task, encoder)
    split = np.where(np.arange(IMAGES) < len(TRAIN), "train", "validation")
    manifest = pd.DataFrame({"part": "part.npy", "row": np.arange(IMAGES), "split": split})
    folds = np.arange(IMAGES)[:, None] % 2
    return Dataset(manifest, targets, truth(targets, task, encoder), folds, classes, task, encoder)


def params_of(strategy: str, weights: str = "imagenet", **training: Any) -> Params:
    sections = ("ingest", "encode", "split", "augment", "kfold", "finetune", "evaluate", "gradcam")
    options = {"batch_size": 8, "epochs": 2, "early_stopping": None, "features": "some"}
    return Params.model_validate(
        {name: {} for name in sections}
        | {
            "backbones": {"small": {"network": "VGG16", "weights": weights}},
            "features": {"some": {"backbone": "small", **STRATEGIES[strategy]}},
            "training": options | training,
            "candidates": {"plain": {}},
            "tensorflow": {},
        }
    )


def shards_at(features: Features) -> Shards:
    """Write, once, what the frozen part gives for the images and their variant."""
    paths = [Path(f"{features.strategy}-{variant}.npy") for variant in (0, 1)]
    for path, images in zip(paths, photos(), strict=True):
        if not path.exists():
            frozen = frozen_part(load(BACKBONES / "small.keras"), features)
            np.save(path, images if features.strategy == "full" else np.asarray(frozen(images)))
    return [{"part.npy": path} for path in paths]


def candidate_of(
    strategy: str = "full",
    dataset: Dataset | None = None,
    weights: str = "imagenet",
    with_backbone: bool = True,
    **training: Any,
) -> Candidate:
    params = params_of(strategy, weights, **training)
    features = params.features["some"]
    first = strategy != "head" and params.training.head_first is not None
    pooled = features.model_copy(update={"strategy": "head", "cut": None})
    plan = Plan(features, None, shards_at(features), shards_at(pooled) if first else None, None)
    return Candidate(params, "plain", dataset or dataset_of(), plan, with_backbone)


def weights_of(candidate: Candidate) -> dict[str, np.ndarray]:
    """Return all weights and statistics of the whole network by layer and name."""
    layers = (candidate.whole or candidate.rest).layers
    return {one.path: one.numpy() for layer in layers for one in layer.weights}


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    """Return the layers of which anything moved."""
    return {name.split("/")[0] for name in before if not np.array_equal(before[name], after[name])}


def layers_with_weights(candidate: Candidate) -> set[str]:
    return {layer.name for layer in candidate.whole.layers if layer.weights}


# Phases


def test_first_the_head_learns_alone_and_then_all_behind_the_cut_with_a_lower_rate():
    candidate = candidate_of("full", head_first={"epochs": 2, "rate_factor": 0.25}, epochs=3)
    states = [weights_of(candidate)]
    names = []

    def watch(phase, logs):
        names.append(phase.name)
        states.append(weights_of(candidate))

    history = candidate.fit(TRAIN, WATCHED, report=watch)
    assert history["phase"].tolist() == names == [HEAD, HEAD, ALL, ALL, ALL]
    of_head = {"head_normalize", "logits"}
    assert moved(states[0], states[2]) == of_head
    normalisations = {"low_normalize", "high_normalize"}
    assert moved(states[2], states[5]) == layers_with_weights(candidate) - normalisations
    rates = history["learning_rate"].to_numpy()
    assert rates == pytest.approx([0.001, 0.001, 0.00025, 0.00025, 0.00025])


def test_what_lies_before_the_cut_never_moves():
    candidate = candidate_of("partial")
    before = weights_of(candidate)
    candidate.fit(TRAIN)
    assert moved(before, weights_of(candidate)) == {"high", "head_normalize", "logits"}


@pytest.mark.parametrize(
    ("weights", "learning"),
    [("imagenet", set()), ("none", {"low_normalize", "high_normalize"})],
)
def test_only_normalisation_with_random_weights_learns_its_statistics(weights, learning):
    candidate = candidate_of("full", weights=weights, epochs=1)
    before = weights_of(candidate)
    candidate.fit(TRAIN)
    after = weights_of(candidate)
    statistics = [{k: v for k, v in one.items() if "moving" in k} for one in (before, after)]
    assert moved(*statistics) == {"head_normalize"} | learning


@pytest.mark.parametrize("strategy", ["full", "partial"])
def test_without_head_first_there_is_one_phase_at_the_full_rate(strategy):
    candidate = candidate_of(strategy, head_first=None)
    history = candidate.fit(TRAIN)
    assert [(phase.name, phase.epochs) for phase in candidate.phases] == [(ALL, 2)]
    assert history["phase"].tolist() == [ALL, ALL]
    assert history["learning_rate"].tolist() == pytest.approx([0.001, 0.001])


def test_the_head_alone_has_one_phase_at_the_full_rate():
    history = candidate_of("head").fit(TRAIN)
    assert history["phase"].tolist() == [HEAD, HEAD]
    assert history["learning_rate"].tolist() == pytest.approx([0.001, 0.001])


def test_each_phase_stops_early_by_itself():
    # An improvement by 100 never comes, so both phases stop after their second epoch.
    stopping = {"patience": 1, "min_delta": 100.0}
    candidate = candidate_of("partial", head_first={"epochs": 5}, epochs=5, early_stopping=stopping)
    history = candidate.fit(TRAIN, WATCHED)
    assert history["phase"].tolist() == [HEAD, HEAD, ALL, ALL]


def test_the_history_numbers_the_epochs_through_and_tells_which_was_kept():
    candidate = candidate_of(
        "partial",
        head_first={"epochs": 3},
        epochs=6,
        optimizer={"learning_rate": 0.1},
        # No epoch is so much better, so the first of each phase stays its best.
        early_stopping={"patience": 2, "min_delta": 100.0},
    )
    history = candidate.fit(TRAIN, WATCHED)
    assert list(history.columns) == [
        *("epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy"),
        *("learning_rate", "kept"),
    ]
    assert history["epoch"].tolist() == list(range(1, 7))
    assert history["phase"].tolist() == [HEAD] * 3 + [ALL] * 3
    assert history.loc[history["kept"], "epoch"].tolist() == [4]
    # And the weights are those of that epoch.
    scores = candidate.predict(WATCHED).argmax(axis=1) == dataset_of().truth[WATCHED]
    assert history["val_accuracy"][3] == scores.mean()


# The network


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_it_predicts_is_what_the_whole_network_says_of_the_images(strategy):
    candidate = candidate_of(strategy, optimizer={"learning_rate": 0.1})
    candidate.fit(TRAIN)
    predicted = candidate.predict(WATCHED)
    assert np.ptp(predicted, axis=0).max() > 0.01
    whole = candidate.whole(photos()[0][WATCHED])
    np.testing.assert_allclose(predicted, whole, atol=1e-5)


def test_a_head_trains_to_the_same_weights_without_the_backbone():
    options = {"head": {"dropout": 0.5, "layers": [{"units": 4, "dropout": 0.5}]}, "epochs": 3}
    alone = candidate_of("head", with_backbone=False, **options)
    joined = candidate_of("head", with_backbone=True, **options)
    pd.testing.assert_frame_equal(alone.fit(TRAIN), joined.fit(TRAIN), check_exact=True)
    np.testing.assert_equal(alone.rest.get_weights(), joined.rest.get_weights())
    np.testing.assert_array_equal(alone.predict(WATCHED), joined.predict(WATCHED))
    assert alone.whole is None


@pytest.mark.parametrize(("strategy", "parameters"), [("head", 23), ("partial", 171)])
def test_trained_parameters_are_those_that_training_moves(strategy, parameters):
    # 4 scales and 4 offsets of the normalisation, 4 * 3 + 3 of the output layer; and behind the
    # cut a convolution of 3 * 3 * 4 * 4 + 4.
    assert candidate_of(strategy).trained_parameters == parameters


@pytest.mark.parametrize(
    ("task", "encoder", "labels", "loss", "outputs", "shape"),
    [
        ("binary", "label", ["a", "b"], "auto", 2, (8, 2)),
        ("binary", "label", ["a", "b"], "binary_crossentropy", 1, (8, 2)),
        ("binary", "onehot", ["a", "b"], "auto", 2, (8, 2)),
        ("binary", "binarizer", ["a", "b"], "auto", 1, (8, 2)),
        ("multiclass", "binarizer", ["a", "b", "c"], "auto", 3, (8, 3)),
        ("multilabel", "binarizer", ["a", "a|b", "b|c"], "auto", 3, (8, 3)),
        ("regression", "none", ["1.5", "2.5", "4"], "mean_absolute_error", 1, (8,)),
    ],
)
def test_every_task_learns_what_its_brightness_says(task, encoder, labels, loss, outputs, shape):
    level = (brightness() / 256 * len(labels)).astype(int)
    dataset = dataset_of(np.array(labels, dtype=object)[level], task, encoder)
    candidate = candidate_of(
        "head",
        dataset,
        with_backbone=False,
        loss=loss,
        epochs=30,
        optimizer={"learning_rate": 0.05},
    )
    history = candidate.fit(TRAIN)
    assert candidate.rest.output_shape == (None, outputs)
    assert candidate.predict(WATCHED).shape == shape
    assert history["loss"].iloc[-1] < 0.5 * history["loss"][0]


# From the same start

FORGETFUL = {
    "head": {"dropout": 0.5},
    "head_first": {"epochs": 2},
    "epochs": 3,
    "early_stopping": {"patience": 1},
    "reduce_on_plateau": {"patience": 1},
}


def test_no_fit_leaves_a_trace_in_the_next():
    def fitted(candidate: Candidate, train: np.ndarray, watched: np.ndarray) -> tuple:
        history = candidate.fit(train, watched)
        return history.to_dict(), [one.numpy() for one in candidate.rest.variables]

    candidate = candidate_of("partial", **FORGETFUL)
    first = fitted(candidate, TRAIN, WATCHED)
    fitted(candidate, np.arange(8, 24), np.arange(8))
    np.testing.assert_equal(fitted(candidate, TRAIN, WATCHED), first)
    np.testing.assert_equal(fitted(candidate_of("partial", **FORGETFUL), TRAIN, WATCHED), first)


def test_the_scaling_of_one_fold_is_not_that_of_the_next():
    values = np.array([f"{1000 + 20 * one:.3f}" for one in brightness()], dtype=object)
    dataset = dataset_of(values, "regression", "none")
    candidate = candidate_of("head", dataset, with_backbone=False, epochs=3)
    low, high = np.argsort(brightness())[:12], np.argsort(brightness())[12:]
    candidate.fit(low)
    first = candidate.predict(WATCHED)
    candidate.fit(high)
    assert candidate.predict(WATCHED).mean() > first.mean() + 500
    candidate.fit(low)
    np.testing.assert_array_equal(candidate.predict(WATCHED), first)


# Class weights


def unbalanced() -> Dataset:
    return dataset_of(np.array([*"aaaaaaaaabbbbbcc", *"abcabcab"]))


def test_balanced_weights_are_those_of_scikit_learn_over_the_training_images():
    dataset = unbalanced()
    found = class_weights(Training(class_weight="balanced"), dataset, TRAIN)
    codes = dataset.truth[TRAIN]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=codes)
    np.testing.assert_allclose(found, expected[dataset.truth], rtol=1e-6)
    # All classes together count the same, and all images as many as they are.
    sums = np.bincount(codes, found[TRAIN])
    np.testing.assert_allclose(sums, len(TRAIN) / 3, rtol=1e-6)


def test_a_weight_for_each_class_is_that_of_its_images():
    dataset = unbalanced()
    weights = {"c": 3.0, "a": 0.5, "b": 2.0}
    found = class_weights(Training(class_weight=weights), dataset, TRAIN)
    assert found.tolist() == [weights[name] for name in np.array(dataset.classes)[dataset.truth]]
    assert found.dtype == np.float32


def test_without_weights_every_image_counts_one():
    assert class_weights(Training(), unbalanced(), TRAIN).tolist() == [1] * IMAGES


def test_weights_reach_the_loss():
    first = [
        candidate_of("head", unbalanced(), with_backbone=False, class_weight=one, epochs=1)
        .fit(TRAIN)["loss"]
        .item()
        for one in ("none", {"a": 2.0, "b": 2.0, "c": 2.0})
    ]
    assert first[1] == pytest.approx(2 * first[0], rel=0.01)


# Numbers in their units


def prices() -> Dataset:
    """Return values in the thousands that follow from the brightness."""
    values = np.array([f"{5000 + 30 * one:.3f}" for one in brightness()], dtype=object)
    return dataset_of(values, "regression", "none")


LEARNING = {"epochs": 40, "optimizer": {"learning_rate": 0.05}}


@pytest.mark.parametrize("with_backbone", [True, False])
def test_values_in_the_thousands_are_learned_in_their_units(with_backbone):
    candidate = candidate_of("head", prices(), with_backbone=with_backbone, **LEARNING)
    history = candidate.fit(TRAIN, WATCHED)
    truth = prices().truth[WATCHED]
    error = np.sqrt(np.mean((candidate.predict(WATCHED) - truth) ** 2))
    assert error < 0.3 * truth.std()
    assert history["val_rmse"].iloc[-1] == pytest.approx(error, rel=1e-3)


def test_the_whole_network_answers_in_units_too():
    candidate = candidate_of("full", prices(), **LEARNING)
    candidate.fit(TRAIN)
    whole = to_predictions(np.asarray(candidate.whole(photos()[0])), "regression")
    np.testing.assert_allclose(whole[WATCHED], candidate.predict(WATCHED), rtol=1e-4)
    assert 5000 < whole.mean() < 13000


@pytest.mark.parametrize("weights_only", [True, False])
def test_checkpoints_answer_in_units_and_training_goes_on_as_without_them(tmp_path, weights_only):
    options = {"head_first": {"epochs": 1}, "epochs": 2, "optimizer": {"learning_rate": 0.05}}
    kept = {"save_best_only": False, "save_weights_only": weights_only}
    candidate = candidate_of("partial", prices(), checkpoint=kept, **options)
    history = candidate.fit(TRAIN, WATCHED, checkpoints=tmp_path)
    without = candidate_of("partial", prices(), **options).fit(TRAIN, WATCHED)
    pd.testing.assert_frame_equal(history, without, check_exact=True)

    suffix = ".weights.h5" if weights_only else ".keras"
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("epoch-*"))
    names = ["all/epoch-0001", "all/epoch-0002", "head/epoch-0001"]
    assert files == [name + suffix for name in names]
    expected = candidate.predict(WATCHED)
    last = candidate.whole if weights_only else load(tmp_path / files[1])
    if weights_only:
        candidate.fit(TRAIN)  # something else
        last.load_weights(tmp_path / files[1])
    received = to_predictions(np.asarray(last(photos()[0][WATCHED])), "regression")
    np.testing.assert_allclose(received, expected, rtol=1e-5)


# Killed, and started again

RESUMED = {
    "every epoch kept, on a plateau": {
        "checkpoint": {"save_best_only": False},
        "early_stopping": {"patience": 2, "monitor": "loss", "mode": "max"},
        "reduce_on_plateau": {"patience": 1, "factor": 0.5, "cooldown": 1, "mode": "max"},
        "optimizer": {"name": "adam", "learning_rate": 0.2},
    },
    "best kept, stopped early": {
        "checkpoint": {"save_weights_only": True, "monitor": "loss"},
        "early_stopping": {"patience": 1},
        "optimizer": {"name": "sgd", "learning_rate": 0.3, "momentum": 0.9, "decay": 0.1},
    },
    "steps kept, on a schedule": {
        "checkpoint": {"save_best_only": False, "save_freq": 3, "save_weights_only": True},
        "schedule": {"name": "one_cycle"},
        "optimizer": {"name": "rmsprop", "learning_rate": 0.02},
        "head_first": {"epochs": 2},
        "epochs": 2,
    },
}


class Killed(Exception):
    pass


def resumable(name: str) -> Candidate:
    return candidate_of(
        "partial",
        head={"dropout": 0.5, "layers": [{"units": 4, "dropout": 0.5}]},
        **{"head_first": {"epochs": 3}, "epochs": 4} | RESUMED[name],
    )


def outcome(
    candidate: Candidate,
    folder: Path,
    report: Callable = lambda phase, logs: None,
    resume: str | None = "state.npz",
) -> dict:
    """Train, and return all that a training leaves."""
    state = None if resume is None else folder / resume
    history = candidate.fit(TRAIN, WATCHED, state, folder / "kept", report)
    files = sorted(path for path in folder.rglob("kept/**/*") if path.is_file())
    return {
        "history": history.to_dict("list"),
        "variables": [one.numpy() for one in candidate.rest.variables],
        "files": {path.relative_to(folder).as_posix(): path.read_bytes() for path in files},
        "predictions": candidate.predict(WATCHED),
    }


def kill_at(number: int) -> Callable:
    """Return a report that dies in the n-th epoch."""
    seen = []

    def report(phase, logs):
        seen.append(logs)
        if len(seen) == number:
            raise Killed

    return report


@pytest.fixture(scope="module", params=RESUMED)
def undisturbed(request, tmp_path_factory) -> tuple[str, Candidate, dict]:
    """Return a way of training, a candidate that was trained so, and what it left."""
    candidate = resumable(request.param)
    left = outcome(candidate, tmp_path_factory.mktemp("undisturbed"), resume=None)
    assert left["files"]
    return request.param, candidate, left


def test_a_training_killed_in_either_phase_ends_as_an_undisturbed_one(undisturbed, tmp_path):
    name, candidate, expected = undisturbed
    for number in (2, len(expected["history"]["epoch"])):
        folder = tmp_path / str(number)
        with pytest.raises(Killed):
            outcome(candidate, folder, kill_at(number))
        # As in another process, the candidate that goes on is another one.
        received = outcome(resumable(name), folder)
        np.testing.assert_equal(received, expected, err_msg=f"killed in epoch {number}")


def test_a_training_killed_in_every_epoch_ends_as_an_undisturbed_one(undisturbed, tmp_path):
    _, candidate, expected = undisturbed
    with pytest.raises(Killed):
        outcome(candidate, tmp_path, kill_at(1))
    for _ in expected["history"]["epoch"][1:]:
        # One epoch is finished each time, and the next one is not.
        with pytest.raises(Killed):
            outcome(candidate, tmp_path, kill_at(2))
    np.testing.assert_equal(outcome(candidate, tmp_path), expected)


def test_a_finished_training_is_not_trained_again(undisturbed, tmp_path):
    _, candidate, expected = undisturbed
    outcome(candidate, tmp_path)
    np.testing.assert_equal(outcome(candidate, tmp_path, kill_at(1)), expected)
