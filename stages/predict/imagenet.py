"""The untouched ImageNet classifiers: their sizes and the names of their 1,000 classes."""

from pathlib import Path

from stages.common.errors import InputError
from stages.common.keras_names import NETWORKS
from stages.common.names import unknown_name

# The first name of each WordNet 3.0 synset of ILSVRC 2012, in the order of the outputs of
# keras.applications; where two share their first name, something to tell them apart.
_NAMES = Path(__file__).with_name("imagenet_classes.txt")
_DEFAULT_SIZE = 224
_SIZES = {
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2L": 480,
    "EfficientNetV2M": 480,
    "EfficientNetV2S": 384,
    "InceptionResNetV2": 299,
    "InceptionV3": 299,
    "NASNetLarge": 331,
    "Xception": 299,
}


def class_names() -> list[str]:
    """The 1,000 classes in the order of the outputs, each name once."""
    return _NAMES.read_text(encoding="utf-8").splitlines()


def input_size(network: str) -> int:
    """Height and width of the images that a network was trained for, pixels.

    Raises:
        InputError: There is no such network.
    """
    if network not in NETWORKS:
        raise InputError(unknown_name("network", network, NETWORKS))
    return _SIZES.get(network, _DEFAULT_SIZE)
