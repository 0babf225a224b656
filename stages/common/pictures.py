"""Pictures for people: sheets of small photos, and files whose bytes depend on pixels alone."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 6
_CAPTION_HEIGHT = 18


def to_picture(array: np.ndarray, height: int) -> Image.Image:
    """An image array as an RGB picture of the given height, its aspect kept.

    Args:
        array: uint8 (h, w, 3) or (h, w, 1).
        height: Pixels.
    """
    grey = array.shape[-1] == 1
    picture = Image.fromarray(array[..., 0] if grey else array).convert("RGB")
    width = max(1, round(picture.width * height / picture.height))
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], height: int = 96
) -> Image.Image:
    """Rows of small pictures, each under its caption.

    Args:
        rows: Caption and images (uint8, (h, w, c)) of each row.
        height: Of each picture, pixels.
    """
    pictures = [[to_picture(array, height) for array in arrays] for _, arrays in rows]
    widths = [sum(picture.width + _GAP for picture in row) for row in pictures]
    row_height = _CAPTION_HEIGHT + height + _GAP
    font = ImageFont.load_default(12)
    widths += [math.ceil(font.getlength(caption)) + _GAP for caption, _ in rows]
    sheet = Image.new("RGB", (max([320, *widths]) + _GAP, len(rows) * row_height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, ((caption, _), row) in enumerate(zip(rows, pictures, strict=True)):
        top = _GAP + number * row_height
        draw.text((_GAP, top), caption, fill="black", font=font)
        left = _GAP
        for picture in row:
            sheet.paste(picture, (left, top + _CAPTION_HEIGHT))
            left += picture.width + _GAP
    return sheet


def save_photo(picture: Image.Image, path: Path) -> None:
    """Write a JPEG without any metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "JPEG", quality=85)
