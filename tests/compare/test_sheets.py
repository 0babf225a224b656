"""Which images are shown, and the picture that holds them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.common.errors import InputError
from stages.compare.sheets import COLUMNS, HEIGHT, choose, read_images, write_sheet
from stages.compare.versions import Workspace


def test_every_group_is_shown_as_evenly_as_can_be():
    groups = pd.Series({f"{number:03}": "large" for number in range(100)})
    groups["a"] = groups["b"] = "small"
    groups["c"] = "alone"
    chosen = choose(groups.sample(frac=1, random_state=0), 10)
    assert groups[chosen].value_counts().to_dict() == {"large": 7, "small": 2, "alone": 1}
    assert list(chosen) == ["c", *(f"{number:03}" for number in range(7)), "a", "b"]


def test_few_images_are_all_shown():
    groups = pd.Series({"b": "x", "a": "y"})
    assert list(choose(groups, 10)) == ["b", "a"]
    assert list(choose(groups, 1)) == ["b"]


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8, 1), (5, 50, 3), (50, 2, 3)])
def test_each_image_lies_in_its_cell(tmp_path, shape):
    levels = [int(level) for level in np.linspace(0, 255, COLUMNS + 3)]
    path = tmp_path / "sheet.jpg"
    width = write_sheet([np.full(shape, level, np.uint8) for level in levels], path)
    sheet = np.asarray(Image.open(path).convert("L")).astype(int)
    assert sheet.shape == (2 * HEIGHT, COLUMNS * width)
    for number, level in enumerate(levels):
        top, left = number // COLUMNS * HEIGHT, number % COLUMNS * width
        assert abs(sheet[top + HEIGHT // 2, left + width // 2] - level) <= 2
    assert sheet[HEIGHT:, 3 * width :].min() == 255


def test_cells_do_not_bleed_into_each_other(tmp_path):
    black, white = (np.full((8, 8, 3), level, np.uint8) for level in (0, 255))
    path = tmp_path / "sheet.jpg"
    width = write_sheet([black, white], path)
    sheet = np.asarray(Image.open(path).convert("L"))
    assert sheet[:, :width].max() <= 2 and sheet[:, width:].min() >= 253


def test_images_of_several_sizes_share_a_sheet(tmp_path):
    path = tmp_path / "sheet.jpg"
    width = write_sheet([np.zeros((8, 4, 3), np.uint8), np.zeros((8, 12, 1), np.uint8)], path)
    assert width == 144
    assert Image.open(path).size == (2 * width, HEIGHT)


def save(name: str, array: np.ndarray) -> None:
    Path("data/images").mkdir(parents=True, exist_ok=True)
    np.save(f"data/images/{name}", array)


def test_images_come_in_the_order_of_their_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, first in [("p.npy", 0), ("q.npy", 100)]:
        save(name, np.arange(first, first + 3, dtype=np.uint8).repeat(12).reshape(3, 2, 2, 3))
    places = pd.DataFrame({"part": ["q.npy", "p.npy", "q.npy"], "row": [2.0, 1.0, 0.0]})
    assert [int(image[0, 0, 0]) for image in read_images(Workspace(), places)] == [102, 1, 100]


WRONG = {
    "missing": (None, 0, ["part-x.npy of the workspace", "found none", "--no-page"]),
    "few_rows": (np.zeros((2, 4, 4, 3), np.uint8), 2, ["row 2", "(2, 4, 4, 3)", "dvc checkout"]),
    "no_images": (np.zeros(5, np.uint8), 0, ["(5,)"]),
    "objects": (np.array([{}, {}]), 0, ["part-x.npy", "no .npy file"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_images_that_do_not_fit_are_one_line(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    array, row, parts = WRONG[case]
    if array is not None:
        save("part-x.npy", array)
    with pytest.raises(InputError) as refusal:
        read_images(Workspace(), pd.DataFrame({"part": ["part-x.npy"], "row": [row]}))
    for part in parts:
        assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)
