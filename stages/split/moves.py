"""How a split differs from the one before."""

import numpy as np
import pandas as pd


def describe_moves(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """How many images stand elsewhere than before, are new, or are gone.

    An image that came from or went to test, or was or is left out, changed its side and not its
    fold. Of the folds those repeats count that both have.

    Args:
        before, after: Tables as `splits.csv`.

    Example:
        >>> columns = ["id", "split", "fold"]
        >>> before = pd.DataFrame([["a", "train", 0], ["b", "test", -1]], columns=columns)
        >>> after = pd.DataFrame([["a", "train", 1], ["c", "test", -1]], columns=columns)
        >>> describe_moves(before, after)
        'of 1 images that stayed, 0 changed their side and 1 their fold; 1 new, 1 gone'
    """
    both = before.merge(after, on="id", suffixes=("_before", "_after"))
    repeats = [name for name in before if name.startswith("fold") and name in after]
    old, new = (both[[f"{name}_{when}" for name in repeats]] for when in ("before", "after"))
    in_both = (old["fold_before"] >= 0) & (new["fold_after"] >= 0)
    other_fold = in_both & np.any(old.to_numpy() != new.to_numpy(), axis=1)
    other_side = both["split_before"] != both["split_after"]
    return (
        f"of {len(both):,} images that stayed, {other_side.sum():,} changed their side and "
        f"{other_fold.sum():,} their fold; {len(after) - len(both):,} new, "
        f"{len(before) - len(both):,} gone"
    )
