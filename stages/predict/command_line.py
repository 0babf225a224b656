"""The command line of `predict`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.common.command_line import Parser, one_of
from stages.common.keras_names import NETWORKS
from stages.predict.outputs import FORMATS

_DESCRIPTION = """\
Predict photos with the model that `dvc repro` made, or with an untouched
ImageNet classifier. Photos are decoded as `ingest` does: any format, upright,
in the size, colour and fit of params.yaml. With test_time_augmentation: true
in its section evaluate, a prediction is the mean over a photo and its variants."""
_EPILOG = """\
examples:
  python -m stages.predict photo.jpg more-photos/
  python -m stages.predict --format csv photos/ > predictions.csv
  find photos -name '*.jpg' | python -m stages.predict --top 1
  python -m stages.predict photos/ --explain
  python -m stages.predict --pretrained EfficientNetLite0 photo.jpg
  python -m stages.predict --pretrained MobileNetV2 --weights file.h5 photo.jpg

formats:
  table  for people; of a multilabel model, * marks labels from 50 % on
  csv    columns path, rank, class, confidence; of a regression path, value
  json   one array, with a line for each photo: {"path", "predictions":
         [{"class", "confidence"}, ...]}, of a regression {"path", "value"},
         and "overlay", the path of the heat map, with --explain
  All are written photo by photo: 100,000 photos take no more memory than 100.

exit code:
  0  all photos were predicted
  1  some could not be read (an error line for each, the others are predicted),
     or nothing could be done
  2  the command line is wrong
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read and check the command line; a wrong one ends the program."""
    parser = Parser("predict", _DESCRIPTION, _EPILOG)
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="a photo, a folder (searched with all folders in it, in the order of names), or - for "
        "paths on standard input, one a line; without any IMAGE a pipe is read too",
    )
    parser.add_argument(
        "--top",
        type=_count,
        metavar="N",
        help="so many classes of each photo, the likeliest first (default: 5; of a multilabel "
        "model all labels)",
    )
    parser.add_argument(
        "--format",
        type=one_of("format", list(FORMATS)),
        default="table",
        metavar="FORMAT",
        help="table, csv or json (default: table)",
    )
    parser.add_argument(
        "--explain",
        nargs="?",
        const="explained",
        metavar="FOLDER",
        help="draw the Grad-CAM heat map of each photo's top class over the photo, into FOLDER "
        "(default: explained); put it behind the photos, or name the FOLDER",
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", metavar="PATH", help="a trained model (default: models/model.keras)"
    )
    model.add_argument(
        "--pretrained",
        type=one_of("network", NETWORKS),
        metavar="NETWORK",
        help="an ImageNet classifier as its authors trained it, on the middle square of each "
        "photo, needs no params.yaml: EfficientNetLite0 (its weights are installed), or one of "
        "keras.applications, such as MobileNetV2 or ResNet50 (downloads them)",
    )
    model.add_argument(
        "--weights",
        metavar="FILE",
        help="with --pretrained: a file in the layout of keras.applications, with the classifier",
    )
    model.add_argument(
        "--size",
        type=_count,
        metavar="PIXELS",
        help="with --pretrained: height and width to see the photos in (default: the network's)",
    )
    options = parser.parse_intermixed_args(arguments)
    if options.pretrained and options.model:
        parser.error("expected --model or --pretrained, received both")
    for name in ["weights", "size"]:
        if getattr(options, name) and not options.pretrained:
            parser.error(f"expected --{name} with --pretrained NETWORK, received it alone")
    if options.explain and Path(options.explain).is_file():
        parser.error(f"expected --explain with a folder, received the file {options.explain!r}")
    return options


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, received {text!r}")
    return int(text)
