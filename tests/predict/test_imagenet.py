"""The facts about ImageNet classifiers that are written down."""

import keras
import pytest
from keras.src.applications import imagenet_utils

from stages.common.errors import InputError
from stages.common.keras_names import NETWORKS
from stages.predict.imagenet import class_names, input_size


def test_there_are_a_thousand_names_and_none_twice():
    names = class_names()
    assert len(names) == len(set(names)) == 1000
    assert all(name == name.strip() and name.isascii() for name in names)


# Index and name in the class index of keras.applications.
@pytest.mark.parametrize(
    ("index", "name"),
    [
        *[(0, "tench"), (134, "crane (bird)"), (281, "tabby"), (285, "Egyptian cat")],
        *[(504, "coffee mug"), (517, "crane (machine)"), (638, "maillot"), (639, "tank suit")],
        *[(698, "palace"), (920, "traffic light"), (967, "espresso"), (999, "toilet tissue")],
    ],
)
def test_names_stand_in_the_order_of_the_outputs(index, name):
    assert class_names()[index] == name


@pytest.mark.parametrize("network", sorted({*NETWORKS} - {"EfficientNetLite0"}))
def test_the_input_size_is_the_one_of_keras(network, monkeypatch):
    class Asked(Exception):
        pass

    def ask(input_shape, default_size, **_):
        raise Asked(default_size)

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", ask)
    try:
        getattr(keras.applications, network)(weights=None)
    except Asked as asked:
        assert asked.args == (input_size(network),)
    else:  # MobileNetV3 has a shape of its own
        assert network.startswith("MobileNetV3")
        assert input_size(network) == 224


def test_an_unknown_network_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="'MobilNetV2', did you mean 'MobileNetV2'"):
        input_size("MobilNetV2")
