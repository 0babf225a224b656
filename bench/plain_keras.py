"""The plain Keras script that a user would write instead of the pipeline: one fit.

A frozen backbone, ImageDataGenerator, and every epoch through the whole network.

    python bench/plain_keras.py ARRAYS.npz EPOCHS

ARRAYS holds `images` (uint8), `codes` and `fold` of each image (-1: test). Trains the head on all
folds but the first, scores it on that one, and prints a line of JSON.
"""

import json
import sys
import time

import keras
import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from stages.common.backbones import build


def main() -> None:
    """Fit one candidate on one fold."""
    arrays = np.load(sys.argv[1])
    images, codes, fold = arrays["images"], arrays["codes"], arrays["fold"]
    train, held_out = (fold >= 0) & (fold != 0), fold == 0

    start = time.perf_counter()
    generator = ImageDataGenerator(
        rotation_range=10,
        width_shift_range=0.08,
        height_shift_range=0.08,
        zoom_range=0.1,
        horizontal_flip=True,
    )
    # It has its own preprocessing inside, as the networks of Keras 3 partly have.
    backbone = build("EfficientNetLite0", "imagenet", images.shape[1:])
    backbone.trainable = False
    model = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            backbone,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(256, "relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(int(codes.max()) + 1, "softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        generator.flow(images[train], codes[train], batch_size=32),
        validation_data=(images[held_out], codes[held_out]),
        epochs=int(sys.argv[2]),
        verbose=2,
    )
    accuracy = model.evaluate(images[held_out], codes[held_out], verbose=0)[1]
    print(json.dumps({"seconds": time.perf_counter() - start, "accuracy": accuracy}))


if __name__ == "__main__":
    main()
