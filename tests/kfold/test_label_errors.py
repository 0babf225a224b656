"""Planted label errors are found, others are left alone, and the picture shows the worst."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.kfold.label_errors import SHOWN, draw_label_errors, find_label_errors


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def planted_classes(images: int, classes: int, share: float, seed: int = 0):
    """Labels of which a share is wrong, and what a good model says of the images."""
    random = np.random.default_rng(seed)
    right = random.integers(0, classes, images)
    planted = random.choice(images, round(share * images), replace=False)
    labels = right.copy()
    labels[planted] = (right[planted] + random.integers(1, classes, len(planted))) % classes
    logits = random.normal(0, 1, (images, classes))
    logits[np.arange(images), right] += 4
    return labels, softmax(logits), right, set(planted)


@pytest.mark.parametrize(("classes", "share"), [(2, 0.1), (3, 0.05), (10, 0.1)])
def test_planted_flips_are_found_with_few_false_alarms(classes, share):
    labels, probabilities, right, planted = planted_classes(1000, classes, share)
    names = [f"class {code}" for code in range(classes)]
    task = "binary" if classes == 2 else "multiclass"
    found = find_label_errors(task, labels, probabilities, names, "|")
    hits = [row for row in found.itertuples() if row.position in planted]
    assert len(hits) >= 0.8 * len(planted)
    assert len(found) - len(hits) <= 0.02 * (1000 - len(planted))
    assert np.mean([row.suggested == names[right[row.position]] for row in hits]) > 0.95


def test_right_labels_give_hardly_any():
    labels, probabilities, _, _ = planted_classes(1000, 4, share=0)
    assert len(find_label_errors("multiclass", labels, probabilities, list("abcd"), "|")) <= 10


def test_the_worst_comes_first_and_the_quality_is_the_probability_of_the_label():
    labels, probabilities, _, _ = planted_classes(300, 3, share=0.1)
    found = find_label_errors("multiclass", labels, probabilities, list("abc"), "|")
    assert list(found) == ["position", "quality", "suggested"]
    assert found["quality"].is_monotonic_increasing
    assert found["quality"].between(0, 1).all()
    of_label = probabilities[found["position"], labels[found["position"]]]
    np.testing.assert_array_equal(found["quality"], of_label)


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_the_same_each_time(task):
    labels, probabilities, _, _ = planted_classes(300, 3, share=0.1)
    truth, predictions, classes = {
        "multiclass": (labels, probabilities, list("abc")),
        "multilabel": (np.eye(3, dtype=int)[labels], probabilities, list("abc")),
        "regression": (labels.astype(float), probabilities[:, 0], []),
    }[task]
    once, again = (find_label_errors(task, truth, predictions, classes, "|") for _ in range(2))
    pd.testing.assert_frame_equal(once, again)


def test_planted_flips_of_labels_are_found_and_named():
    random = np.random.default_rng(1)
    right = random.integers(0, 2, (1000, 4))
    truth = right.copy()
    planted = random.choice(1000, 100, replace=False)
    flipped = random.integers(0, 4, 100)
    truth[planted, flipped] ^= 1
    probabilities = 1 / (1 + np.exp(-(8 * right - 4 + random.normal(0, 1, right.shape))))
    found = find_label_errors("multilabel", truth, probabilities, list("abcd"), "+")
    assert len(set(found["position"]) & set(planted)) >= 0.8 * 100
    assert len(set(found["position"]) - set(planted)) <= 10
    expected = ["+".join(np.array(list("abcd"))[right[one] == 1]) for one in found["position"]]
    assert np.mean(found["suggested"] == expected) > 0.95


def test_planted_numbers_are_found_whatever_their_unit():
    random = np.random.default_rng(2)
    right = random.normal(0, 1, 500)
    predictions = right + random.normal(0, 0.2, 500)
    planted = random.choice(500, 20, replace=False)
    truth = right.copy()
    truth[planted] += random.choice([-3, 3], 20)
    found = find_label_errors("regression", truth, predictions, [], "|")
    assert list(found) == ["position", "quality", "suggested", "outlier"]
    assert set(planted) <= set(found["position"])
    assert len(found) <= 23
    assert found["outlier"].abs().is_monotonic_decreasing
    assert found["quality"].is_monotonic_increasing
    assert found["suggested"][0] == f"{predictions[found['position'][0]]:.6g}"
    thousandfold = find_label_errors("regression", 1000 * truth, 1000 * predictions, [], "|")
    assert thousandfold["position"].tolist() == found["position"].tolist()


def test_the_score_of_an_outlier_by_hand():
    # Residuals with median 0 and a median distance of 1: 0.6745 of a standard deviation.
    truth = np.array([-1.0, -1, -0.5, 0, 0.5, 1, 10])
    found = find_label_errors("regression", truth, np.zeros(7), [], "|")
    assert found["position"].tolist() == [6]
    assert found["outlier"].item() == pytest.approx(10 * 0.6745, rel=1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("task", "truth", "predictions"),
    [
        ("binary", np.array([1, 1, 1]), np.eye(2)[[1, 0, 1]]),
        ("multiclass", np.array([0, 1, 1, 0] * 5), np.eye(3)[[0, 1, 1, 0] * 5]),
        ("multilabel", np.array([[1, 0], [1, 0]]), np.array([[0.1, 0.9], [0.9, 0.1]])),
        ("regression", np.ones(4), np.ones(4)),
    ],
)
def test_where_nothing_can_be_said_nothing_is(task, truth, predictions):
    classes = list("abc")[: predictions.shape[-1]] if task != "regression" else []
    assert find_label_errors(task, truth, predictions, classes, "|").empty


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 5))
def test_any_probabilities_are_answered(seed, images, classes):
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, images)
    probabilities = random.dirichlet(np.ones(classes), images).astype(np.float32)
    found = find_label_errors("multiclass", truth, probabilities, list("abcde")[:classes], "|")
    assert found["position"].is_unique
    labels = np.array(list("abcde"))[truth[found["position"]]]
    assert (found["suggested"] != labels).all()


def test_rows_of_the_picture_are_the_pairs_of_label_and_suggestion(monkeypatch):
    shown = []
    monkeypatch.setattr("stages.kfold.label_errors.contact_sheet", shown.extend)
    images = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 6, 3), np.uint8)
    labels = np.array(["cat"] * 25 + [""] + ["dog"] * 34, dtype=object)
    suggested = np.array(["dog"] * 25 + ["cat"] + ["cat"] * 34, dtype=object)
    draw_label_errors(labels, suggested, images)
    assert [(caption, len(row)) for caption, row in shown] == [
        ("labelled cat, looks like dog", 10),
        ("labelled cat, looks like dog", 10),
        ("labelled cat, looks like dog", 5),
        ("labelled nothing, looks like cat", 1),
        ("labelled dog, looks like cat", 10),
        ("labelled dog, looks like cat", 4),
    ]
    values = [int(image[0, 0, 0]) for _, row in shown for image in row]
    assert values == list(range(SHOWN))


@pytest.mark.parametrize("count", [0, 1])
def test_the_picture_can_have_few_images_or_none(count):
    labels, images = np.array(["1.5"] * count), np.zeros((count, 64, 64, 1), np.uint8)
    sheet = draw_label_errors(labels, labels, images)
    assert sheet.width >= 320
    assert (sheet.height > 64) == (count > 0)
