"""The frozen part, opened in either engine: what Keras says, whatever stands in the same shard."""

import keras
import numpy as np
import pytest

from stages.common import keras_files
from stages.common.backbones import build
from stages.common.embed_shard import embed_shard, open_network
from stages.common.frozen import export
from stages.common.networks import frozen_part
from stages.common.params import Features
from stages.common.pixels import rescaled


def photos(count: int, size: int) -> np.ndarray:
    shape = (count, size, size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def small_frozen_part() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(16, 3, activation="relu", name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    ("name", "cut"),
    [("EfficientNetLite0", "block6a_expand_conv"), ("MobileNetV2", "block_6_expand")],
)
def test_onnx_gives_what_keras_gives_up_to_a_partial_cut(name, cut, tmp_path):
    features = Features(backbone="any", strategy="partial", cut=cut)
    part = frozen_part(build(name, "none", (32, 32, 3)), features)
    export(part, tmp_path / "part.onnx")
    images = photos(count=3, size=32)
    expected, received = np.asarray(part(images)), open_network(tmp_path / "part.onnx")(images)
    assert received.shape == (3, *part.output_shape[1:])
    scale = np.abs(expected).max()
    assert expected.std(axis=0).max() > 1e-3 * scale, "the same for every image tells nothing"
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4 * scale)


def test_the_keras_file_gives_what_keras_gives_and_the_same_bytes_in_any_shard(
    tmp_path, monkeypatch
):
    # The number of threads can be set in a new process alone; tests/test_embed.py has one.
    monkeypatch.setattr("stages.common.determinism.make_deterministic", lambda threads, seed: None)
    model, images = small_frozen_part(), photos(count=9, size=8)
    keras_files.save(model, tmp_path / "part.keras")
    network = open_network(tmp_path / "part.keras")
    whole = network(images)
    assert whole.dtype == np.float32
    pieces = [network(piece) for piece in np.split(images, [1, 5])]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    np.testing.assert_allclose(whole, model(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sizes", [(1, 10), (4, 7), (5, 3, 3)])
def test_where_a_shard_ends_changes_no_byte(sizes, tmp_path):
    export(small_frozen_part(), tmp_path / "part.onnx")
    images = photos(count=11, size=8)
    np.save(tmp_path / "all.npy", images)
    expected = embed_shard(tmp_path / "all.npy", tmp_path / "part.onnx", None)["features"]
    received = []
    for number, shard in enumerate(np.split(images, np.cumsum(sizes)[:-1])):
        file = tmp_path / f"{number}.npy"
        np.save(file, shard)
        received.append(embed_shard(file, tmp_path / "part.onnx", None)["features"])
    assert np.concatenate(received).tobytes() == expected.tobytes()


def test_each_variant_is_embedded_as_bytes_whatever_factor_was_written(tmp_path):
    export(small_frozen_part(), tmp_path / "part.onnx")
    images = photos(count=4, size=8)
    np.save(tmp_path / "original.npy", images)
    np.save(tmp_path / "variant.npy", rescaled(images[::-1], 1 / 255))
    original, variant = (
        embed_shard(tmp_path / f"{name}.npy", tmp_path / "part.onnx", rescale)["features"]
        for name, rescale in [("original", None), ("variant", 1 / 255)]
    )
    np.testing.assert_array_equal(variant, original[::-1])
    assert original.std() > 1e-3
