"""Charts as SVG files of which the bytes depend on the figures alone."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Text stays text, so a page can be searched and no font is embedded; the salt makes the ids of
# clip paths the same each time.
matplotlib.rcdefaults()  # not what stands in a matplotlibrc of this machine
plt.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "darkroom",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,  # a class may be called $x$
        "figure.constrained_layout.use": True,
    }
)

# Okabe and Ito 2008, distinguishable with every common colour blindness.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"
_MOST_LETTERS = 28


def short_name(name: str) -> str:
    """As much of a name from the data as an axis has room for, in letters that can be drawn."""
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )
    return shown if len(shown) <= _MOST_LETTERS else shown[: _MOST_LETTERS - 1] + "…"


def save_chart(figure: Figure, path: Path) -> None:
    """Write an SVG without date and version, and close the figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
