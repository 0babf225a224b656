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
    "confidence": 4,
}
"""What the page knows of an image, and the digits that it shows."""
_PLACES = {"border": 3, "entropy": 3, "peak_x": 3, "peak_y": 3, "zero": None}
"""What it knows of each of its maps."""

# The page must stay below 5 MB whatever the number of images.
_BYTES = 2_500_000


def gallery(
    maps: pd.DataFrame, attention: pd.DataFrame, methods: list[str], separator: str | None
) -> dict:
    """The most suspicious images first, as many as fit on the page.

    Args:
        maps: `reports/gradcam/summary.csv`.
        attention: `reports/gradcam/attention.csv`: every method of every image.
        methods: Those with an overlay of every image, the one that is shown first in front.
        separator: What stands between several labels of an image; None: there is only one.

    Returns:
        `items` and `data` (all that fit as JSON for the script), `first` (rows of the first ones,
        with the addresses of their pictures), `shown` and `total`.
    """
    ordered = maps.sort_values(["suspicion", "id"], ascending=[False, True], kind="stable")
    fields = [name for name in _FIELDS if name in maps]
    rows = _rounded(ordered, fields, _FIELDS).to_dict("records")
    places = _by_image(attention, methods, ordered["id"])
    texts = _fitting(
        [embedded([*row.values(), one]) for row, one in zip(rows, places, strict=True)]
    )
    facts = {"fields": fields, "places": list(_PLACES), "methods": methods, "separator": separator}
    data = Markup('{"facts":') + embedded(facts) + Markup(',"items":[')
    return {
        "data": data + Markup(",\n").join(texts) + Markup("]}"),
        "first": [row | addresses(row["id"], methods[0]) for row in rows[: min(FIRST, len(texts))]],
        "shown": len(texts),
        "total": len(maps),
    }


def _by_image(attention: pd.DataFrame, methods: list[str], ids: pd.Series) -> list[list[list]]:
    """Of each image, in this order, for each method what `_PLACES` names."""
    known = _rounded(attention, list(_PLACES), _PLACES)
    cells = dict(
        zip(
            zip(attention["id"], attention["method"], strict=True),
            known.astype(object).to_numpy().tolist(),
            strict=True,
        )
    )
    return [[cells[image, method] for method in methods] for image in ids]


def _rounded(table: pd.DataFrame, names: list[str], digits: dict[str, int | None]) -> pd.DataFrame:
    wanted = {name: digits[name] for name in names if digits[name] is not None}
    return table[names].round(wanted)


def embedded(value: object) -> Markup:
    """JSON that can stand in an element `script`, whatever texts it holds.

    Only `<` could end the element or begin a comment.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", r"\u003c"))


def addresses(identity: str, method: str) -> dict[str, str]:
    """Where the `photo` of an image and its `overlay` lie, from the page."""
    return {
        "photo": f"gradcam/photos/{quote(identity)}.jpg",
        "overlay": f"gradcam/overlays/{quote(method)}/{quote(identity)}.jpg",
    }


def _fitting(texts: list[Markup]) -> list[Markup]:
    """The first of them that fit on the page together."""
    sizes = itertools.accumulate(len(text.encode()) + 2 for text in texts)
    return texts[: sum(size <= _BYTES for size in sizes)]
