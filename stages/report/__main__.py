"""Stage `report`: one page that shows what every stage found, and the card of the model."""

from pathlib import Path

from stages.common.log import log
from stages.common.pages import fill
from stages.common.params import Params
from stages.common.paths import REPORTS
from stages.common.stage import run
from stages.report.cautions import cautions
from stages.report.facts import read_facts
from stages.report.origin import origin
from stages.report.words import cell, markdown

PAGE = REPORTS / "index.html"
CARD = Path("models/README.md")
_SECTIONS = {
    "summary": "Summary",
    "data": "Data quality",
    "split": "Split",
    "augmentation": "Augmentation",
    "candidates": "Candidates",
    "training": "Training",
    "test": "Test results",
    "calibration": "Calibration",
    "errors": "Errors",
    "explanations": "Explanations",
    "label_errors": "Probable label errors",
    "reproduce": "How to reproduce",
}
# Nine of the 256 colours of the heat maps, from the weakest to the strongest.
_INFERNO = [
    *("#000004", "#210c4a", "#57106e", "#8a226a", "#bc3754", "#e45a31", "#f98e09", "#f9cb35"),
    "#fcffa4",
]
_OPACITY = 0.6
"""Of the hottest place. (The module that draws them needs libraries that a page does not.)"""


def main(params: Params) -> None:
    """Write the page and the card; the page loads pictures of photos from the folders beside it."""
    facts = read_facts(params)
    facts |= {"cautions": cautions(facts), "origin": origin(params.ingest.source)}
    template = Path(__file__).with_name("page.html")
    page = fill(template, cell, sections=_SECTIONS, colors=_legend(), **facts)
    PAGE.write_text(page + "\n", encoding="utf-8", newline="\n")
    card = fill(Path(__file__).with_name("card.md"), markdown, **facts)
    CARD.parent.mkdir(exist_ok=True)
    CARD.write_text(card + "\n", encoding="utf-8", newline="\n")
    log(f"report: {PAGE}, and of the model {CARD}")


def _legend() -> list[str]:
    """The colours with the opacity that they have on a photo, see `stages.common.overlays`."""
    last = len(_INFERNO) - 1
    shares = [_OPACITY * place / last for place in range(len(_INFERNO))]
    return [f"{color}{round(255 * one):02x}" for color, one in zip(_INFERNO, shares, strict=True)]


if __name__ == "__main__":
    run(main)
