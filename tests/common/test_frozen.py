"""A network in ONNX Runtime: equal to Keras, and its bytes to themselves."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from stages.common import backbones, cuts
from stages.common.errors import InputError
from stages.common.frozen import CannotExport, OnnxNetwork, export

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return backbones.build("EfficientNetLite0", "imagenet", (64, 64, 3))


@pytest.fixture(scope="module")
def path(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "new" / "lite0.onnx"
    export(model, path)
    return path


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (11, 64, 64, 3), dtype=np.uint8)


def assert_close(received: np.ndarray, expected: np.ndarray) -> None:
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.max(np.abs(expected)))


def test_outputs_are_those_of_keras(model, path, images):
    assert_close(OnnxNetwork(path)(images), np.asarray(model(images)))
    assert list(path.parent.iterdir()) == [path]


def test_bytes_depend_neither_on_batch_size_nor_on_threads(path, images):
    expected = OnnxNetwork(path)(images).tobytes()
    for threads in (1, 2, 4):
        network = OnnxNetwork(path, threads)
        for batch_size in (1, 2, 3, 8, 11):
            assert network(images, batch_size=batch_size).tobytes() == expected


def test_bytes_do_not_depend_on_the_images_beside(path, images):
    network = OnnxNetwork(path)
    np.testing.assert_array_equal(network(images[::-1])[::-1], network(images))
    np.testing.assert_array_equal(network(images[4:5]), network(images)[4:5])


def test_other_exports_give_the_same_bytes(model, path, images, tmp_path):
    export(model, tmp_path / "again.onnx")
    expected = OnnxNetwork(path)(images)
    np.testing.assert_array_equal(OnnxNetwork(tmp_path / "again.onnx")(images), expected)


@pytest.mark.parametrize(("name", "channels"), [("MobileNetV2", 1), ("EfficientNetV2B0", 3)])
def test_part_of_another_family(tmp_path, name, channels):
    model = backbones.build(name, "none", (64, 64, channels))
    names = cuts.cuts(model)
    part, _ = cuts.split(model, names[len(names) // 2])
    export(part, tmp_path / "part.onnx")
    images = np.random.default_rng(2).integers(0, 256, (2, 64, 64, channels), dtype=np.uint8)
    assert_close(OnnxNetwork(tmp_path / "part.onnx")(images), np.asarray(part(images)))


@pytest.mark.parametrize("trainable", [True, False])
def test_runs_in_inference_mode_whatever_is_trainable(tmp_path, trainable):
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Dropout(0.9)(keras.layers.BatchNormalization()(x))
    model = keras.Model(inputs, x)
    model.trainable = trainable
    export(model, tmp_path / "a.onnx")
    images = np.random.default_rng(2).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    assert_close(OnnxNetwork(tmp_path / "a.onnx")(images), images / 255 / np.sqrt(1.001))


def test_cut_at_the_input_gives_the_image(tmp_path, model, images):
    export(cuts.split(model, "image")[0], tmp_path / "a.onnx")
    np.testing.assert_array_equal(OnnxNetwork(tmp_path / "a.onnx")(images), images)


def test_no_images(path):
    assert OnnxNetwork(path)(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 2, 2, 1280)


@pytest.mark.parametrize("wrong", [np.zeros((1, 64, 64, 3)), np.zeros((1, 32, 64, 3), np.uint8)])
def test_other_images_are_refused(path, wrong):
    with pytest.raises(ValueError, match=r"uint8 images of shape \(n, 64, 64, 3\). Received"):
        OnnxNetwork(path)(wrong)


@pytest.mark.parametrize("content", [None, b"no network"])
def test_unreadable_file_is_refused_in_one_line(tmp_path, content):
    if content:
        (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="expected an ONNX network") as refusal:
        OnnxNetwork(tmp_path / "a.onnx")
    assert "\n" not in str(refusal.value)


def test_network_that_onnx_does_not_know_is_refused_quietly(tmp_path, capfd, caplog):
    model = backbones.build("ConvNeXtTiny", "none", (64, 64, 3))
    part, _ = cuts.split(model, "convnext_tiny_downsampling_block_0")
    with caplog.at_level(logging.WARNING), pytest.raises(CannotExport) as refusal:
        export(part, tmp_path / "a.onnx")
    assert "in TensorFlow instead" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""
    assert "Traceback" not in capfd.readouterr().err


def test_outputs_that_are_no_numbers_are_refused_and_the_older_file_stays(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"older")
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    model = keras.Model(inputs, keras.layers.Rescaling(float("nan"))(inputs))
    with pytest.raises(CannotExport, match="differ by nan"):
        export(model, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == b"older"


def test_a_worker_needs_no_tensorflow(path, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    code = f"""
import sys
import numpy as np
from stages.common.frozen import OnnxNetwork
np.save("features.npy", OnnxNetwork({str(path)!r})(np.load("images.npy")))
assert not {{"tensorflow", "keras", "tf2onnx"}} & set(sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), OnnxNetwork(path)(images))


# On a GPU


class Session:
    """An ONNX Runtime session that remembers how it was opened and does not run."""

    def __init__(self, path: str, options: object, providers: list[tuple[str, dict]]):
        self.options, self.providers = options, providers

    def get_inputs(self) -> list[None]:
        return [None]

    def get_providers(self) -> list[str]:
        return [name for name, _ in self.providers]


def opened(monkeypatch, available: list[str], session: type[Session] = Session) -> Session:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)
    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    return OnnxNetwork("any.onnx", device="gpu")._session


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (["TensorrtExecutionProvider", "CUDAExecutionProvider"], "CUDAExecutionProvider"),
        (["ROCMExecutionProvider"], "ROCMExecutionProvider"),
        (["CoreMLExecutionProvider"], "CoreMLExecutionProvider"),
    ],
)
def test_a_gpu_is_run_by_the_provider_that_there_is(monkeypatch, others, expected):
    session = opened(monkeypatch, [*others, "CPUExecutionProvider"])
    assert session.get_providers() == [expected]
    assert session.options.use_deterministic_compute


def test_cuda_chooses_its_algorithms_without_measuring_them(monkeypatch):
    ((_, options),) = opened(monkeypatch, ["CUDAExecutionProvider"]).providers
    assert options == {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}


def assert_names_the_package(refused: pytest.ExceptionInfo) -> None:
    assert str(refused.value).startswith("features.device: expected")
    assert "onnxruntime-gpu" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_a_gpu_provider_it_is_refused(monkeypatch):
    with pytest.raises(InputError) as refused:
        opened(monkeypatch, ["AzureExecutionProvider", "CPUExecutionProvider"])
    assert_names_the_package(refused)


def test_a_gpu_provider_that_does_not_start_is_refused(monkeypatch):
    class Silent(Session):
        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    with pytest.raises(InputError) as refused:
        opened(monkeypatch, ["CUDAExecutionProvider"], Silent)
    assert_names_the_package(refused)


def test_the_cpu_serves_unless_a_gpu_is_asked_for(monkeypatch, path):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert OnnxNetwork(path)._session.get_providers() == ["CPUExecutionProvider"]
