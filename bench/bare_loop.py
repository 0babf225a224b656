"""What `ingest` is compared with: decode and resize every photo, and forget it.

python bench/bare_loop.py FOLDER HEIGHT WIDTH PROCESSES
"""

import multiprocessing
import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image


def develop(size: tuple[int, int], file: Path) -> int:
    """Decode one photo and resize it; the number of its values."""
    height, width = size
    with Image.open(file) as image:
        resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).size


def main() -> None:
    """Share the photos among processes, 32 at a time as `ingest` does."""
    folder, height, width, processes = sys.argv[1:]
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
    with multiprocessing.Pool(int(processes)) as workers:
        sizes = workers.imap_unordered(partial(develop, (int(height), int(width))), files, 32)
        print(sum(sizes))


if __name__ == "__main__":
    main()
