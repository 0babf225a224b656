"""The page: names from outside are text, nothing is loaded from elsewhere, bytes are the same."""

import base64
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.common import overlays
from stages.common.tasks import TASKS
from tests.report.made_up_reports import CHARTS, EVIL, PAGE, SVG, render, write_reports


def test_labels_and_sources_stand_on_the_page_as_text():
    write_reports(label="cat", source="cat/1.jpg")
    tags = [tag for tag, _ in render().elements]
    write_reports(label=EVIL, source=f"folder/{EVIL}.jpg")
    page = render()
    assert [tag for tag, _ in page.elements] == tags
    assert tags.count("script") == 2  # the images as JSON, and the page's own
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert page.text.count(EVIL) > 14
    assert EVIL not in PAGE.read_text()
    assert EVIL not in Path("models/README.md").read_text()


def test_the_commands_of_the_page_find_the_commits_that_made_the_model():
    write_reports()
    params, lock = Path("params.yaml").read_text(), Path("requirements.lock").read_text()
    outs = [{"path": "models/model.keras", "hash": "md5", "md5": "cafe"}]
    traced = json.dumps({"stages": {"finetune": {"outs": outs}}})
    git("init", "--quiet")
    commits = []
    for changed in [
        {"README.md": "nothing yet"},
        {"params.yaml": params, "requirements.lock": lock, "dvc.lock": traced},
        {"params.yaml": "# as before\n" + params},
        {"params.yaml": params, "dvc.lock": traced.replace("cafe", "beef")},
        {"dvc.lock": traced},
        {"requirements.lock": "keras==3.2"},
    ]:
        for name, content in changed.items():
            Path(name).write_text(content)
        git("add", *changed)
        git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "next")
        commits.append(git("rev-parse", "HEAD").strip())
    Path("requirements.lock").write_text(lock)
    script = re.search(r"git rev-list .*?\ndone\n", render().text, re.DOTALL)[0]
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (found.stdout.split(), found.stderr) == ([commits[4], commits[1]], "")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def test_of_many_test_images_it_is_said_which_are_explained():
    write_reports()
    text = " ".join(render().text.split())
    assert "Of the 148 test images 2 are explained: right and wrong ones of each class" in text
    facts = Path("reports/metrics.json")
    facts.write_text(facts.read_text().replace("148", "2"))
    assert "are explained" not in render().text


def test_methods_whose_maps_stay_alike_are_named():
    write_reports()
    text = " ".join(render().text.split())
    assert "These maps hardly depend on what the model has learned: layercam." in text


def test_every_address_is_on_the_page_or_beside_it():
    write_reports()
    page = render()
    addresses = page.addresses()
    anchors = [one for one in addresses if one.startswith("#")]
    inside = [one for one in addresses if one.startswith("data:")]
    beside = [one for one in addresses if one not in anchors and one not in inside]
    assert len(set(anchors)) == 12
    assert {one[1:] for one in anchors} <= {attrs.get("id") for _, attrs in page.elements}
    assert len(inside) == 6  # one of them is the icon, which is empty
    for one in inside[1:]:
        kind, _, content = one.partition(";base64,")
        assert (kind, base64.b64decode(content).decode()) == ("data:image/svg+xml", SVG)
    assert sorted(beside) == [
        "augment/variants.jpg",
        "gradcam/classes.jpg",
        "gradcam/overlays/gradcam/a1.jpg",
        "gradcam/overlays/gradcam/a2.jpg",
        "gradcam/overlays/gradcam/a2.jpg",
        "gradcam/photos/a1.jpg",
        "gradcam/photos/a2.jpg",
        "gradcam/photos/a2.jpg",
        "ingest/duplicates.jpg",
        "ingest/quality.jpg",
        "kfold/label_errors.jpg",
    ]
    styles = "".join(re.findall(r"<style>.*?</style>", PAGE.read_text(), re.DOTALL))
    assert len(styles) > 100
    assert not re.search(r"url\(|@import", styles)


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
        "hidden: strategy partial, cut behind block5_conv1; trained on 10 images;",
        "weights of epoch 4 kept. 12,345 of 1,234,567 parameters were trained",
        "Strategy auto became partial, since the images are few and unlike.",
        "Heat maps of layer conv",
        "1 heat map is zero everywhere",
        "Do not believe these heat maps, which do not beat the controls: layercam.",
        "1 image repeats another one under a different label",
    ):
        assert expected in text


def test_the_split_is_counted_over_the_folds():
    write_reports()
    render()
    row = r'<tr><td class="text">(?:cat|dog)</td>(?:<td>\d[\d,]*</td>){3}</tr>'
    cells = re.findall(row, PAGE.read_text())
    assert [re.findall(r">([\w,]+)<", row) for row in cells] == [
        ["cat", "1,234", "0", "0"],
        ["dog", "0", "0", "1"],
    ]


def change_split(**facts: object) -> None:
    path = Path("reports/split/summary.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_given_sides_leaks_missing_classes_and_the_largest_deviation_are_told():
    write_reports()
    text = " ".join(render().text.split())
    for expected in (
        "1,249 of the 1,250 images to which a side was given stand there.",
        "1 images are in 1 groups that were given two sides; these groups were put into train.",
        "No images of cat in validation.",
        "farthest from its ratio is cat: 12.5% of its 1,234 images are in test, wanted 10.0%.",
    ):
        assert expected in text
    assert ["g1", "c1", "cat/1.jpg", "cat", "test", "moved to train"] in rows_of(
        "group", "given_split"
    )
    change_split(leaks="drop", assignment="stable")
    text = " ".join(render().text.split())
    assert "these groups were left out." in text
    assert "By a hash of each group, the ratios hold on average" in text


def test_where_nothing_is_given_or_missing_little_is_said():
    write_reports()
    Path("reports/split/leaks.csv").write_text("group,id,source,label,given_split,done\n")
    change_split(given=0, given_kept=0, leaking_groups=0, leaking_images=0, missing=[])
    text = " ".join(render().text.split())
    assert "to which a side was given" not in text and "two sides" in text
    assert "No leaks: no group was given two sides." in text
    assert "No images of" not in text


def test_of_very_many_missing_classes_some_are_named():
    write_reports()
    change_split(missing=[{"label": f"class {one}", "side": "test"} for one in range(25)])
    text = " ".join(render().text.split())
    assert "class 19 in test and 5 more." in text
    assert "class 20" not in text


def overlays_in_gallery() -> list[str]:
    """The ids of the images whose heat maps stand there without script, in this order."""
    gallery = re.search(r'<ul class="gallery".*?</ul>', PAGE.read_text(), re.DOTALL)[0]
    return re.findall(r"overlays/gradcam/(\w+)", gallery)


def test_the_most_suspicious_come_first_and_wrong_ones_are_marked():
    write_reports(label="zebra")  # behind "dog" in any other order
    page = render()
    assert overlays_in_gallery() == ["a2", "a1"]
    assert "dog, is zebra" in page.text


def test_the_chosen_candidate_is_the_one_that_is_marked():
    write_reports()
    render()
    rows = re.findall(r'<tr class="chosen"><td class="text">(\w+)</td>', PAGE.read_text())
    assert rows == ["hidden"]


def rows_of(name: str, further: str = "") -> list[list[str]]:
    """The rows of the first table whose first column has that name, and another one the second."""
    tables = re.findall(r"<table>.*?</table>", PAGE.read_text(), re.DOTALL)
    start = rf'<table>\n<thead><tr><th scope="col"[^>]*>{name}</th>'
    found = next(one for one in tables if re.match(start, one) and f">{further}" in one)
    rows = re.findall(r"<tr.*?</tr>", found, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_what_was_planned_and_done_stands_by_phase():
    write_reports()
    render()
    assert rows_of("phase") == [
        ["phase", "epochs", "iterations per epoch", "iterations"],
        ["head", "5 of 5", "3", "15 of 15"],
        ["all", "7 of 9", "3", "21 of 27"],
    ]


def test_layers_show_whether_training_moved_them_before_and_after():
    write_reports()
    render()
    assert rows_of("type") == [
        ["type", "name", "trainable_before", "trainable", "parameters"],
        ["Dense", "logits", "False", "True", "12,345"],
    ]


def test_candidates_show_small_p_values_and_leave_unknown_ones_empty():
    write_reports()
    table = pd.read_csv("reports/kfold/summary.csv")
    table.assign(p_value=[0.0004, None]).to_csv("reports/kfold/summary.csv", index=False)
    render()
    column = rows_of("candidate")[0].index("p_value")
    assert [row[column] for row in rows_of("candidate")[1:]] == ["", "0.0004"]  # chosen first


def test_probable_label_errors_stand_with_what_they_look_like():
    write_reports()
    render()
    assert ["id", "source", "label", "suggested", "quality"] in rows_of("id", "suggested")
    assert ["b1", "cat/1.jpg", "cat", "007", "0.125"] in rows_of("id", "suggested")


def test_without_label_errors_the_page_says_so_and_shows_no_picture():
    write_reports()
    Path("reports/kfold/label_errors.csv").write_text("id,source,label,suggested,quality\n")
    page = render()
    assert "None: no label of the train and validation images looks wrong" in page.text
    assert "kfold/label_errors.jpg" not in page.addresses()


def test_a_strategy_that_was_named_needs_no_reason():
    write_reports()
    path = Path("reports/finetune/summary.json")
    summary = json.loads(path.read_text())
    path.write_text(json.dumps(summary | {"why": None, "cut": None}))
    text = " ".join(render().text.split())
    assert "hidden: strategy partial; trained on 10 images" in text
    assert "since" not in text


VERDICTS = {
    "binary": "right on 90.0% of 148 test images (95 % interval 85.0% to 95.0%)",
    "multiclass": "commonest class would be right on 50.0%",
    "multilabel": "every label right on 60.0% of 148 test images (95 % interval 50.0% to 70.0%); "
    "of single labels 90.0% are right. Always answering the commonest set of labels would be right "
    "on 25.0%",
    "regression": "off by 3.25 in the mean of 148 test images (95 % interval 3 to 3.5). Always "
    "answering the mean of the training images would be off by 10.5",
}
HEADLINES = {
    "binary": ["accuracy", "balanced accuracy", "macro F1", "log loss", "calibration error"],
    "multilabel": [
        *("macro F1", "micro F1", "exact match", "label accuracy", "log loss"),
        "calibration error",
    ],
    "regression": ["RMSE", "MAE", "R²"],
}
HEADLINES["multiclass"] = HEADLINES["binary"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_its_verdict_figures_and_pictures(task):
    write_reports(task=task)
    page = render()
    assert VERDICTS[task] in " ".join(page.text.split())
    assert re.findall(r"<dt>(.*?)</dt>", PAGE.read_text()) == HEADLINES[task]
    inside = [one for one in page.addresses() if one.startswith("data:")]
    assert len(inside) == 4 + len(CHARTS[task])
    card = Path("models/README.md").read_text()
    assert VERDICTS[task] in " ".join(card.split())


def test_of_numbers_the_largest_errors_come_first():
    write_reports(task="regression")
    page = render()
    errors = re.search(r'<table class="errors">.*?</table>', PAGE.read_text(), re.DOTALL)[0]
    assert re.findall(r"overlays/gradcam/(\w+)", errors) == overlays_in_gallery() == ["a2", "a1"]
    assert "17, is 7" in page.text
    assert 'class="wrong"' not in PAGE.read_text()


def test_an_image_without_any_label_is_called_that():
    write_reports(task="multilabel")
    table = pd.read_csv("reports/gradcam/summary.csv")
    table.assign(predicted=["dog", ""]).to_csv("reports/gradcam/summary.csv", index=False)
    assert "nothing, is cat" in render().text


def test_a_page_holds_the_commonest_classes_of_very_many():
    write_reports()
    path = Path("reports/ingest/summary.json")
    many = {f"class {number:03}": 1 + (number == 77) for number in range(80)}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images_per_class": many}))
    page = render()
    assert "The 50 commonest of 80." in page.text
    assert len(rows_of("class")) == 1 + 50
    assert ["class 077", "2"] in rows_of("class")


def test_no_rejected_files_and_no_repeats_leave_no_empty_tables():
    write_reports()
    Path("reports/ingest/rejected.csv").write_text("source,reason,detail\n")
    summary = json.loads(Path("reports/ingest/summary.json").read_text())
    summary |= {"rejected": 0, "groups_of_repeats": 0}
    Path("reports/ingest/summary.json").write_text(json.dumps(summary))
    page = render()
    assert "Rejected files" not in page.text
    assert "ingest/duplicates.jpg" not in page.addresses()


def test_the_legend_shows_the_colours_as_strong_as_they_lie_on_a_photo():
    """A place without heat keeps the photo's colour, so the legend must not begin with black."""
    write_reports()
    render()
    page = PAGE.read_text()
    colors = re.search(r"linear-gradient\(90deg, (.*)\)", page)[1].split(", ")
    strengths = [int(color[7:], 16) / 255 for color in colors]
    assert strengths[0] == 0 and strengths[-1] == pytest.approx(overlays._OPACITY, abs=0.01)
    places = np.linspace(0, 255, len(colors)).round().astype(int)
    told = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in colors]
    np.testing.assert_allclose(told, overlays._COLORS[places], atol=4)


@pytest.mark.parametrize(
    ("task", "target", "words"),
    [
        ("multiclass", "predicted", "speak for the predicted class"),
        ("multiclass", "label", "speak for the true class"),
        ("multiclass", "dog", "speak for the class dog"),
        ("binary", ["<i>", "dog"], "speak for the class <i>, and against dog"),
        ("multilabel", "predicted", "speak for the most probable label"),
        ("multilabel", "label", "speak for the most probable of the true labels"),
        ("regression", "predicted", "raise the predicted number"),
    ],
)
def test_the_page_says_what_the_maps_explain(task, target, words):
    write_reports(task=task)
    path = Path("reports/gradcam/summary.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target": target}))
    assert f"the places that {words}." in render().text


def test_a_name_cannot_turn_the_letters_behind_it_around():
    write_reports(label="cat\N{RIGHT-TO-LEFT OVERRIDE}", source="\N{RIGHT-TO-LEFT ISOLATE}x.jpg")
    render()
    for path in (PAGE, Path("models/README.md")):
        text = path.read_text(encoding="utf-8")
        assert "cat\N{REPLACEMENT CHARACTER}" in text
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", text)
