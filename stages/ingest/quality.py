"""Which photos are doubtful: dark, bright, blurred, empty, odd in shape."""

import numpy as np
import pandas as pd

from stages.common.params import Quality
from stages.ingest.measures import DIGITS, Measures


def find_issues(measures: np.ndarray, sizes: np.ndarray, quality: Quality) -> pd.DataFrame:
    """What is doubtful about which images.

    Args:
        measures: float32 (n, 4), the columns as in `Measures`.
        sizes: int64 (n, 2), width and height, pixels.
        quality: Beyond what an image is doubtful.

    Returns:
        A row for each doubt: `image` (its position), `issue` and `value`, the worst of an issue
        first.
    """
    columns = Measures(*measures.T)
    aspect, side = sizes[:, 0] / sizes[:, 1], np.sqrt(sizes[:, 0] * sizes[:, 1])
    aspect, side = _off_median(aspect), _off_median(side)
    found = {
        "dark": (columns.bright_end <= quality.dark, columns.bright_end, 1),
        "bright": (columns.dark_end >= quality.bright, columns.dark_end, -1),
        "blurred": (columns.sharpness <= quality.blur, columns.sharpness, 1),
        "low_information": (columns.information <= quality.information, columns.information, 1),
        "odd_aspect_ratio": (aspect > quality.aspect_ratio, aspect, -1),
        "odd_size": (side > quality.size, side, -1),
    }
    tables = []
    for issue, (doubtful, values, order) in found.items():
        images = np.flatnonzero(doubtful)
        images = images[np.argsort(order * values[images], kind="stable")]
        table = {"image": images, "issue": issue, "value": np.round(values[images], DIGITS)}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def _off_median(values: np.ndarray) -> np.ndarray:
    """How many times larger or smaller than the median each is, at least 1."""
    ratio = values / np.median(values)
    return np.maximum(ratio, 1 / ratio)
