"""Contact sheets: which images to show of a change, and one picture that holds them all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stages.common.errors import InputError
from stages.common.paths import IMAGES
from stages.common.pictures import save_photo, to_picture
from stages.common.shards import read_shard
from stages.compare.versions import Version

LIMIT = 300
COLUMNS = 16
HEIGHT = 96
_WIDEST = 192
_WAY_OUT = "run dvc repro or dvc pull, or compare without pictures: --no-page"
_BLOCK = 16  # what JPEG encodes together; a cell of whole blocks does not bleed into the next


def choose(groups: pd.Series, limit: int = LIMIT) -> pd.Index:
    """Some images of every group, as evenly as can be.

    Args:
        groups: Name of its group, by the id of each image.
        limit: How many to choose at most.

    Returns:
        The ids, by group and id. Within a group the smallest ids are chosen: they are hashes, so
        these are images at random, and the same ones each time.
    """
    ordered = groups.sort_index().sort_values(kind="stable")
    turn = ordered.groupby(ordered).cumcount()
    chosen = turn.sort_values(kind="stable").index[:limit]
    return ordered.index[ordered.index.isin(chosen)]


def read_images(version: Version, places: pd.DataFrame) -> list[np.ndarray]:
    """The images at some places, of which no others are read.

    Args:
        version: Whose images.
        places: Columns `part` and `row`.

    Returns:
        uint8 (h, w, c) of each, in their order.

    Raises:
        InputError: The version lacks a file of images.
    """
    names = {part: (IMAGES / part).as_posix() for part in sorted(set(places["part"]))}
    files = version.find(list(names.values()))
    shards = {}
    for part, name in names.items():
        if name not in files:
            raise InputError(f"{name} of {version.name}: expected a file, found none; {_WAY_OUT}")
        shards[part] = _open(files[name], f"{name} of {version.name}")
    pairs = zip(places["part"], places["row"].astype(int), strict=True)
    return [_row(shards[part], row, f"{names[part]} of {version.name}") for part, row in pairs]


def write_sheet(images: Sequence[np.ndarray], path: Path) -> int:
    """Write a grid of `COLUMNS` columns, row by row, as a JPEG.

    Args:
        images: uint8 (h, w, c), at most 10,000 of them.
        path: Of the picture.

    Returns:
        The width of a cell in pixels; each is `HEIGHT` high, its image in the middle.
    """
    pictures = [_fitted(image) for image in images]
    width = -(-max(picture.width for picture in pictures) // _BLOCK) * _BLOCK
    lines = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (min(COLUMNS, len(pictures)) * width, lines * HEIGHT), "white")
    for number, picture in enumerate(pictures):
        left, top = number % COLUMNS * width, number // COLUMNS * HEIGHT
        sheet.paste(
            picture, (left + (width - picture.width) // 2, top + (HEIGHT - picture.height) // 2)
        )
    save_photo(sheet, path)
    return width


def _open(path: Path, name: str) -> np.ndarray:
    try:
        return read_shard(path)
    except (ValueError, EOFError) as error:
        raise InputError(f"{name}: expected images, received no .npy file: {error}") from None


def _row(shard: np.ndarray, row: int, name: str) -> np.ndarray:
    if shard.ndim != 4 or not 0 <= row < len(shard):
        raise InputError(
            f"{name}: expected images with a row {row}, received the shape {shard.shape}; "
            "the manifest is of other images; run dvc checkout or dvc repro"
        )
    return shard[row]


def _fitted(image: np.ndarray) -> Image.Image:
    picture = to_picture(image, HEIGHT)
    picture.thumbnail((_WIDEST, HEIGHT), Image.Resampling.BILINEAR)
    return picture
