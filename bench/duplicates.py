"""Seconds to find the repeats among many images, on one core.

python bench/duplicates.py
python bench/duplicates.py --images 10000 20000          # fewer

Among random fingerprints and among those of drawn scenes, 2 % are near duplicates: an image with up
to 4 grey levels of noise in each cell of its thumbnail. Every one of them must be found.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

# One core, which the libraries of linear algebra learn when they are loaded.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from stages.ingest.duplicates import find_groups, fingerprint

REPEATED = 0.02
NOISE = 4  # grey levels


def main() -> None:
    """Print a table of seconds; the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--images", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000], help="how many"
    )
    counts = parser.parse_args().images
    cv2.setNumThreads(1)
    rows = []
    print("seconds of\n   images   random   scenes")
    for count in counts:
        row = {"images": count} | {
            name: round(_seconds(draw(count, np.random.default_rng(0))), 2)
            for name, draw in [("random", _random), ("scenes", _scenes)]
        }
        rows.append(row)
        print(f"{count:9,}{row['random']:9.2f}{row['scenes']:9.2f}", flush=True)
    print(json.dumps({"seconds": rows}))


def _random(count: int, random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 256, (count, 192), np.uint8)


def _scenes(count: int, random: np.random.Generator) -> np.ndarray:
    """Fingerprints of smooth noise with some ellipses; uint8 (count, 192)."""
    return np.stack([fingerprint(_scene(random)) for _ in range(count)])


def _scene(random: np.random.Generator, side: int = 48) -> np.ndarray:
    spots = random.uniform(40, 210, (5, 7, 3))
    image = cv2.resize(spots, (side, side), interpolation=cv2.INTER_LINEAR)
    for _ in range(6):
        centre, axes = random.integers(0, side, 2), random.integers(side // 12, side // 3, 2)
        color = random.uniform(30, 215, 3).tolist()
        angle = random.uniform(0, 180)
        cv2.ellipse(image, centre.tolist(), axes.tolist(), angle, 0, 360, color, cv2.FILLED)
    return image.astype(np.uint8)


def _seconds(fingerprints: np.ndarray) -> float:
    """Put near duplicates of the first images in the place of the last, and time the search."""
    count = int(REPEATED * len(fingerprints))
    noise = np.random.default_rng(1).integers(-NOISE, NOISE + 1, (count, fingerprints.shape[1]))
    fingerprints[-count:] = np.clip(fingerprints[:count].astype(int) + noise, 0, 255)
    start = time.perf_counter()
    groups = find_groups(fingerprints, np.arange(len(fingerprints)))
    seconds = time.perf_counter() - start
    if not np.array_equal(groups[-count:], groups[:count]):
        sys.exit("error: expected every near duplicate to be found, missed some")
    return seconds


if __name__ == "__main__":
    main()
