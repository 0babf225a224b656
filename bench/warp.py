"""Random variants of photos on one core: ours against ImageDataGenerator.

python bench/warp.py                                     # the sample photos
python bench/warp.py --data FOLDER --size 224            # photos below a folder, at 224 x 224 px
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from bench.common import argument_parser, load_photos, seconds_in_turns
from stages.common.augment_shard import vary_all
from stages.common.params import Augment
from stages.common.quiet_tensorflow import tf

FILL_MODES = ["nearest", "constant", "reflect", "wrap"]
OPTIONS = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.2,
    "horizontal_flip": True,
    "vertical_flip": True,
    "rescale": 1 / 255,
}
BATCH = 32
ROUNDS = 9


def main() -> None:
    """Time both for every fill mode; the last line has `ratio` and seconds for `nearest`."""
    arguments = argument_parser(__doc__, images=128).parse_args()
    use_one_core()
    images = load_photos(arguments.data, arguments.size, arguments.images)
    print(f"{len(images)} photos of {' x '.join(map(str, arguments.size))} px, images a second:\n")
    print("fill_mode     ours   Keras   ratio")
    rows = [measure(images, fill_mode) for fill_mode in FILL_MODES]
    ratios = {row["fill_mode"]: row["ratio"] for row in rows}
    sizes = {"images": len(images), "size": arguments.size}
    print(json.dumps({**rows[0], **sizes, "ratios": ratios}))


def use_one_core() -> None:
    """Neither side may use more. OpenCV has one thread since `stages.common.warp` set it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def measure(images: np.ndarray, fill_mode: str) -> dict[str, object]:
    """Time one fill mode and print its row of the table."""
    ours, keras = seconds_in_turns(
        lambda: vary_with_ours(images, fill_mode),
        lambda: vary_with_keras(images, fill_mode),
        rounds=ROUNDS,
    )
    rate, keras_rate = len(images) / ours, len(images) / keras
    print(f"{fill_mode:10}{rate:8.0f}{keras_rate:8.0f}{keras / ours:8.1f}", flush=True)
    return {
        "fill_mode": fill_mode,
        "ratio": round(keras / ours, 2),
        "seconds": round(ours, 4),
        "peer_seconds": round(keras, 4),
        "images_per_second": round(rate),
        "peer_images_per_second": round(keras_rate),
    }


def vary_with_ours(images: np.ndarray, fill_mode: str) -> None:
    """One variant of each image in batches, as the stage `augment` makes them of shards."""
    augment = Augment(**OPTIONS, fill_mode=fill_mode)
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        ids = [f"{start + row:016x}" for row in range(len(batch))]
        vary_all(batch, ids, number=1, augment=augment)


def vary_with_keras(images: np.ndarray, fill_mode: str) -> None:
    """The same by Keras."""
    generator = tf.keras.preprocessing.image.ImageDataGenerator(**OPTIONS, fill_mode=fill_mode)
    batches = generator.flow(images, batch_size=BATCH, shuffle=False)
    for _ in range(len(batches)):
        next(batches)


if __name__ == "__main__":
    main()
