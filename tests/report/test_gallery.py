"""The images that the page's script reads."""

import json

import pandas as pd

from stages.report.gallery import FIRST, embedded, gallery


def many(count: int, source: str = "cat/{}.jpg") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"{number:016x}" for number in range(count)],
            "source": [source.format(number) for number in range(count)],
            "label": "cat",
            "predicted": "dog",
            "confidence": 0.123456789,
            "suspicion": range(count),
        }
    )


def places(maps: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    where = {"border": 0.12345, "entropy": 0.5, "peak_x": 0.25, "peak_y": 0.75, "zero": False}
    pairs = [{"id": image, "method": method} for method in methods for image in maps["id"]]
    table = pd.DataFrame(pairs).assign(**where)
    return table.assign(border=table["border"] + table.index)


def shown(maps: pd.DataFrame, methods: list[str]) -> dict:
    return gallery(maps, places(maps, methods), methods, separator=None)


def test_the_most_suspicious_stand_first_with_few_digits():
    found = shown(many(30), ["gradcam", "layercam"])
    data = json.loads(found["data"])
    assert data["facts"]["fields"] == ["id", "source", "label", "predicted", "confidence"]
    assert data["facts"]["places"] == ["border", "entropy", "peak_x", "peak_y", "zero"]
    heat = [[29.123, 0.5, 0.25, 0.75, False], [59.123, 0.5, 0.25, 0.75, False]]
    assert data["items"][0] == [f"{29:016x}", "cat/29.jpg", "cat", "dog", 0.1235, heat]
    assert len(data["items"]) == found["shown"] == found["total"] == 30
    assert len(found["first"]) == FIRST


def test_of_more_than_fit_on_the_page_the_most_suspicious_are_kept():
    found = shown(many(20_000, source="x" * 300 + "{}"), ["gradcam"])
    assert found["total"] == 20_000 and 1000 < found["shown"] < 10_000
    assert len(found["data"].encode()) < 3_000_000
    assert json.loads(found["data"])["items"][0][0] == f"{19_999:016x}"


def test_embedded_texts_cannot_end_the_script():
    hostile = "</script><!-- <script>alert(1)"
    assert "<" not in embedded([hostile])
    assert json.loads(embedded([hostile])) == [hostile]
