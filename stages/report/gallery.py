"""The explained test images as the page's script reads them."""

import itertools
import json
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

FIRST = 24
"""So many stand on the page itself, for a reader without script."""

_FIELDS = {
    **{"id": None, "source": None, "label": None, "predicted": None, "residual": 6},
    **{"confidence": 4, "border": 3, "entropy": 3, "peak_x": 3, "peak_y": 3, "zero": None},
}
"""What the page knows of an image, and the digits that it shows."""

# The page must stay below 5 MB whatever the number of images.
_BYTES = 2_500_000


def gallery(maps: pd.DataFrame, methods: list[str], separator: str | None) -> dict:
    """The most suspicious images first, as many as fit on the page.

    Args:
        maps: `reports/gradcam/summary.csv`.
        methods: Those with an overlay of every image, the one that is shown first in front.
        separator: What stands between several labels of an image; None: there is only one.

    Returns:
        `items` and `data` (all that fit as JSON for the script), `first` (rows of the first ones,
        with the addresses of their pictures), `shown` and `total`.
    """
    ordered = maps.sort_values(["suspicion", "id"], ascending=[False, True], kind="stable")
    fields = [name for name in _FIELDS if name in maps]
    digits = {name: _FIELDS[name] for name in fields if _FIELDS[name] is not None}
    rows = ordered[fields].round(digits).to_dict("records")
    texts = _fitting([embedded(list(row.values())) for row in rows])
    facts = {"fields": fields, "methods": methods, "separator": separator}
    data = Markup('{"facts":') + embedded(facts) + Markup(',"items":[')
    return {
        "data": data + Markup(",\n").join(texts) + Markup("]}"),
        "first": [
            row | _addresses(row["id"], methods[0]) for row in rows[: min(FIRST, len(texts))]
        ],
        "shown": len(texts),
        "total": len(maps),
    }


def embedded(value: object) -> Markup:
    """JSON that can stand in an element `script`, whatever texts it holds.

    Only `<` could end the element or begin a comment.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", r"\u003c"))


def photo_address(identity: str) -> str:
    """Where the photo of an image lies, from the page."""
    return f"gradcam/photos/{quote(identity)}.jpg"


def _addresses(identity: str, method: str) -> dict[str, str]:
    overlay = f"gradcam/overlays/{quote(method)}/{quote(identity)}.jpg"
    return {"photo": photo_address(identity), "overlay": overlay}


def _fitting(texts: list[Markup]) -> list[Markup]:
    """The first of them that fit on the page together."""
    sizes = itertools.accumulate(len(text.encode()) + 2 for text in texts)
    return texts[: sum(size <= _BYTES for size in sizes)]
