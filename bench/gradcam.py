"""Grad-CAM of many photos: ours against one at a time with a plain GradientTape.

python bench/gradcam.py                                  # the sample photos at 160 x 160 px
python bench/gradcam.py --data FOLDER --size 224         # photos below a folder, at 224 x 224 px

The network is the default backbone with a head of one dense layer on its pooled features. Start-up
counts on both sides, and so does tracing on ours; building the network does not.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from bench.common import argument_parser, load_photos
from stages.common.backbones import build
from stages.common.heatmaps import HeatMaps, last_convolution, one_hot
from stages.common.networks import join
from stages.common.params import Features, Training
from stages.common.quiet_tensorflow import keras, tf

CLASSES = 3


def main() -> None:
    """Explain all photos both ways; the last line has `seconds`, `peer_seconds` and `ratio`."""
    arguments = argument_parser(__doc__, images=500).parse_args()
    images = load_photos(arguments.data, arguments.size, arguments.images)
    model = untrained_model(images.shape[1:])
    layer = last_convolution(model)
    codes = np.arange(len(images)) % CLASSES
    ours, seconds = timed(lambda: explain_with_ours(model, layer, images, codes))
    print(f"{len(images)} maps of {layer}\n\nours           {seconds:7.1f} s", flush=True)
    plain, peer_seconds = timed(lambda: explain_one_at_a_time(model, layer, images, codes))
    print(f"one at a time  {peer_seconds:7.1f} s\nratio          {peer_seconds / seconds:7.1f}")
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-4 * plain.max())
    facts = {
        "images": len(images),
        "size": arguments.size,
        "seconds": round(seconds, 2),
        "peer_seconds": round(peer_seconds, 2),
        "ratio": round(peer_seconds / seconds, 2),
    }
    print(json.dumps(facts))


def untrained_model(shape: tuple[int, int, int]) -> keras.Model:
    """The default backbone with a head that answers every photo in its own way."""
    backbone = build("EfficientNetLite0", "imagenet", shape)
    features = Features(backbone="lite0")
    model, *_ = join(backbone, features, True, Training(), "softmax", CLASSES)
    kernel = model.get_layer("logits").kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape) / np.sqrt(kernel.shape[0]))
    return model


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """What it gives, and its seconds."""
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def explain_with_ours(
    model: keras.Model, layer: str, images: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """As the stage `gradcam` does."""
    return HeatMaps(model, [layer])(images, one_hot(codes, CLASSES))["gradcam"]


def explain_one_at_a_time(
    model: keras.Model, layer: str, images: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """As the Grad-CAM example of the Keras documentation does, but for its scaling by the largest
    value."""
    outputs = [model.get_layer(layer).output, model.get_layer("logits").output]
    grad_model = keras.Model(model.inputs[0], outputs)
    heats = []
    for image, code in zip(images, codes, strict=True):
        with tf.GradientTape() as tape:
            features, predictions = grad_model(image[None])
            score = predictions[:, code]
        gradients = tape.gradient(score, features)
        pooled = tf.reduce_mean(gradients, axis=(0, 1, 2))
        heat = tf.squeeze(features[0] @ pooled[..., tf.newaxis])
        heats.append(tf.maximum(heat, 0).numpy())
    return np.stack(heats)


if __name__ == "__main__":
    main()
