"""TensorFlow set up so that the same inputs give the same bytes."""

from stages.common.quiet_tensorflow import keras, tf


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
