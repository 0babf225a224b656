"""The bytes of a saved model, and what of a file is refused."""

import hashlib
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from stages.common import keras_files
from stages.common.errors import InputError

ROOT = Path(__file__).parents[2]

SAVE = """
import sys
import keras
from stages.common import keras_files

keras.utils.set_random_seed(1)
initializer = keras.initializers.GlorotUniform(seed=3)
inputs = keras.Input((8, 8, 3))
x = keras.layers.Conv2D(4, 3, kernel_initializer=initializer)(inputs)
x = keras.layers.Conv2D(4, 3, kernel_initializer=initializer)(x)
x = keras.layers.BatchNormalization()(x)
x = keras.layers.ReLU()(x)
x = keras.layers.GlobalAveragePooling2D()(x)
x = keras.layers.Dropout(0.5, seed=2)(x)
model = keras.Model(inputs, keras.layers.Dense(2, name="classes")(x))
model.compile("adam", "mse", metrics=["mae"])
keras_files.save(model, sys.argv[1])
"""


def small_model() -> keras.Model:
    inputs = keras.Input((4,), name="inputs")
    return keras.Model(inputs, keras.layers.Dense(3, name="outputs")(inputs), name="small")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_in_new_process(path: Path, hash_seed: int) -> str:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SAVE, str(path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return digest(path)


def test_other_process_other_time_same_bytes(tmp_path):
    first = save_in_new_process(tmp_path / "a.keras", hash_seed=1)
    time.sleep(1.1)  # metadata.json holds seconds
    second = save_in_new_process(tmp_path / "b.keras", hash_seed=2)
    assert first == second
    names = [layer.name for layer in keras_files.load(tmp_path / "b.keras").layers]
    assert names[1:] == [
        "conv2d",
        "conv2d_1",
        "batch_normalization",
        "re_lu",
        "global_average_pooling2d",
        "dropout",
        "classes",
    ]


def test_saved_again_after_loading_same_bytes(tmp_path):
    keras_files.save(small_model(), tmp_path / "a.keras")
    keras_files.save(keras_files.load(tmp_path / "a.keras"), tmp_path / "b.keras")
    assert digest(tmp_path / "a.keras") == digest(tmp_path / "b.keras")


def test_other_weights_other_bytes(tmp_path):
    model = small_model()
    keras_files.save(model, tmp_path / "a.keras")
    model.set_weights([weight + 1 for weight in model.get_weights()])
    keras_files.save(model, tmp_path / "b.keras")
    assert digest(tmp_path / "a.keras") != digest(tmp_path / "b.keras")


@pytest.mark.parametrize("load", [keras_files.load, keras.models.load_model])
def test_loaded_model_predicts_the_same(tmp_path, load):
    model, x = small_model(), np.ones((2, 4), dtype="float32")
    keras_files.save(model, tmp_path / "new" / "a.keras")
    loaded = load(tmp_path / "new" / "a.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert [layer.name for layer in loaded.layers] == ["inputs", "outputs"]


def test_a_failing_save_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    keras_files.save(small_model(), tmp_path / "a.keras")
    before = digest(tmp_path / "a.keras")
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        keras_files.save(small_model(), tmp_path / "a.keras")
    assert digest(tmp_path / "a.keras") == before
    assert list(tmp_path.iterdir()) == [tmp_path / "a.keras"]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ending in '\.keras'"):
        keras_files.save(small_model(), tmp_path / "model.h5")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        keras_files.load(tmp_path / "a.keras")


def one_line_refusal(path: Path) -> str:
    with pytest.raises(InputError, match="cannot be read") as refusal:
        keras_files.load(path)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_damaged_file_is_refused_in_one_line(tmp_path):
    keras_files.save(small_model(), tmp_path / "a.keras")
    (tmp_path / "a.keras").write_bytes((tmp_path / "a.keras").read_bytes()[:500])
    assert "a.keras" in one_line_refusal(tmp_path / "a.keras")


def test_code_in_a_file_is_not_run(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs))
    keras_files.save(model, tmp_path / "a.keras")
    assert "Lambda" in one_line_refusal(tmp_path / "a.keras")
