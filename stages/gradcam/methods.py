"""Which methods can be believed: their measures over all images, against those of the controls."""

import numpy as np
import pandas as pd
from scipy import stats

from stages.gradcam.controls import CONTROLS
from stages.gradcam.faithfulness import MEASURES

_BETTER = {"deletion": -1, "insertion": 1}
"""What a method must beat the controls in: -1 if low is better, 1 if high is."""

_OF_CONTROLS = ("deletion", "insertion", "road")
"""Measured of the controls as of the methods, so that all are compared."""


def compare(faithfulness: pd.DataFrame, zero: dict[str, int]) -> pd.DataFrame:
    """The means of the measures of each method and control.

    Args:
        faithfulness: `id`, `method` and the measures; every method of every image.
        zero: How many maps of each method are zero everywhere.

    Returns:
        `method`, `is_control`, `images`, `zero`; of each measure the mean and, as `<measure>_low`
        and `<measure>_high`, its 95 % interval, see `within_images` (of sensitivity, which has no
        controls, the plain one); of deletion and insertion as `<measure>_lead`, `_lead_low` and
        `_lead_high` how much better than the controls the method is, see `lead`; `beats_controls`:
        whether it is in both, the intervals above 0 (None for controls).
    """
    values = {
        measure: faithfulness.pivot(index="id", columns="method", values=measure)
        for measure in MEASURES
    }
    spread = values | {measure: within_images(values[measure]) for measure in _OF_CONTROLS}
    rows = []
    for method, table in faithfulness.groupby("method", sort=False):
        is_control = method in CONTROLS
        row = {"method": method, "is_control": is_control, "images": len(table)}
        row["zero"] = zero.get(method, 0)
        for measure in MEASURES:
            ends = interval(spread[measure][method].to_numpy())
            names = [measure, f"{measure}_low", f"{measure}_high"]
            row |= dict(zip(names, [table[measure].mean(), *ends], strict=True))
        for measure, sign in _BETTER.items():
            found = [None] * 3 if is_control else lead(values[measure], method, sign)
            names = [f"{measure}_lead{end}" for end in ("", "_low", "_high")]
            row |= dict(zip(names, found, strict=True))
        ahead = [row[f"{measure}_lead_low"] for measure in _BETTER]
        row["beats_controls"] = None if is_control else all(low > 0 for low in ahead)
        rows.append(row)
    return pd.DataFrame(rows)


def within_images(values: pd.DataFrame) -> pd.DataFrame:
    """The values of which the interval of each method is taken: less what the images differ by.

    Images differ by more than methods do, and every method is measured on all of them. Intervals
    of the plain values would overlap although one method is better on nearly every image. So each
    image's mean over the methods is replaced by the mean of all (Cousineau 2005), and the values
    are drawn out to make up for the variance that this takes away (Morey 2008, "Confidence
    intervals from normalized data: a correction to Cousineau").

    Args:
        values: A row per image, a column per method and control; at least two columns.

    Returns:
        The same rows, columns and means of the columns.
    """
    means = values.mean()
    centred = values.sub(values.mean(axis=1), axis=0) + means.mean()
    return means + (centred - means) * np.sqrt(values.shape[1] / (values.shape[1] - 1))


def lead(values: pd.DataFrame, method: str, sign: int) -> tuple[float, float, float]:
    """How much better a method is than the control that comes closest to it: the mean of the
    differences on the same images, and its 95 % interval.

    Args:
        values: Of one measure; a row per image, a column per method and control.
        sign: 1 where a high measure is better, -1 where a low one is.
    """
    differences = [sign * (values[method] - values[one]).to_numpy() for one in CONTROLS]
    found = [(float(one.mean()), *interval(one)) for one in differences]
    return min(found, key=lambda one: one[1])


def judgement(compared: pd.DataFrame) -> dict[str, bool]:
    """Of each method in the table of `compare` whether it beats the controls."""
    methods = compared[~compared["is_control"]]
    return {one.method: bool(one.beats_controls) for one in methods.itertuples()}


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of (n,) values by Student's t; NaN for a single one."""
    if len(values) < 2:
        return np.nan, np.nan
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    reach = stats.t.ppf(0.975, len(values) - 1) * error
    return float(np.mean(values) - reach), float(np.mean(values) + reach)
