"""Whether the heat maps of the sample lie where the lamps are.

make demo && python bench/lights.py

Red is lit at the top of a traffic light, yellow in the middle and green at the bottom. Of the test
images that are predicted rightly, this counts the peaks in the right third, by the method that is
shown first; and it prints how far that method beats its controls, and how alike its maps are to
those of random weights. The last line is JSON; the exit code is 1 outside the limits.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

REPORTS = Path("reports/gradcam")
THIRDS = {"red": 0, "yellow": 1, "green": 2}
LEAST_SHARE, MOST_ALIKE = 0.9, 0.5


def main() -> None:
    """Read what `dvc repro` wrote below the working folder."""
    facts = json.loads((REPORTS / "summary.json").read_text())
    maps = pd.read_csv(REPORTS / "summary.csv")
    right = maps[maps["label"] == maps["predicted"]]
    hits = np.floor(right["peak_y"] * 3) == right["label"].map(THIRDS)
    for color, of_color in hits.groupby(right["label"]):
        print(f"{color:8}{of_color.sum():4} of {len(of_color):4} peaks in the right third")
    print(f"{'all':8}{hits.sum():4} of {len(hits):4}, {hits.mean():.1%}")
    methods = pd.read_csv(REPORTS / "methods.csv").set_index("method")
    shown, controls = methods.loc[facts["method"]], methods.loc[["random", "centre"]]
    for measure in ("deletion", "insertion"):
        columns = [measure, f"{measure}_low", f"{measure}_high"]
        print(f"\n{methods.loc[[facts['method'], *controls.index], columns].round(3)}")
    apart = bool(
        shown["deletion_high"] < controls["deletion_low"].min()
        and shown["insertion_low"] > controls["insertion_high"].max()
    )
    alike = facts["randomised_correlation"]
    print(f"\ncorrelation with the maps of random weights {alike:.3f}")
    within = bool(hits.mean() >= LEAST_SHARE and apart and alike < MOST_ALIKE)
    found = {"share": round(hits.mean(), 4), "intervals_apart": apart, "correlation": alike}
    print(json.dumps({**found, "within_limits": within}))
    sys.exit(not within)


if __name__ == "__main__":
    main()
