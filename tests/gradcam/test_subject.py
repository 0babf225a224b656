"""Which images are explained: rare classes and errors among them."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from stages.gradcam.subject import choose_images

predictions = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=60
)


def table(pairs: list[tuple[str, str]]) -> pd.DataFrame:
    ids = [f"{number:016x}" for number in range(len(pairs))]
    labels, predicted = zip(*pairs, strict=True)
    confidence = [1 - number / 1000 for number in range(len(pairs))]
    return pd.DataFrame(
        {"id": ids, "label": labels, "predicted": predicted, "confidence": confidence}
    )


def test_right_and_wrong_of_each_class_come_in_turn():
    right_and_wrong = table(
        [("a", "a")] * 5 + [("b", "b"), ("a", "b"), ("a", "c"), ("b", "a"), ("b", "b")]
    )
    shown = choose_images(right_and_wrong, 10)
    assert shown.index.tolist() == [0, 5, 6, 8, 1, 7, 9, 2, 3, 4]


def test_the_most_confident_errors_come_first_and_the_right_ones_as_they_stand():
    images = table([("a", "b")] * 4 + [("a", "a")] * 4)
    images["confidence"] = [0.5, 0.9, 0.5, 0.7, 0.5, 0.9, 0.6, 0.7]
    shown = choose_images(images, 8).index
    assert [one for one in shown if one < 4] == [1, 3, 0, 2]
    assert [one for one in shown if one >= 4] == [4, 5, 6, 7]


def test_a_rare_error_of_a_rare_class_is_shown():
    pairs = [("a", "a")] * 500 + [("b", "b")] * 300 + [("c", "c"), ("c", "a")]
    shown = choose_images(table(pairs), 4)
    assert shown[["label", "predicted"]].to_numpy().tolist() == [
        ["a", "a"],
        ["b", "b"],
        ["c", "c"],
        ["c", "a"],
    ]


@given(predictions, st.integers(1, 80))
def test_as_many_as_there_are_and_none_twice(pairs, count):
    shown = choose_images(table(pairs), count)
    assert len(shown) == min(count, len(pairs))
    assert shown["id"].is_unique


@given(predictions, st.integers(1, 80))
def test_no_kind_is_shown_twice_more_than_another_that_has_images_left(pairs, count):
    everything = table(pairs)
    shown = choose_images(everything, count)

    def kinds(some: pd.DataFrame) -> dict:
        right = (some["label"] == some["predicted"]).rename("right")
        return some.groupby([some["label"], right]).size().to_dict()

    available, taken = kinds(everything), kinds(shown)
    most = max(taken.values())
    for kind, number in available.items():
        assert taken.get(kind, 0) >= min(number, most - 1)


def test_of_numbers_the_largest_errors_are_shown_to_either_side():
    ids, residuals = list("abcdef"), [0.1, -5, 2, 5, 0, -3]
    numbers = pd.DataFrame({"id": ids, "label": "1", "predicted": "1", "residual": residuals})
    assert choose_images(numbers, 4)["id"].tolist() == ["b", "d", "f", "c"]
    assert len(choose_images(numbers, 10)) == 6
