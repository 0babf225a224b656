"""Command `predict`: what a model says of photos that stand in no data set."""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from stages.common.command_line import run_command
from stages.common.errors import InputError, printable
from stages.common.paths import CLASSES, MODEL
from stages.predict.command_line import parse
from stages.predict.inputs import Photo, Unreadable, find_photos, read_lines, read_photos
from stages.predict.outputs import FORMATS, Result

if TYPE_CHECKING:
    from stages.predict.classifier import Classifier
    from stages.predict.explain import Explainer

_BATCH = 32
_TOP = 5
_FEW = 8  # photos that need no progress bar


class _Failures:
    """Tells of photos that cannot be used, a line each, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def tell(self, one: Unreadable) -> None:
        self.count += 1
        tqdm.write(f"error: {printable(one.path)}: {printable(one.why)}", file=sys.stderr)


def main(options: argparse.Namespace) -> int:
    """Predict photos and write what the model says of them.

    Returns:
        The exit code: 1 if a photo could not be used.
    """
    _check_files(options)
    found, count = _find(options.images)
    classifier = _load(options)
    explainer = _explainer(options, classifier)
    failures = _Failures()
    photos = read_photos(found, classifier.develop)
    shown = _progress(photos, count)
    results = _results(shown, classifier, explainer, options.top, failures)
    for text in FORMATS[options.format](results, classifier.task, classifier.classes):
        sys.stdout.write(text)
        sys.stdout.flush()
    return 1 if failures.count else 0


def _check_files(options: argparse.Namespace) -> None:
    """Find a missing file before seconds are spent on TensorFlow."""
    if options.pretrained:
        return
    needed = [Path(options.model or MODEL), CLASSES]
    for path in needed:
        if not path.is_file():
            raise InputError(
                f"{path}: expected a file that the pipeline makes, found none; run dvc repro "
                "first, or take an ImageNet classifier: --pretrained EfficientNetLite0"
            )


def _find(given: Sequence[str]) -> tuple[Iterator[str | Unreadable], int | None]:
    """The photos to predict, and how many they are if that is known before the pipe ends."""
    piped = "-" in given or (not given and not sys.stdin.isatty())
    named = [one for one in given if one != "-"]
    lines = read_lines(sys.stdin.buffer) if piped else iter(())
    found, count = find_photos(itertools.chain(named, lines)), None
    if not piped:
        known = list(found)
        found, count = iter(known), len(known)
    first = next(found, None)
    if first is None:
        raise InputError(
            f"expected at least one photo, found none in {_what(given, piped)}; give photos, "
            "folders, or paths on standard input; see --help"
        )
    return itertools.chain([first], found), count


def _what(given: Sequence[str], piped: bool) -> str:
    places = [*map(printable, given), *(["standard input"] if piped and not given else [])]
    return ", ".join(places) or "the command line"


def _load(options: argparse.Namespace) -> Classifier:
    from stages.predict.classifier import load_pretrained, load_trained

    if options.pretrained:
        return load_pretrained(options.pretrained, options.weights, options.size)
    from stages.common.params import load_params

    return load_trained(Path(options.model or MODEL), load_params("params.yaml"))


def _explainer(options: argparse.Namespace, classifier: Classifier) -> Explainer | None:
    if not options.explain:
        return None
    from stages.predict.explain import Explainer

    return Explainer(classifier, Path(options.explain))


def _progress(photos: Iterable[Photo | Unreadable], count: int | None) -> Iterable:
    """A bar on the terminal, unless the results themselves go there."""
    few = count is not None and count <= _FEW
    hidden = few or sys.stdout.isatty() or not sys.stderr.isatty()
    return tqdm(photos, total=count, desc="predict", unit="photo", disable=hidden)


def _results(
    photos: Iterable[Photo | Unreadable],
    classifier: Classifier,
    explainer: Explainer | None,
    top: int | None,
    failures: _Failures,
) -> Iterator[Result]:
    """What the model says of each photo, in their order; a batch is held in memory."""
    photos = iter(photos)
    while batch := list(itertools.islice(photos, _BATCH)):
        for one in batch:
            if isinstance(one, Unreadable):
                failures.tell(one)
        usable = [one for one in batch if isinstance(one, Photo)]
        if usable:
            yield from _predict(usable, classifier, explainer, top)


def _predict(
    photos: Sequence[Photo], classifier: Classifier, explainer: Explainer | None, top: int | None
) -> Iterator[Result]:
    images = np.stack([photo.image for photo in photos])
    predictions = classifier.predict(images, [photo.id for photo in photos])
    if classifier.task == "regression":
        rankings, codes = predictions.tolist(), np.ones(len(photos), int)  # what raises it
    else:
        orders = np.argsort(-predictions, axis=1, kind="stable")
        shown = top or (len(classifier.classes) if classifier.task == "multilabel" else _TOP)
        rankings = [
            [(classifier.classes[code], float(row[code])) for code in order[:shown]]
            for row, order in zip(predictions, orders, strict=True)
        ]
        codes = orders[:, 0]
    overlays = explainer(photos, codes) if explainer else [None] * len(photos)
    for photo, ranking, overlay in zip(photos, rankings, overlays, strict=True):
        yield Result(photo.path, ranking, overlay)


if __name__ == "__main__":
    # What Pillow warns of in files from strangers is no news to who asked for a prediction.
    warnings.simplefilter("ignore")
    run_command(main, parse)
