"""The page: names from outside are text, nothing is loaded from elsewhere, bytes are the same."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

from stages.report.__main__ import PAGE, main

EVIL = "<script>alert(\"1\")</script> & 'x'"
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><text>chart</text></svg>'


class Page(HTMLParser):
    """What a browser makes of a page: its elements, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def addresses(self) -> list[str]:
        loading = {"src", "href", "srcset", "poster", "action", "data", "background", "cite"}
        return [
            value
            for _, attributes in self.elements
            for name, value in attributes.items()
            if name in loading or name.endswith(":href")
        ]


def write_reports(label: str = "cat", source: str = "cat/1.jpg", overlay: str = "1.jpg") -> None:
    """Write what the other stages report, small: two test images, the first of them wrong."""
    tables = {
        "ingest/rejected": {"source": [source], "reason": ["unreadable"], "detail": [label]},
        "split/summary": {
            "split": ["train", "train", "test"],
            "fold": [0, 1, -1],
            "label": [label, label, "dog"],
            "images": [1200, 34, 1],
            "groups": [4, 3, 1],
        },
        "kfold/summary": {
            "candidate": ["linear", "hidden"],
            "mean": [0.5, 0.75],
            "std": [0.1, 0.1],
            "ci95_low": [0.4, 0.6],
            "ci95_high": [0.6, 0.8],
            "selected": [False, True],
        },
        "finetune/layers": {
            "type": ["Dense"],
            "name": ["logits"],
            "trainable": [True],
            "parameters": [12345],
        },
        "evaluate/classes": {
            "label": [label, "dog"],
            "precision": [0.5, 1.0],
            "recall": [1.0, 0.5],
            "f1": [0.66, 0.66],
            "images": [1, 2],
        },
        "gradcam/summary": {
            "id": ["a1", "a2"],
            "source": ["dog/2.jpg", source],
            "label": ["dog", label],
            "predicted": ["dog", "dog"],
            "layer": ["conv", "conv"],
            "peak_x": [0.5, 0.1],
            "peak_y": [0.5, 0.1],
            "zero": [True, False],
            "file": ["reports/gradcam/overlays/2.jpg", f"reports/gradcam/overlays/{overlay}"],
        },
    }
    counts = ["exact_copies", "found", "groups_of_repeats", "images_in_groups", "rejected", "used"]
    facts = {
        "reports/ingest/summary": dict.fromkeys(counts, 2)
        | {"images_per_class": {label: 1234, "dog": 1}},
        "reports/finetune/summary": {
            "candidate": "hidden",
            "train_images": 10,
            "epochs_planned": 9,
            "epochs_done": 7,
            "best_epoch": 4,
            "iterations_per_epoch": 3,
            "iterations_planned": 27,
            "iterations_done": 21,
            "parameters": 1234567,
            "trainable_parameters": 12345,
        },
        "reports/metrics": {
            "test": {
                "n": 148,
                "accuracy": 0.9,
                "balanced_accuracy": 0.8,
                "macro_f1": 0.7,
                "log_loss": 0.6,
                "ece": 0.05,
                "accuracy_ci95": [0.85, 0.95],
                "majority_baseline": 0.5,
            }
        },
        "models/choice": {"candidate": "hidden", "why": f"it knows {label}"},
    }
    charts = ["kfold/candidates", "finetune/curves", "evaluate/confusion", "evaluate/calibration"]
    files = {
        f"reports/{name}.csv": pd.DataFrame(tables[name]).to_csv(index=False) for name in tables
    }
    files |= {f"{name}.json": json.dumps(facts[name]) for name in facts}
    files |= {f"reports/{name}.svg": SVG for name in charts}
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)


def render() -> Page:
    main(params=None)
    return Page(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def in_an_empty_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_labels_and_sources_stand_on_the_page_as_text():
    write_reports(label="cat", source="cat/1.jpg")
    tags = [tag for tag, _ in render().elements]
    write_reports(label=EVIL, source=f"folder/{EVIL}.jpg")
    page = render()
    assert [tag for tag, _ in page.elements] == tags
    assert "script" not in tags
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    # Classes, rejected files, split, choice, figures of each class, and the wrong prediction.
    assert page.text.count(EVIL) == 8
    alternatives = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert f"Photo of {EVIL} and its heat map" in alternatives


def test_the_address_of_a_picture_leads_to_its_file_whatever_its_name():
    overlay = "100 % \"a\" & 'b' #1 <i>?.jpg"
    write_reports(overlay=overlay)
    addresses = render().addresses()
    assert f"gradcam/overlays/{overlay}" in [unquote(one) for one in addresses]
    # A '#' or '?' that is not quoted would end the path.
    assert not any(urlsplit(one).query for one in addresses)
    assert [one for one in addresses if urlsplit(one).fragment and not one.startswith("#")] == []


def test_every_address_is_on_the_page_or_beside_it():
    write_reports()
    page = render()
    addresses = page.addresses()
    anchors = [one for one in addresses if one.startswith("#")]
    inside = [one for one in addresses if one.startswith("data:")]
    beside = [one for one in addresses if one not in anchors and one not in inside]
    assert len(anchors) == 7
    assert {one[1:] for one in anchors} <= {attrs.get("id") for _, attrs in page.elements}
    assert len(inside) == 4
    for one in inside:
        kind, _, content = one.partition(";base64,")
        assert (kind, base64.b64decode(content).decode()) == ("data:image/svg+xml", SVG)
    assert sorted(beside) == [
        "augment/variants.jpg",
        "gradcam/overlays/1.jpg",
        "gradcam/overlays/2.jpg",
        "ingest/duplicates.jpg",
    ]
    styles = "".join(re.findall(r"<style>.*?</style>", PAGE.read_text(), re.DOTALL))
    assert len(styles) > 100
    assert not re.search(r"url\(|@import", styles)
    assert "link" not in {tag for tag, _ in page.elements}


def test_rendering_again_gives_the_same_bytes():
    write_reports()
    render()
    first = PAGE.read_bytes()
    render()
    assert PAGE.read_bytes() == first


def test_the_page_says_what_the_reports_say():
    write_reports()
    text = " ".join(render().text.split())
    for expected in (
        "right on 90.0% of 148 test images (95 % interval 85.0% to 95.0%)",
        "commonest class would be right on 50.0%",
        "Chosen: hidden, it knows cat.",
        "7 of 9 epochs, 21 of 27 iterations, on 10 images; weights of epoch 4 kept",
        "12,345 of 1,234,567 parameters were trained",
        "Grad-CAM of layer conv",
        "1 maps are zero everywhere",
    ):
        assert expected in text


def test_the_split_is_counted_over_the_folds():
    write_reports()
    main(params=None)
    cells = re.findall(r"<tr><td>(?:cat|dog)</td>(?:<td>\d[\d,]*</td>){3}</tr>", PAGE.read_text())
    assert [re.findall(r">([\w,]+)<", row) for row in cells] == [
        ["cat", "1,234", "0", "0"],
        ["dog", "0", "0", "1"],
    ]


def test_wrong_predictions_come_first_and_are_marked():
    write_reports(label="zebra")  # behind "dog" in any other order
    page = render()
    figures = [attributes for tag, attributes in page.elements if tag == "figure"]
    pictures = [one for one in page.addresses() if one.startswith("gradcam/")]
    assert pictures == ["gradcam/overlays/1.jpg", "gradcam/overlays/2.jpg"]
    assert [attributes.get("class") for attributes in figures[-2:]] == ["wrong", None]
    assert "dog, is zebra" in page.text


def test_the_chosen_candidate_is_the_one_that_is_marked():
    write_reports()
    main(params=None)
    rows = re.findall(r'<tr class="chosen"><td>(\w+)</td>', PAGE.read_text())
    assert rows == ["hidden"]


def test_no_rejected_files_and_no_repeats_leave_no_empty_tables():
    write_reports()
    Path("reports/ingest/rejected.csv").write_text("source,reason,detail\n")
    summary = json.loads(Path("reports/ingest/summary.json").read_text())
    summary |= {"rejected": 0, "groups_of_repeats": 0}
    Path("reports/ingest/summary.json").write_text(json.dumps(summary))
    page = render()
    assert "Rejected files" not in page.text
    assert "ingest/duplicates.jpg" not in page.addresses()
