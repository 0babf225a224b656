"""Photos drawn by a script, as many as a measurement needs, in folders named after their class."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

CLASSES = ["ball", "bar", "cross", "frame", "ring"]
_AT_ONCE = 1000


def draw_photos(folder: Path, count: int, size: int, seed: int = 0) -> None:
    """Write PNGs to `folder/<class>/`, the classes in turns; no two are alike.

    Args:
        folder: Made if it does not exist.
        count: Of photos.
        size: Height and width, pixels.
        seed: Other seeds draw other photos.
    """
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    starts = range(0, count, _AT_ONCE)
    with ProcessPoolExecutor() as processes:
        for _ in processes.map(partial(_draw_some, folder, count, size, seed), starts):
            pass


def _draw_some(folder: Path, count: int, size: int, seed: int, start: int) -> None:
    for number in range(start, min(start + _AT_ONCE, count)):
        label = CLASSES[number % len(CLASSES)]
        image = _draw(label, size, np.random.default_rng([seed, number]))
        cv2.imwrite(str(folder / label / f"{number:06}.png"), image)


def _draw(label: str, size: int, random: np.random.Generator) -> np.ndarray:
    """A shape of its class on soft spots, with a grain that keeps the file as large as a photo's.

    Returns:
        uint8 BGR (size, size, 3).
    """
    spots = random.uniform(30, 200, (5, 5, 3))
    image = cv2.resize(spots, (size, size), interpolation=cv2.INTER_CUBIC)
    color = random.uniform(60, 255, 3).tolist()
    x, y = random.integers(size // 3, size - size // 3, 2).tolist()
    reach, line = int(random.integers(size // 6, size // 3)), max(1, size // 16)
    if label in ("ball", "ring"):
        cv2.circle(image, (x, y), reach, color, cv2.FILLED if label == "ball" else line)
    elif label == "frame":
        cv2.rectangle(image, (x - reach, y - reach), (x + reach, y + reach), color, line)
    else:
        cv2.line(image, (x - reach, y), (x + reach, y), color, line)
        if label == "cross":
            cv2.line(image, (x, y - reach), (x, y + reach), color, line)
    grainy = image + random.normal(0, 5, image.shape)
    return np.clip(grainy, 0, 255).astype(np.uint8)
