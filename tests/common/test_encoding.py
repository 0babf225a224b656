import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, OneHotEncoder

from stages.common.encoding import codes, decode, encode, to_probabilities
from stages.common.errors import InputError

WATER = np.array(["cold", "warm", "hot"])
TAPS = ["cold", "hot", "warm"]
ENCODERS = ["label", "onehot", "binarizer"]


def test_label_gives_the_code_of_the_class():
    assert encode(WATER, TAPS, "label").tolist() == [[0], [2], [1]]


@pytest.mark.parametrize("encoder", ["onehot", "binarizer"])
def test_onehot_and_binarizer_give_a_column_for_each_class(encoder):
    assert encode(WATER, TAPS, encoder).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_two_classes_are_one_column_for_the_binarizer_and_two_for_onehot():
    labels = np.array(["dog", "cat", "dog"])
    assert encode(labels, ["cat", "dog"], "binarizer").tolist() == [[1], [0], [1]]
    assert encode(labels, ["cat", "dog"], "onehot").tolist() == [[0, 1], [1, 0], [0, 1]]


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
        assert encode(labels, classes, encoder).tolist() == without_extra(expected[encoder])


@pytest.mark.parametrize("classes", [["cat", "dog"], ["cat", "dog", "emu"]])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_class_comes_back_from_the_target(encoder, classes):
    labels = np.array(["dog", "cat", "dog"], dtype=object)
    targets = encode(labels, classes, encoder)
    assert targets.dtype == np.int64
    assert codes(targets, encoder).tolist() == [1, 0, 1]
    if encoder != "label":
        assert decode(targets, classes).tolist() == ["dog", "cat", "dog"]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_class_that_does_not_occur_keeps_its_place(encoder):
    targets = encode(np.array(["emu", "emu"]), ["cat", "dog", "emu"], encoder)
    assert codes(targets, encoder).tolist() == [2, 2]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_unseen_label_is_refused_with_the_nearest_class(encoder):
    with pytest.raises(InputError, match=r"^unknown label 'wram', did you mean 'warm'\?"):
        encode(np.array(["cold", "wram"]), TAPS, encoder)


def test_one_output_is_the_probability_of_the_second_class():
    sigmoid = np.array([[0.25], [0.75]])
    assert to_probabilities(sigmoid).tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert decode(sigmoid, ["cat", "dog"]).tolist() == ["cat", "dog"]


def test_outputs_of_a_softmax_are_probabilities_already():
    softmax = np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    assert to_probabilities(softmax) is softmax
    assert decode(softmax, TAPS).tolist() == ["hot", "warm"]
