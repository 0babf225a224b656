"""TensorFlow set up so that the same inputs give the same bytes."""

import os

# oneDNN and the log level are read when TensorFlow is imported, so they are set before.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf


def make_deterministic(threads: int, seed: int) -> None:
    """Fix what decides the order of additions, and every source of random numbers.

    Call it once, before TensorFlow runs its first operation.

    Args:
        threads: In one operation; it decides how a sum is divided, and so its last bits.
        seed: For Keras, NumPy and Python.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
