"""Features of photos from a frozen network: ours against `model.predict`, on the same cores.

python bench/features.py                                 # the sample photos
python bench/features.py --data FOLDER --size 224        # photos below a folder, at 224 x 224 px
python bench/features.py --network MobileNetV2           # random weights: as fast as trained ones
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import joblib
import numpy as np

from bench.common import argument_parser, load_photos, seconds_in_turns
from stages.common.backbones import build
from stages.common.embed_shard import embed_shard
from stages.common.frozen import export
from stages.common.machine import worker_count
from stages.common.networks import frozen_part
from stages.common.params import Features
from stages.common.quiet_tensorflow import keras, tf

PACKAGED = "EfficientNetLite0"  # its weights come with a package
SHARD = 32
ROUNDS = 5


def main() -> None:
    """Time both; ours spreads shards over worker processes, as the stage `embed` does."""
    parser = argument_parser(__doc__, images=256)
    parser.add_argument("--network", default=PACKAGED, help=f"default: {PACKAGED}")
    arguments = parser.parse_args()
    cores = worker_count()
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    images = load_photos(arguments.data, arguments.size, arguments.images)
    model = frozen_network(arguments.network, arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder, "network.onnx")
        export(model, network)
        shards = write_shards(images, Path(folder))
        with joblib.Parallel(n_jobs=cores) as workers:
            features = embed(workers, shards, network)
            peer_features = model.predict(images, verbose=0)
            ours, peer = seconds_in_turns(
                lambda: embed(workers, shards, network),
                lambda: model.predict(images, verbose=0),
                rounds=ROUNDS,
            )
    size = " x ".join(map(str, arguments.size))
    print(f"{arguments.network}, {len(images)} photos of {size} px, {cores} cores:\n")
    print("          seconds  images a second")
    print(f"ours     {ours:8.2f}{len(images) / ours:17.0f}")
    print(f"predict  {peer:8.2f}{len(images) / peer:17.0f}")
    result = {
        "ratio": round(peer / ours, 2),
        "seconds": round(ours, 3),
        "peer_seconds": round(peer, 3),
        "max_difference": float(np.abs(features - peer_features).max()),
        "largest_feature": float(np.abs(peer_features).max()),
        "network": arguments.network,
        "cores": cores,
        "images": len(images),
        "size": arguments.size,
    }
    print(json.dumps(result))


def frozen_network(name: str, size: tuple[int, int]) -> keras.Model:
    """A whole backbone, averaged over the image: all of it frozen, strategy `head`."""
    weights = "imagenet" if name == PACKAGED else "none"
    return frozen_part(build(name, weights, (*size, 3)), Features(backbone=name, strategy="head"))


def write_shards(images: np.ndarray, folder: Path) -> list[Path]:
    """Write images as `.npy` files of `SHARD` rows, as the stages keep them."""
    shards = []
    for start in range(0, len(images), SHARD):
        shards.append(folder / f"part-{start:06}.npy")
        np.save(shards[-1], images[start : start + SHARD])
    return shards


def embed(workers: joblib.Parallel, shards: list[Path], network: Path) -> np.ndarray:
    """The features of all images, float32 (n, features)."""
    call = joblib.delayed(embed_shard)
    parts = workers(call(shard, network, None) for shard in shards)
    return np.concatenate([part["features"] for part in parts])


if __name__ == "__main__":
    main()
