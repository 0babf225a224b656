import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, MultiLabelBinarizer, OneHotEncoder

from stages.common.encoding import (
    decode,
    encode,
    find_classes,
    infer_task,
    split_cell,
    to_number,
    to_predictions,
    truth,
)
from stages.common.errors import InputError

WATER = np.array(["cold", "warm", "hot"])
TAPS = ["cold", "hot", "warm"]
ENCODERS = ["label", "onehot", "binarizer"]
names = st.text("abcé 0", min_size=1).map(str.strip).filter(bool)


def task_of(classes: list[str]) -> str:
    return "binary" if len(classes) == 2 else "multiclass"


def test_label_gives_the_code_of_the_class():
    codes = encode(WATER, TAPS, "multiclass", "label")
    assert codes.tolist() == [[0], [2], [1]]
    assert codes.ravel().tolist() == LabelEncoder().fit_transform(WATER).tolist()


def test_onehot_gives_a_column_for_each_class():
    one_hot = encode(WATER, TAPS, "multiclass", "onehot")
    assert one_hot.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    of_scikit_learn = OneHotEncoder(sparse_output=False).fit_transform(WATER[:, None])
    assert one_hot.tolist() == of_scikit_learn.tolist()


def test_binarizer_gives_a_column_for_each_class():
    binary = encode(WATER, TAPS, "multiclass", "binarizer")
    assert binary.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert binary.tolist() == LabelBinarizer().fit_transform(WATER).tolist()


def test_two_classes_are_one_column_for_the_binarizer_and_two_for_onehot():
    labels, classes = np.array(["dog", "cat", "dog"]), ["cat", "dog"]
    assert encode(labels, classes, "binary", "binarizer").tolist() == [[1], [0], [1]]
    assert encode(labels, classes, "binary", "onehot").tolist() == [[0, 1], [1, 0], [0, 1]]


@given(st.lists(st.sampled_from(["a", "B", "é", "10", "9"]), min_size=1))
def test_targets_are_those_of_scikit_learn(labels):
    classes = sorted({*labels, "a", "B", "é"})
    labels = np.array(labels)
    with_all = np.array([*labels, *classes])

    def without_extra(targets: np.ndarray) -> list:
        return targets[: len(labels)].tolist()

    column = with_all[:, None]
    expected = {
        "label": LabelEncoder().fit_transform(with_all)[:, None],
        "onehot": OneHotEncoder(sparse_output=False).fit_transform(column),
        "binarizer": LabelBinarizer().fit_transform(with_all),
    }
    for encoder in ENCODERS:
        targets = encode(labels, classes, "multiclass", encoder)
        assert targets.tolist() == without_extra(expected[encoder])


@given(st.lists(st.lists(names), min_size=1).filter(any), st.sampled_from(["|", ", ", ";;"]))
def test_several_labels_are_encoded_as_by_scikit_learn_and_come_back(rows, separator):
    cells = np.array([separator.join(row) for row in rows], dtype=object)
    classes = find_classes(cells, "multilabel", separator)
    binarizer = MultiLabelBinarizer()
    targets = encode(cells, classes, "multilabel", "binarizer", separator)
    assert targets.tolist() == binarizer.fit_transform(rows).tolist()
    assert classes == binarizer.classes_.tolist()
    assert truth(targets, "multilabel", "binarizer").tolist() == targets.tolist()
    decoded = decode(to_predictions(targets, "multilabel"), "multilabel", classes, separator)
    assert [split_cell(cell, separator) for cell in decoded] == [sorted(set(row)) for row in rows]


def test_a_number_is_its_own_target():
    labels = np.array(["1", "-0.50", "1e3"], dtype=object)
    targets = encode(labels, [], "regression", "none")
    assert targets.tolist() == [[1.0], [-0.5], [1000.0]]
    assert targets.dtype == truth(targets, "regression", "none").dtype == np.float64
    assert truth(targets, "regression", "none").tolist() == [1.0, -0.5, 1000.0]
    assert decode(truth(targets, "regression", "none"), "regression", []).tolist() == [
        *("1", "-0.5", "1000")
    ]


@pytest.mark.parametrize("classes", [["cat", "dog"], ["cat", "dog", "emu"]])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_class_comes_back_from_the_target(encoder, classes):
    labels, task = np.array(["dog", "cat", "dog"], dtype=object), task_of(classes)
    targets = encode(labels, classes, task, encoder)
    assert targets.dtype == np.int64
    codes = truth(targets, task, encoder)
    assert (codes.tolist(), codes.dtype) == ([1, 0, 1], np.int64)
    certain = np.eye(len(classes))[codes]
    assert decode(certain, task, classes).tolist() == ["dog", "cat", "dog"]
    if encoder != "label":
        assert decode(to_predictions(targets, task), task, classes).tolist() == labels.tolist()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_class_that_does_not_occur_keeps_its_place(encoder):
    targets = encode(np.array(["emu", "emu"]), ["cat", "dog", "emu"], "multiclass", encoder)
    assert truth(targets, "multiclass", encoder).tolist() == [2, 2]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_unseen_label_is_refused_with_the_nearest_class(encoder):
    with pytest.raises(InputError, match=r"^unknown label 'wram', did you mean 'warm'\?"):
        encode(np.array(["cold", "wram"]), TAPS, "multiclass", encoder)


def test_an_unseen_label_among_several_and_a_number_that_is_none_are_refused():
    with pytest.raises(InputError, match=r"^unknown label 'wram', did you mean 'warm'\?"):
        encode(np.array(["cold", "hot|wram"]), TAPS, "multilabel", "binarizer")
    with pytest.raises(InputError, match=r"^label 'warm': expected a finite number"):
        encode(np.array(["1", "warm"]), [], "regression", "none")


def test_one_output_is_the_probability_of_the_second_class():
    sigmoid = np.array([[0.25], [0.75]])
    probabilities = to_predictions(sigmoid, "binary")
    assert probabilities.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert decode(probabilities, "binary", ["cat", "dog"]).tolist() == ["cat", "dog"]


def test_outputs_of_a_softmax_are_probabilities_already():
    softmax = np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    assert to_predictions(softmax, "multiclass") is softmax
    assert to_predictions(softmax[:, :2], "binary").tolist() == softmax[:, :2].tolist()
    assert decode(softmax, "multiclass", TAPS).tolist() == ["hot", "warm"]


def test_each_sigmoid_is_the_probability_of_its_own_label():
    sigmoids = np.array([[0.5, 0.1, 0.9], [0.49, 0.2, 0.1]])
    assert to_predictions(sigmoids, "multilabel") is sigmoids
    assert decode(sigmoids, "multilabel", TAPS, " + ").tolist() == ["cold + warm", ""]
    # A single label is no second class.
    assert to_predictions(sigmoids[:, :1], "multilabel").tolist() == [[0.5], [0.49]]


def test_a_value_is_one_number_with_six_digits():
    values = to_predictions(np.array([[1 / 3], [-2e6], [12.0]], np.float32), "regression")
    assert values.shape == (3,)
    assert decode(values, "regression", []).tolist() == ["0.333333", "-2e+06", "12"]


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["cat", "dog", "cat"], "binary"),
        (["1", "0"], "binary"),
        (["1.0", "0.0", "2.0"], "multiclass"),
        (["7", "007", "NA"], "multiclass"),
        (["1.5", "2", "-3e-1"], "regression"),
        (["1.5", "2", ""], "multiclass"),
        (["1.5", "2", "nan"], "multiclass"),
        (["1.5", "2", "inf"], "multiclass"),
        (["1.5", "1_0"], "binary"),
        (["cat", "dog|cat", ""], "multilabel"),
        (["1.5|2"], "multilabel"),
        (["cat;dog", "cat"], "binary"),
    ],
)
def test_the_labels_say_what_the_task_is(labels, task):
    assert infer_task(labels, "|") == task


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_are_a_regression_as_soon_as_one_has_a_fraction(numbers):
    whole = all(number.is_integer() for number in numbers)
    assert (infer_task(map(repr, numbers), "|") == "regression") is not whole
    assert [to_number(repr(number)) for number in numbers] == numbers


def test_only_several_labels_are_divided_into_classes():
    labels = ["b | a", "", "c", " a|"]
    assert find_classes(labels, "multilabel", "|") == ["a", "b", "c"]
    assert find_classes(labels, "multiclass", "|") == sorted(labels)
    assert find_classes(labels, "regression", "|") == []
