"""TensorFlow and Keras, imported without the notes that they print as they start.

Import them from here: a wrong param is then one line, not one line below ten of theirs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what is written to standard error, by C++ code too."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _silent_stderr():
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # where there is no GPU, the search for one complains

__all__ = ["keras", "tf"]
