"""Pictures of the test results: what they show can be read from them, and their bytes repeat."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from stages.evaluate.drawings import draw_calibration, draw_confusion, draw_labels, draw_numbers

SVG = "{http://www.w3.org/2000/svg}"


def texts(path: Path) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", path.read_text())


def dots(path: Path) -> int:
    """Dots of the scatters of all panels: uses of a shape, or shapes of their own."""
    groups = ElementTree.parse(path).iter(f"{SVG}g")
    scatters = [one for one in groups if one.get("id", "").startswith("PathCollection")]
    return sum(
        len(list(scatter.iter(f"{SVG}use"))) or len(scatter.findall(f"{SVG}path"))
        for scatter in scatters
    )


def test_a_confusion_matrix_shows_each_count_and_class(tmp_path):
    truth = np.array([0] * 7 + [1] * 5)
    predicted = np.array([0] * 4 + [1] * 3 + [1] * 5)
    draw_confusion(["cat", "dog"], truth, np.eye(2)[predicted], tmp_path / "a.svg")
    assert {"4", "3", "5", "0", "cat", "dog", "predicted", "label"} <= set(
        texts(tmp_path / "a.svg")
    )


def test_many_classes_are_drawn_without_numbers(tmp_path):
    names = [f"class {number}" for number in range(60)]
    draw_confusion(names, np.arange(60), np.eye(60), tmp_path / "a.svg")
    assert "1" not in texts(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size < 200_000


def test_each_label_stands_with_its_images(tmp_path):
    table = pd.DataFrame(
        {"label": ["cat", "dog"], "precision": [0.5, 0], "recall": [1.0, 0], "images": [3, 0]}
    )
    draw_labels(table, tmp_path / "a.svg")
    assert {"cat (3)", "dog (0)", "precision", "recall"} <= set(texts(tmp_path / "a.svg"))


def test_each_number_is_a_dot_in_both_panels_but_no_more_than_2000(tmp_path):
    truth = np.linspace(0, 1, 50)
    draw_numbers(truth, truth + 0.1, tmp_path / "few.svg")
    assert dots(tmp_path / "few.svg") == 2 * 50
    truth = np.linspace(0, 1, 10_000)
    draw_numbers(truth, truth + 0.1, tmp_path / "many.svg")
    assert dots(tmp_path / "many.svg") == 2 * 2000


def test_numbers_that_are_all_the_same_can_be_drawn(tmp_path):
    draw_numbers(np.ones(3), np.ones(3), tmp_path / "a.svg")
    assert dots(tmp_path / "a.svg") == 6


def test_each_bin_is_a_dot(tmp_path):
    bins = pd.DataFrame({"confidence": [0.6, 0.9], "accuracy": [0.5, 1.0], "images": [3, 9]})
    draw_calibration(bins, tmp_path / "a.svg")
    assert dots(tmp_path / "a.svg") == 2


def test_drawn_again_the_bytes_are_the_same(tmp_path):
    random = np.random.default_rng(0)
    truth = random.normal(size=30)
    for name in ("a.svg", "b.svg"):
        draw_numbers(truth, truth**2, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_long_name_is_shortened_or_the_chart_has_no_room_for_it(tmp_path):
    long = "a very long name " * 12
    table = pd.DataFrame({"label": [long], "precision": [0.5], "recall": [1.0], "images": [3]})
    draw_labels(table, tmp_path / "a.svg")
    draw_confusion([long, "dog"], np.array([0, 1]), np.eye(2), tmp_path / "b.svg")
    assert "a very long name a very lon… (3)" in texts(tmp_path / "a.svg")
    assert texts(tmp_path / "b.svg").count("a very long name a very lon…") == 2


def test_a_dot_in_the_corner_is_whole(tmp_path):
    bins = pd.DataFrame({"confidence": [1.0], "accuracy": [1.0], "images": [99]})
    draw_calibration(bins, tmp_path / "a.svg")
    groups = ElementTree.parse(tmp_path / "a.svg").iter(f"{SVG}g")
    scatter = next(one for one in groups if one.get("id", "").startswith("PathCollection"))
    assert not any(one.get("clip-path") for one in scatter.iter())
