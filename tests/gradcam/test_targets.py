"""What is explained, and what the model says of it."""

import numpy as np
import pandas as pd
import pytest

from stages.common.errors import InputError
from stages.gradcam.targets import explained, likeliest, score_of_classes, score_of_numbers

CLASSES = ["a", "b", "c"]
OF_CLASSES = pd.DataFrame(
    {
        "label": ["c", "a"],
        "predicted": ["b", "a"],
        "p_a": [0.2, 0.7],
        "p_b": [0.7, 0.2],
        "p_c": [0.1, 0.1],
    }
)


def test_the_predicted_class_the_true_one_a_named_one_and_a_pair():
    def weights(target: str | list[str]) -> list[list[float]]:
        return explained(OF_CLASSES, CLASSES, target, 3).tolist()

    assert weights("predicted") == [[0, 1, 0], [1, 0, 0]]
    assert weights("label") == [[0, 0, 1], [1, 0, 0]]
    assert weights("b") == [[0, 1, 0], [0, 1, 0]]
    assert weights(["c", "a"]) == [[-1, 0, 1], [-1, 0, 1]]


def test_a_single_output_speaks_for_the_second_class_and_against_the_first():
    table = OF_CLASSES.assign(label=["a", "b"])
    for target, expected in [("label", [-1, 1]), ("a", [-1, -1]), (["b", "a"], [1, 1])]:
        assert explained(table, ["a", "b"], target, 1).ravel().tolist() == expected


def test_of_several_labels_the_most_probable_one_is_explained():
    labels = pd.DataFrame(
        {"label": ["a|c", ""], "p_a": [0.6, 0.1], "p_b": [0.9, 0.2], "p_c": [0.7, 0.0]}
    )
    assert likeliest(labels, CLASSES).tolist() == [1, 1]
    assert explained(labels, CLASSES, "label", 3, "|").tolist() == [[0, 0, 1], [0, 1, 0]]


def test_of_a_number_what_raises_it_is_explained():
    numbers = pd.DataFrame({"label": ["1", "2"], "predicted": ["1.5", "-2"]})
    for target in ("predicted", "label"):
        assert explained(numbers, [], target, 1).tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("target", "classes", "message"),
    [
        ("d", CLASSES, "gradcam.target: unknown class 'd'. Expected one of: a, b, c"),
        (["a", "d"], CLASSES, "gradcam.target: unknown class 'd'. Expected one of: a, b, c"),
        (["a", "a"], CLASSES, "gradcam.target: expected two different classes"),
        ("a", [], "gradcam.target: expected predicted for numbers, received 'a'"),
    ],
)
def test_a_target_that_is_no_class_is_refused(target, classes, message):
    with pytest.raises(InputError) as refusal:
        explained(OF_CLASSES, classes, target, 3)
    assert str(refusal.value).startswith(message)


def test_the_score_is_the_probability_of_what_is_explained():
    outputs = np.array([[0.7, 0.2, 0.1]] * 2)
    weights = np.array([[0, 1, 0], [1, -1, 0]])
    # Of a pair the mean of P(first) and 1 - P(second).
    np.testing.assert_allclose(score_of_classes(outputs, weights), [0.2, (0.7 + 0.8) / 2])
    of_second = np.array([[0.9], [0.9]])
    np.testing.assert_allclose(score_of_classes(of_second, np.array([[1], [-1]])), [0.9, 0.1])


def test_the_score_of_numbers_is_0_at_the_smallest_and_1_at_the_largest_prediction():
    score = score_of_numbers(pd.DataFrame({"predicted": ["10", "-10", "30"]}))
    np.testing.assert_allclose(score(np.array([[-10.0], [30], [0]]), np.ones((3, 1))), [0, 1, 0.25])
    always_7 = score_of_numbers(pd.DataFrame({"predicted": ["7", "7"]}))
    np.testing.assert_allclose(always_7(np.array([[7.0], [9]]), np.ones((2, 1))), [0, 2])
