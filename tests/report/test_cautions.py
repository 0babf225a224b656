"""What speaks against the model is said, and nothing is said without a reason."""

import copy

import pytest

from stages.report.cautions import cautions

GOOD = {
    "task": "multiclass",
    "test": {"n": 100, "accuracy": 0.9, "accuracy_ci95": [0.8, 0.95], "majority_baseline": 0.5},
    "metric": "accuracy",
    "selected": {"ci95_low": 0.85, "ci95_high": 0.95},
    "split": {"leaking_groups": 0, "leaking_images": 0, "leaks": "train", "missing": []},
    "per_class": {"rows": [{"label": "cat", "images": 50, "recall": 0.9}]},
    "ingest": {"conflicts": 0, "rejected": 0, "found": 100, "quality": {}},
    "suspects": {"total": 0},
    "kept_epoch": {"loss": 0.2, "val_loss": 0.25, "accuracy": 0.95, "val_accuracy": 0.9},
    "finetune": {"best_epoch": 4, "phases": [{"epochs_planned": 9}]},
    "bins": [{"confidence": 0.9, "accuracy": 0.8, "images": 100}],
    "doubted": [],
    "gradcam": {
        **{"method": "gradcam", "randomised_correlation": 0.1, "zero": {"gradcam": 0}},
        "map_size": [7, 4],
    },
    "attention": {"rows": [{"class": "cat", "border": 0.3}]},
}


def changed(**changes: object) -> dict:
    """The facts of a good model but for some: `test__ece=0.2` changes `facts["test"]["ece"]`."""
    facts = copy.deepcopy(GOOD)
    for key, value in changes.items():
        *sections, name = key.split("__")
        section = facts
        for one in sections:
            section = section[one]
        section[name] = value
    return facts


def test_of_a_good_model_there_is_nothing_to_say():
    assert cautions(GOOD) == []


FINDINGS = {
    "leak": ({"split__leaking_groups": 2}, "split", False, "2 groups with 0 images"),
    "no better than a constant": (
        {"test__accuracy_ci95": [0.45, 0.95]},
        *("test", True, "not shown to be better"),
    ),
    "worse than expected": (
        {"selected__ci95_low": 0.93},
        *("candidates", False, "0.9, where 0.93 to 0.95 was expected"),
    ),
    "missing": (
        {"split__missing": [{"label": "cat", "side": "test"}]},
        *("split", True, "No images of cat in test."),
    ),
    "few": (
        {"per_class__rows": [{"label": "cat", "images": 9, "recall": 1.0}]},
        *("test", False, "cat (9)"),
    ),
    "failing": (
        {"per_class__rows": [{"label": "cat", "images": 50, "recall": 0.49}]},
        *("test", True, "cat (49%)"),
    ),
    "conflict": ({"ingest__conflicts": 1}, "data", False, "1 image"),
    "rejected": ({"ingest__rejected": 3}, "data", False, "3 files of 100"),
    "quality": ({"ingest__quality": {"odd_size": 4}}, "data", False, "odd size 4"),
    "label errors": ({"suspects__total": 7}, "label_errors", False, "7 labels"),
    "overfitted": (
        {"kept_epoch__accuracy": 1.0, "kept_epoch__val_accuracy": 0.8},
        *("training", False, "scores 1, on the validation images 0.8"),
    ),
    "last epoch": ({"finetune__best_epoch": 9}, "training", False, "more epochs"),
    "too sure": ({"test__ece": 0.1}, "calibration", False, "surer than it should be"),
    "shown maps": ({"doubted": ["gradcam"]}, "explanations", True, "gradcam"),
    "compared maps": ({"doubted": ["layercam"]}, "explanations", False, "layercam"),
    "random": ({"gradcam__randomised_correlation": 0.5}, "explanations", True, "0.50"),
    "zero": ({"gradcam__zero": {"gradcam": 2}}, "explanations", False, "2 heat maps are zero"),
    "one zero": ({"gradcam__zero": {"gradcam": 1}}, "explanations", False, "1 heat map is zero"),
    "coarse": ({"gradcam__map_size": [4, 2]}, "explanations", False, "only 4 x 2 places"),
    "border": (
        {"attention__rows": [{"class": "cat", "border": 0.6}]},
        *("explanations", False, "cat (60%)"),
    ),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_each_finding_is_told_alone_with_the_section_that_shows_it(name):
    changes, section, grave, words = FINDINGS[name]
    (found,) = cautions(changed(**changes))
    assert (found.section, found.grave) == (section, grave)
    assert words in found.text


def test_a_model_less_sure_than_right_is_called_so():
    bins = [{"confidence": 0.6, "accuracy": 0.9, "images": 10}]
    (found,) = cautions(changed(test__ece=0.3, bins=bins))
    assert "less sure than it should be" in found.text


def test_grave_findings_come_first():
    found = cautions(changed(ingest__rejected=3, doubted=["gradcam"]))
    assert [one.grave for one in found] == [True, False]


def test_of_numbers_lower_errors_are_better():
    numbers = {"mae": 2.0, "mae_ci95": [1.5, 2.5], "baseline_mae": 9.0, "rmse": 3.0}
    good = {"task": "regression", "test": numbers, "metric": "rmse", "per_class": {"rows": []}}
    good["selected"] = {"ci95_low": 2.5, "ci95_high": 3.5}
    assert cautions(changed(**good)) == []
    bad = {**good, "test": {**numbers, "baseline_mae": 2.2, "rmse": 4.0}}
    assert [one.section for one in cautions(changed(**bad))] == ["test", "candidates"]


@pytest.mark.parametrize(("val_loss", "sections"), [(0.39, []), (0.41, ["training"])])
def test_of_numbers_twice_the_loss_is_overfitted(val_loss, sections):
    numbers = {"mae": 2.0, "mae_ci95": [1.5, 2.5], "baseline_mae": 9.0, "rmse": 3.0}
    facts = {"task": "regression", "test": numbers, "metric": "mae", "per_class": {"rows": []}}
    kept = {"loss": 0.2, "val_loss": val_loss}
    expected = {"ci95_low": 1.0, "ci95_high": 3.0}
    found = cautions(changed(**facts, kept_epoch=kept, selected=expected))
    assert [one.section for one in found] == sections


def test_a_model_without_validation_images_is_not_called_overfitted():
    assert cautions(changed(kept_epoch={"loss": 0.2, "accuracy": 1.0})) == []
