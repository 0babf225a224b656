"""What `ingest` reports: every file that is not used, repeats, conflicts and doubtful images."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd

from stages.common.log import log
from stages.common.paths import IMAGES, REPORTS
from stages.common.pictures import contact_sheet, save_photo
from stages.common.shards import read_shard
from stages.common.tables import write_json, write_table
from stages.ingest.arrays import Developed
from stages.ingest.groups import Settled
from stages.ingest.labelled import Labelled
from stages.ingest.sources import Rejected

FOLDER = REPORTS / "ingest"
_SHEET_ROWS = 40
_SHEET_IMAGES = 8
_SHOWN_LABELS = 20


@dataclass(frozen=True)
class Findings:
    """What is known at the end of `ingest`.

    Attributes:
        developed: All n images.
        repeats: int64 (n,), the group of repeats of each image.
        settled: What became of the same picture under two labels.
        rejected: Files and rows that are not used.
        issues: `image` (its position), `issue` and `value` of images of doubtful quality.
    """

    developed: Developed
    repeats: np.ndarray
    settled: Settled
    rejected: list[Rejected]
    issues: pd.DataFrame


def log_labels(labelled: Labelled) -> None:
    """Say where the labels come from, and how many photos each has."""
    counts, sides = Counter[str](), Counter[str]()
    for photo in labelled.photos:
        counts[photo.label] += 1
        sides[photo.split] += bool(photo.split)
    sides = +sides
    shown = ", ".join(f"{label} {counts[label]}" for label in sorted(counts)[:_SHOWN_LABELS])
    more = f" and {len(counts) - _SHOWN_LABELS} more" if len(counts) > _SHOWN_LABELS else ""
    for layout in labelled.layout:
        log(f"ingest: labels from {layout}")
    log(f"ingest: {len(labelled.photos)} photos with {len(counts)} labels: {shown}{more}")
    if sides:
        given = ", ".join(f"{side} {count}" for side, count in sorted(sides.items()))
        log(f"ingest: given sides: {given}")


def write_reports(findings: Findings) -> None:
    """Write everything below `reports/ingest`."""
    columns = ["source", "reason", "detail"]
    rejected = pd.DataFrame(map(astuple, findings.rejected), columns=columns)
    write_table(rejected, FOLDER / "rejected.csv")
    repeated = _repeated(findings)
    write_table(repeated[["group", "id", "source", "label", "exact"]], FOLDER / "groups.csv")
    conflicts = _conflicts(findings, repeated)
    write_table(conflicts, FOLDER / "conflicts.csv")
    doubtful = _table(findings, findings.issues["image"].to_numpy()).reset_index(drop=True)
    doubtful = doubtful.join(findings.issues[["issue", "value"]].reset_index(drop=True))
    doubtful = doubtful.sort_values(["issue", "source"])
    write_table(doubtful[["id", "source", "label", "issue", "value"]], FOLDER / "quality.csv")
    facts = _facts(findings, repeated, conflicts, doubtful)
    write_json(facts, FOLDER / "summary.json")
    save_photo(contact_sheet(list(_group_rows(repeated))), FOLDER / "duplicates.jpg")
    save_photo(contact_sheet(list(_issue_rows(doubtful))), FOLDER / "quality.jpg")
    log(
        f"ingest: {facts['used']} images with {len(facts['images_per_class'])} labels, "
        f"{facts['rejected']} files rejected, {facts['images_in_groups']} images in "
        f"{facts['groups_of_repeats']} groups of repeats, {facts['conflicts']} images in conflict, "
        f"{len(doubtful)} doubts about quality"
    )


def _table(findings: Findings, images: np.ndarray) -> pd.DataFrame:
    """Some images with the labels that they had at first."""
    labels = np.array(findings.developed.said.labels, dtype=object)
    return findings.developed.table(images, labels)


def _repeated(findings: Findings) -> pd.DataFrame:
    """The images that repeat another one, each with the smallest id among its repeats."""
    copies = np.bincount(findings.repeats, minlength=len(findings.repeats))
    images = np.flatnonzero(copies[findings.repeats] > 1)
    table = _table(findings, images).assign(done=findings.settled.done[images])
    table["group"] = table["id"].groupby(findings.repeats[images]).transform("min")
    return table.sort_values(["group", "source"])


def _conflicts(findings: Findings, repeated: pd.DataFrame) -> pd.DataFrame:
    """Repeats under different labels; of near duplicates it is only said that they are."""
    differ = repeated.groupby("group")["label"].transform("nunique") > 1
    conflicts = repeated[differ].copy()
    conflicts["done"] = conflicts["done"].replace("", "near_duplicate")
    return conflicts[["group", "id", "source", "label", "exact", "done"]]


def _facts(
    findings: Findings, repeated: pd.DataFrame, conflicts: pd.DataFrame, doubtful: pd.DataFrame
) -> dict:
    is_used = ~findings.settled.rejected
    used = int(is_used.sum())
    sides = Counter(itertools.compress(findings.developed.said.splits, is_used))
    return {
        "found": used + len(findings.rejected),
        "used": used,
        "rejected": len(findings.rejected),
        "rejected_by_reason": dict(Counter(one.reason for one in findings.rejected)),
        "images_per_class": dict(Counter(findings.settled.labels[is_used])),
        "given_sides": {side: count for side, count in sides.items() if side},
        "groups_of_repeats": int(repeated["group"].nunique()),
        "images_in_groups": len(repeated),
        "exact_copies": int(repeated.duplicated("exact").sum()),
        "conflicts": len(conflicts),
        "quality": doubtful["issue"].value_counts().to_dict(),
    }


def _group_rows(repeated: pd.DataFrame) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Caption and images of the largest groups, for the contact sheet."""
    sizes = repeated["group"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    for group in sizes.index[:_SHEET_ROWS]:
        members = repeated[repeated["group"] == group]
        yield f"{len(members)} images: {members['source'].iloc[0]}, ...", _images(members)


def _issue_rows(doubtful: pd.DataFrame) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Caption and first images of each issue, the worst first."""
    for issue, images in doubtful.groupby("issue"):
        yield f"{issue}: {len(images)} images", _images(images)


def _images(table: pd.DataFrame) -> list[np.ndarray]:
    shown: Iterable[tuple[str, int]] = zip(table["part"], table["row"], strict=True)
    return [read_shard(IMAGES / part)[row] for part, row in list(shown)[:_SHEET_IMAGES]]
