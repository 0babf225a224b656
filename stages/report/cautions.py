"""What a reader should know before believing the model: every finding that speaks against it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stages.common.tasks import TASKS
from stages.report.explanations import LIKE_RANDOM
from stages.report.words import some

# From here on a finding is worth a line at the top of the page.
_FEW_TEST_IMAGES = 10
_LOW_RECALL = 0.5
_OVERFITTED = 0.1
"""How much lower the score of the validation images is, 0 to 1."""
_OVERFITTED_LOSS = 2
"""How many times as large it is on the validation images, for numbers."""
_CALIBRATION_ERROR = 0.05
_FEW_PLACES = 4
"""Of the shorter side of a heat map."""
_HEAT_ON_BORDER = 0.5
"""The share of it, in the mean over the maps of a class."""

_NAMED = 5
"""So many classes or labels are named; of the others it is said how many there are."""


@dataclass(frozen=True)
class Caution:
    """One finding.

    Attributes:
        text: A sentence.
        section: The section of the page that shows more.
        grave: It may make the score or the explanations worthless.
    """

    text: str
    section: str
    grave: bool = False


def cautions(facts: dict[str, Any]) -> list[Caution]:
    """All findings, the grave ones first.

    Args:
        facts: Those of `read_facts`.
    """
    checks = [
        *(_leaks, _no_better_than_a_constant, _worse_than_expected),
        *(_missing, _few_test_images, _low_recall, _data),
        *(_overfitted, _last_epoch, _calibration),
        *(_do_not_beat_controls, _like_random_weights, _zero_maps),
        *(_coarse_maps, _heat_on_border),
    ]
    found = [caution for check in checks for caution in check(facts)]
    return sorted(found, key=lambda caution: not caution.grave)


def _leaks(facts: dict) -> Iterator[Caution]:
    split = facts["split"]
    if split["leaking_groups"]:
        done = "left out" if split["leaks"] == "drop" else "put into train"
        yield Caution(
            f"{_count(split['leaking_groups'], 'group')} with "
            f"{_count(split['leaking_images'], 'image')} had been given two sides of the split; "
            f"they were {done}.",
            "split",
        )


def _no_better_than_a_constant(facts: dict) -> Iterator[Caution]:
    task, test = facts["task"], facts["test"]
    name, baseline = {
        "multilabel": ("exact_match", "baseline_exact_match"),
        "regression": ("mae", "baseline_mae"),
    }.get(task, ("accuracy", "majority_baseline"))
    low, high = test.get(f"{name}_ci95", [test[name]] * 2)
    beaten = high < test[baseline] if task == "regression" else low > test[baseline]
    if not beaten:
        yield Caution(
            "The model is not shown to be better than always giving the same answer: the interval "
            f"of its {name.replace('_', ' ')} holds what that would score.",
            "test",
            grave=True,
        )


def _worse_than_expected(facts: dict) -> Iterator[Caution]:
    test, metric = facts["test"], facts["metric"]
    if metric not in test:
        return
    low, high = facts["selected"]["ci95_low"], facts["selected"]["ci95_high"]
    lower_is_better = TASKS[facts["task"]].better(metric) == "min"
    if test[metric] > high if lower_is_better else test[metric] < low:
        yield Caution(
            f"On the test images the {metric.replace('_', ' ')} is worse than the comparison "
            f"of candidates let expect: {test[metric]:.4g}, where {low:.4g} to {high:.4g} was "
            "expected.",
            "candidates",
        )


def _missing(facts: dict) -> Iterator[Caution]:
    missing = facts["split"]["missing"]
    if missing:
        named = _some([f"{gap['label']} in {gap['side']}" for gap in missing])
        yield Caution(f"No images of {named}.", "split", grave=True)


def _few_test_images(facts: dict) -> Iterator[Caution]:
    few = [
        f"{row['label']} ({row['images']})"
        for row in facts["per_class"]["rows"]
        if 0 < row["images"] < _FEW_TEST_IMAGES
    ]
    if few:
        yield Caution(f"Few test images, so little is known of: {_some(few)}.", "test")


def _low_recall(facts: dict) -> Iterator[Caution]:
    low = [
        f"{row['label']} ({row['recall']:.0%})"
        for row in facts["per_class"]["rows"]
        if row["images"] and row["recall"] < _LOW_RECALL
    ]
    if low:
        text = f"Less than half of the images are recognised of: {_some(low)}."
        yield Caution(text, "test", grave=True)


def _data(facts: dict) -> Iterator[Caution]:
    ingest = facts["ingest"]
    if ingest["conflicts"]:
        yield Caution(
            f"{_count(ingest['conflicts'], 'image')} "
            f"{'repeats' if ingest['conflicts'] == 1 else 'repeat'} another one under a different "
            "label.",
            "data",
        )
    if ingest["rejected"]:
        yield Caution(
            f"{_count(ingest['rejected'], 'file')} of {ingest['found']:,} could not be used.",
            "data",
        )
    doubts = sum(ingest["quality"].values())
    if doubts:
        named = _some(
            [f"{issue.replace('_', ' ')} {n:,}" for issue, n in ingest["quality"].items()]
        )
        yield Caution(f"The quality of images is doubtful: {named}.", "data")
    if facts["suspects"]["total"]:
        labels = facts["suspects"]["total"]
        yield Caution(
            f"{_count(labels, 'label')} of the training images {_are(labels)} probably wrong.",
            "label_errors",
        )


def _overfitted(facts: dict) -> Iterator[Caution]:
    regression = facts["task"] == "regression"
    name = "loss" if regression else TASKS[facts["task"]].metrics[0]
    on_train, on_validation = (facts["kept_epoch"].get(f"{side}{name}") for side in ("", "val_"))
    if on_train is None or on_validation is None:
        return
    if (
        on_validation > _OVERFITTED_LOSS * on_train
        if regression
        else on_train - on_validation > _OVERFITTED
    ):
        yield Caution(
            "Overfitted: on the images that it was trained on the model scores "
            f"{on_train:.3g}, on the validation images {on_validation:.3g}.",
            "training",
        )


def _last_epoch(facts: dict) -> Iterator[Caution]:
    training = facts["finetune"]
    if training["best_epoch"] == sum(phase["epochs_planned"] for phase in training["phases"]):
        yield Caution("The last epoch was the best, so more epochs may help.", "training")


def _calibration(facts: dict) -> Iterator[Caution]:
    error = facts["test"].get("ece", 0)
    if error > _CALIBRATION_ERROR:
        bins = facts["bins"]
        counts = [row.get("images", row.get("decisions")) for row in bins]
        sure = sum(row["confidence"] * n for row, n in zip(bins, counts, strict=True))
        right = sum(row["accuracy"] * n for row, n in zip(bins, counts, strict=True))
        yield Caution(
            f"The model is {'surer' if sure > right else 'less sure'} than it should be: its "
            f"confidence is off by {error:.1%} in the mean.",
            "calibration",
        )


def _do_not_beat_controls(facts: dict) -> Iterator[Caution]:
    if facts["doubted"]:
        yield Caution(
            f"Do not believe these heat maps, which do not beat the controls: "
            f"{', '.join(facts['doubted'])}.",
            "explanations",
            grave=facts["gradcam"]["method"] in facts["doubted"],
        )


def _like_random_weights(facts: dict) -> Iterator[Caution]:
    correlation = facts["gradcam"]["randomised_correlation"]
    if correlation >= LIKE_RANDOM:
        yield Caution(
            "The heat maps hardly depend on what the model has learned: those of random weights "
            f"have a rank correlation of {correlation:.2f} with them.",
            "explanations",
            grave=True,
        )


def _zero_maps(facts: dict) -> Iterator[Caution]:
    zero = facts["gradcam"]["zero"].get(facts["gradcam"]["method"], 0)
    if zero:
        yield Caution(f"{_count(zero, 'heat map')} {_are(zero)} zero everywhere.", "explanations")


def _coarse_maps(facts: dict) -> Iterator[Caution]:
    height, width = facts["gradcam"]["map_size"]
    if min(height, width) < _FEW_PLACES:
        yield Caution(
            f"A heat map has only {height} x {width} places, too few to point at anything; name a "
            "layer before in gradcam.layer of the params.",
            "explanations",
        )


def _heat_on_border(facts: dict) -> Iterator[Caution]:
    looking_away = [
        f"{row['class']} ({row['border']:.0%})"
        for row in facts["attention"]["rows"]
        if row["border"] > _HEAT_ON_BORDER
    ]
    if looking_away:
        yield Caution(
            f"The heat lies mostly on the border of the images, as with a shortcut, for: "
            f"{_some(looking_away)}.",
            "explanations",
        )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _some(names: list[str]) -> str:
    return some(names, _NAMED)
