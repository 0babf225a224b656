"""Which methods can be believed: their measures over all images, against those of the controls."""

import numpy as np
import pandas as pd
from scipy import stats

from stages.gradcam.controls import CONTROLS
from stages.gradcam.faithfulness import MEASURES


def compare(faithfulness: pd.DataFrame, zero: dict[str, int]) -> pd.DataFrame:
    """The means of the measures of each method and control.

    Args:
        faithfulness: `id`, `method` and the measures; every method of every image.
        zero: How many maps of each method are zero everywhere.

    Returns:
        `method`, `is_control`, `images`, `zero`; of each measure the mean and, as `<measure>_low`
        and `<measure>_high`, its 95 % interval; `beats_controls`: whether deletion is lower and
        insertion higher than that of both controls, the intervals of the differences on the same
        images apart from 0 (None for controls).
    """
    rows = []
    for method, table in faithfulness.groupby("method", sort=False):
        is_control = method in CONTROLS
        row = {"method": method, "is_control": is_control, "images": len(table)}
        row["zero"] = zero.get(method, 0)
        for measure in MEASURES:
            ends = interval(table[measure].to_numpy())
            names = [measure, f"{measure}_low", f"{measure}_high"]
            row |= dict(zip(names, [table[measure].mean(), *ends], strict=True))
        row["beats_controls"] = None if is_control else beats_controls(faithfulness, method)
        rows.append(row)
    return pd.DataFrame(rows)


def beats_controls(faithfulness: pd.DataFrame, method: str) -> bool:
    """Whether a method has a lower deletion and a higher insertion than each control."""
    for measure, sign in (("deletion", -1), ("insertion", 1)):
        values = faithfulness.pivot(index="id", columns="method", values=measure)
        for control in CONTROLS:
            low, _ = interval(sign * (values[method] - values[control]).to_numpy())
            if not low > 0:  # nor if there is no interval
                return False
    return True


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
