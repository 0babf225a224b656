"""Images whose label is probably wrong, by what models say that never saw them in training."""

import itertools
import warnings

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from PIL import Image
from scipy import stats

from stages.common.charts import short_name
from stages.common.encoding import decode
from stages.common.pictures import contact_sheet

SHOWN = 40
_IN_A_ROW = 10
_OUTLIER = 3.5


def find_label_errors(
    task: str, truth: np.ndarray, predictions: np.ndarray, classes: list[str], separator: str
) -> pd.DataFrame:
    """The images whose label is probably wrong, the worst first.

    Classes: confident learning, Northcutt et al. 2021, "Confident learning: Estimating uncertainty
    in dataset labels". It counts how many images of each class are confidently taken for each
    other class, and names as many of those with the largest margin for the other class.
    Labels: the same for each label, present or not. Numbers: residuals whose modified z-score is
    above 3.5 (Iglewicz and Hoaglin 1993, "How to detect and handle outliers").

    Args:
        task: One of `TASKS`.
        truth: int (n,) code of the class, 0 or 1 (n, labels), or float (n,).
        predictions: Out of fold: from models that were not trained on the image. Probabilities
            (n, classes), probabilities (n, labels), or numbers (n,).
        classes: All classes or labels in the order of their codes; none for numbers.
        separator: Between several labels of one image.

    Returns:
        `position` in `truth`; `quality` between 0 and 1, the probability of the label (of several,
        of the least likely decision; of a number, that a normal residual would be as large);
        `suggested`, the label that the predictions say, as text; and for numbers `outlier`, the
        modified z-score of the residual.
    """
    if task == "regression":
        outlier = _modified_z_scores(truth - predictions)
        table = {"quality": 2 * stats.norm.sf(np.abs(outlier)), "outlier": outlier}
        suspect, suggested = np.abs(outlier) > _OUTLIER, predictions
        badness = np.abs(outlier)
    else:
        suspect, quality, suggested = (
            _suspect_labels(truth, predictions)
            if task == "multilabel"
            else _suspect_classes(truth, predictions)
        )
        table, badness = {"quality": quality}, -quality
    found = pd.DataFrame({"position": np.arange(len(truth)), **table})
    found.insert(2, "suggested", decode(suggested, task, classes, separator))
    order = np.argsort(-badness, kind="stable")
    return found.iloc[order[suspect[order]]].reset_index(drop=True)


def draw_label_errors(labels: np.ndarray, suggested: np.ndarray, images: np.ndarray) -> Image.Image:
    """A contact sheet of the worst 40; those with the same label and suggestion share a row.

    Args:
        labels: (m,) text, the worst first; none give an empty sheet.
        suggested: (m,) text.
        images: uint8 (m, h, w, c); no more than 40 are looked at.
    """
    rows: dict[str, list[np.ndarray]] = {}
    for label, other, image in itertools.islice(
        zip(labels, suggested, images, strict=False), SHOWN
    ):
        names = [short_name(name) or "nothing" for name in (label, other)]
        caption = "labelled {}, looks like {}".format(*names)
        rows.setdefault(caption, []).append(image)
    return contact_sheet(
        [
            (caption, of_row[start : start + _IN_A_ROW])
            for caption, of_row in rows.items()
            for start in range(0, len(of_row), _IN_A_ROW)
        ]
    )


def _suspect_classes(
    truth: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    suspect = np.zeros(len(truth), dtype=bool)
    # Where all images have one label, nothing says how a model is sure of another.
    if len(np.unique(truth)) > 1:
        with warnings.catch_warnings():
            # A class without images, or with one, has no label that could be taken from it.
            warnings.filterwarnings("ignore", "May not flag all label issues in class")
            suspect = find_label_issues(
                truth, probabilities, filter_by="prune_by_noise_rate", n_jobs=1
            )
    quality = probabilities[np.arange(len(truth)), truth]
    return suspect, quality, np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]


def _suspect_labels(
    truth: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    suspect = np.zeros(truth.shape, dtype=bool)
    quality = np.zeros(truth.shape)
    for label, (given, yes) in enumerate(zip(truth.T, probabilities.T, strict=True)):
        both = np.column_stack([1 - yes, yes])
        suspect[:, label], quality[:, label], _ = _suspect_classes(given, both)
    return suspect.any(axis=1), quality.min(axis=1), np.where(suspect, 1 - truth, truth)


def _modified_z_scores(residuals: np.ndarray) -> np.ndarray:
    """Distances from the median, in units of the standard deviation that the median distance of
    normal residuals would mean; all 0 if more than half of the residuals are the same."""
    distances = residuals - np.median(residuals)
    scale = stats.median_abs_deviation(residuals, scale="normal")
    return distances / scale if scale > 0 else np.zeros(len(residuals))
