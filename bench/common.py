"""What the measurements share: arguments, photos, and seconds of works done in turns."""

import argparse
import importlib.metadata
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.sample import PACKAGE
from stages.common.photos import Unusable, develop, open_photo


def argument_parser(description: str, images: int) -> argparse.ArgumentParser:
    """The arguments of every measurement on photos.

    Args:
        description: Of the measurement.
        images: The default number of photos.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="photos, in any subfolders; default: the sample")
    parser.add_argument("--size", type=_size, default="160", help="height,width or one number")
    parser.add_argument("--images", type=int, default=images, help="how many photos")
    return parser


def load_photos(folder: Path | None, size: tuple[int, int], count: int) -> np.ndarray:
    """Decode and resize some photos, as the stage `ingest` does.

    Args:
        folder: Searched with all its subfolders; None for the sample photos.
        size: Height and width, pixels.
        count: How many, spread over the sorted files; fewer if there are fewer.

    Returns:
        uint8 RGB (n, *size, 3).
    """
    files = _sample_files() if folder is None else folder.rglob("*")
    files = sorted(file for file in files if file.is_file())
    photos = []
    for place in np.linspace(0, len(files), min(count, len(files)), endpoint=False, dtype=int):
        try:
            photo = open_photo(files[place].read_bytes())
        except Unusable:
            continue
        photos.append(develop(photo, size, "rgb", "stretch"))
    if not photos:
        raise SystemExit(f"error: expected photos in {folder or PACKAGE}, found none")
    return np.stack(photos)


def seconds_in_turns(*works: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each work: the medians of rounds in which one follows the other.

    A first round more warms up and does not count.
    """
    seconds = []
    for _ in range(1 + rounds):
        seconds.append([])
        for work in works:
            start = time.perf_counter()
            work()
            seconds[-1].append(time.perf_counter() - start)
    return [statistics.median(one) for one in zip(*seconds[1:], strict=True)]


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition(",")
    return int(height), int(width or height)


def _sample_files() -> list[Path]:
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit(
            f"error: expected the package {PACKAGE}, found none; run make demo"
        ) from None
    return [Path(file.locate()) for file in files if file.suffix == ".jpg"]
