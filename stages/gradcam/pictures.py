"""Photos under their heat maps, as files and on sheets."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from stages.common.overlays import heated, shares_of_maximum, shown_photo
from stages.common.pictures import contact_sheet, save_photo

_PAIRS = 40
_CLASSES = 40
"""More would make a sheet that nobody reads to its end."""
_SIDE, _MEAN_SIDE = 128, 96
"""Pixels: the longest side of a photo in a pair, and in a mean."""
_SHEET, _CELL, _GAP, _CAPTION = 1000, 120, 6, 18
"""Pixels: of the sheet and of the narrowest cell the width, of a caption the height."""
_FONT = ImageFont.load_default(12)


def photo_file(folder: Path, image_id: str) -> Path:
    """Where the photo of an image lies."""
    return folder / "photos" / f"{image_id}.jpg"


def overlay_file(folder: Path, method: str, image_id: str) -> Path:
    """Where the photo under its heat map by a method lies."""
    return folder / "overlays" / method / f"{image_id}.jpg"


def save_overlays(
    folder: Path, image_id: str, photo: np.ndarray, heats: Mapping[str, np.ndarray]
) -> None:
    """Write a photo and, in the same size, that photo under the map of each method."""
    picture = shown_photo(photo)
    save_photo(picture, photo_file(folder, image_id))
    for method, heat in heats.items():
        save_photo(heated(picture, heat), overlay_file(folder, method, image_id))


class PairSheet:
    """The first 40 photos beside their overlays, each pair under its caption."""

    def __init__(self) -> None:
        self._cells: list[Image.Image] = []

    def add(self, caption: str, photo: np.ndarray, heat: np.ndarray) -> None:
        """Add a pair, if there are not yet enough.

        Args:
            caption: Cut to the width of the pair.
            photo: uint8 (h, w, c), of the same size as the others.
            heat: (map height, map width), not below 0.
        """
        if len(self._cells) == _PAIRS:
            return
        half = shown_photo(photo, _SIDE)
        width = max(_CELL, 2 * half.width + _GAP)
        cell = Image.new("RGB", (width, _CAPTION + half.height), "white")
        ImageDraw.Draw(cell).text((0, 0), _cut(caption, width), fill="black", font=_FONT)
        cell.paste(half, (0, _CAPTION))
        cell.paste(heated(half, heat), (half.width + _GAP, _CAPTION))
        self._cells.append(cell)

    def draw(self) -> Image.Image:
        """The sheet, at most 1,000 pixels wide unless a pair is wider; needs at least one pair."""
        width, height = self._cells[0].width + 2 * _GAP, self._cells[0].height + 2 * _GAP
        columns = min(max(1, _SHEET // width), len(self._cells))
        rows = math.ceil(len(self._cells) / columns)
        sheet = Image.new("RGB", (columns * width, rows * height), "white")
        for number, cell in enumerate(self._cells):
            row, column = divmod(number, columns)
            sheet.paste(cell, (_GAP + column * width, _GAP + row * height))
        return sheet


class ClassMeans:
    """The mean photo and the mean map of each class, of the 40 that have most images.

    Each map counts as much as any other: it is scaled to a maximum of 1, unless it is zero
    everywhere.

    Args:
        classes: Of every image that will be added.
    """

    def __init__(self, classes: pd.Series) -> None:
        counts = classes.value_counts(sort=False).sort_index()
        self._counts = counts.sort_values(ascending=False, kind="stable")[:_CLASSES].to_dict()
        self._sums: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, name: str, photo: np.ndarray, heat: np.ndarray) -> None:
        """Add an image of a class.

        Args:
            name: The class.
            photo: uint8 (h, w, c), of the same size as the others.
            heat: (map height, map width), not below 0, of the same size as the others.
        """
        if name not in self._counts:
            return
        small = np.asarray(shown_photo(photo, _MEAN_SIDE), np.float64)
        shares = shares_of_maximum(heat).astype(np.float64)
        photos, heats = self._sums.setdefault(name, (np.zeros_like(small), np.zeros_like(shares)))
        photos += small
        heats += shares

    def draw(self) -> Image.Image:
        """A row for each class by name: the mean photo, and that photo under the mean map."""
        rows = []
        for name in sorted(self._sums):
            count = self._counts[name]
            photo, heat = (total / count for total in self._sums[name])
            mean = photo.round().astype(np.uint8)
            pair = [mean, np.asarray(heated(Image.fromarray(mean), heat))]
            rows.append((f"{_cut(name, _SHEET // 4)} ({count})", pair))
        return contact_sheet(rows, height=2 * _MEAN_SIDE)


def _cut(text: str, width: int) -> str:
    """As much of a text as fits into so many pixels."""
    if _FONT.getlength(text) <= width:
        return text
    while text and _FONT.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
