"""The network against photos of known content, and its weights file against malice."""

import collections
import os
import pickle

import numpy as np
import pytest
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

from stages.common import backbones
from stages.common.efficientnet_lite0 import pretrained_file, read_state_dict
from stages.common.errors import InputError

MAGIC, VERSION, SYSTEM = 119547037146038801333356, 1001, {"little_endian": True}


class FloatStorage:
    """Stands for torch.FloatStorage in a pickle."""


class Rebuilt:
    """Stands for a tensor: pickles as a call of torch's function."""

    def __init__(self, size: int, shape: tuple, strides: tuple, offset: int = 0) -> None:
        self.storage = ("storage", FloatStorage, "0", "cpu", size, None)
        self.view = (offset, shape, strides, False, collections.OrderedDict())


class TorchPickler(pickle._Pickler):
    """Writes the names that torch writes, without torch."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Rebuilt):
            self.write(b"ctorch._utils\n_rebuild_tensor_v2\n(")
            self.write(b"(")
            for part in obj.storage:
                self.write(b"ctorch\nFloatStorage\n") if part is FloatStorage else self.save(part)
            self.write(b"tQ")
            for part in obj.view:
                self.save(part)
            self.write(b"tR")
        else:
            super().save(obj, save_persistent_id)


def write_state_dict(path, state, storage: np.ndarray) -> None:
    with path.open("wb") as file:
        for part in (MAGIC, VERSION, SYSTEM, state, ["0"]):
            TorchPickler(file, protocol=2).dump(part)
        file.write(storage.size.to_bytes(8, "little") + storage.astype("<f4").tobytes())


def center_square(image: np.ndarray, size: int) -> np.ndarray:
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def test_photos_are_recognised():
    photos = [load_sample_image("china.jpg"), skimage.data.coffee(), skimage.data.chelsea()]
    images = np.stack([center_square(photo, 224) for photo in photos])
    model = backbones.build("EfficientNetLite0", "imagenet", (224, 224, 3), include_top=True)
    palace, espresso, cat = np.asarray(model(images)).argmax(axis=1)
    assert (palace, espresso) == (698, 967)
    assert cat in (282, 285)  # tiger cat, Egyptian cat


def test_parameters_are_all_those_of_the_file():
    model = backbones.build("EfficientNetLite0", "imagenet", (64, 64, 3), include_top=True)
    state = read_state_dict(pretrained_file())
    numbers = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert model.count_params() == sum(value.size for value in numbers.values()) == 4_694_024
    by_sum = sorted(float(np.sum(value, dtype=np.float64)) for value in numbers.values())
    ours = sorted(float(np.sum(value, dtype=np.float64)) for value in model.get_weights())
    np.testing.assert_allclose(ours, by_sum, rtol=1e-9)


def test_with_and_without_top_are_the_same_network():
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    with_top = backbones.build("EfficientNetLite0", "imagenet", (64, 64, 3), include_top=True)
    features = np.asarray(backbones.build("EfficientNetLite0", "imagenet", (64, 64, 3))(images))
    kernel, bias = with_top.get_layer("predictions").get_weights()
    logits = features.mean(axis=(1, 2)) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(with_top(images), expected, rtol=1e-3)


def test_strides_of_a_tensor_are_followed(tmp_path):
    state = collections.OrderedDict(rows=Rebuilt(6, (2, 3), (1, 2)), last=Rebuilt(6, (2,), (1,), 4))
    write_state_dict(tmp_path / "state.pth", state, np.arange(6))
    read = read_state_dict(tmp_path / "state.pth")
    np.testing.assert_array_equal(read["rows"], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(read["last"], [4, 5])


def refusal(path) -> str:
    with pytest.raises(InputError, match="Expected a state dict") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Malicious:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("position", range(5))
def test_pickle_that_calls_anything_else_is_refused_and_not_run(tmp_path, position):
    parts = [MAGIC, VERSION, SYSTEM, collections.OrderedDict(), []]
    parts[position] = Malicious(tmp_path / "made by the pickle")
    (tmp_path / "evil.pth").write_bytes(b"".join(pickle.dumps(part) for part in parts))
    assert "posix.mkdir" in refusal(tmp_path / "evil.pth")
    assert not (tmp_path / "made by the pickle").exists()


@pytest.mark.parametrize(
    "tensor", [Rebuilt(6, (7,), (1,)), Rebuilt(6, (2,), (1,), 5), Rebuilt(6, (2,), (-1,), 3)]
)
def test_tensor_beyond_its_storage_is_refused(tmp_path, tensor):
    write_state_dict(tmp_path / "evil.pth", collections.OrderedDict(a=tensor), np.arange(6))
    assert "does not lie within its storage" in refusal(tmp_path / "evil.pth")


def test_cut_off_file_is_refused(tmp_path):
    (tmp_path / "half.pth").write_bytes(pretrained_file().read_bytes()[:100_000])
    refusal(tmp_path / "half.pth")
