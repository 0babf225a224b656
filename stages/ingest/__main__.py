"""Stage `ingest`: raw photos become labelled arrays, and all that cannot be used is listed."""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.errors import InputError
from stages.common.files import publish
from stages.common.params import Ingest, Params
from stages.common.paths import IMAGES, INDEX, MANIFEST
from stages.common.stage import run
from stages.common.tables import write_table
from stages.ingest.arrays import Developed, develop_all, identify
from stages.ingest.duplicates import find_groups
from stages.ingest.find_sources import find_sources
from stages.ingest.groups import Settled, join_given, name_groups, settle_conflicts
from stages.ingest.labelled import UNRELATED, Labelled
from stages.ingest.labels import is_document, label_photos
from stages.ingest.quality import find_issues
from stages.ingest.reports import Findings, log_labels, write_reports
from stages.ingest.sources import Rejected

_COLUMNS = [
    *("id", "source", "label", "given_split", "given_group", "part", "row", "width", "height"),
    "group",
]


def main(params: Params) -> None:
    """Develop all photos below `ingest.source`."""
    ingest = params.ingest
    files, rejected = find_sources(ingest.source, ingest.limits)
    labelled = label_photos(files, ingest, params.encode)
    rejected += labelled.rejected
    if not labelled.photos:
        raise InputError(
            f"{ingest.source}: expected a folder per class with photos, archives of such folders, "
            f"or a table of paths and labels or of pixels; found {_found(rejected)}; copy photos "
            f"to {ingest.source}/<class>/"
        )
    log_labels(labelled)
    identified, unreadable = identify(labelled.photos)
    developed, broken = develop_all(identified, ingest)
    rejected += unreadable + broken
    if developed is None:
        raise _too_many(rejected, 0, ingest)
    table, repeats = _group(developed, ingest)
    settled = settle_conflicts(table["label"], table["exact"], ingest.conflicts)
    rejected += _conflicting(table, settled)
    _refuse_too_many(rejected, int((~settled.rejected).sum()), ingest)
    _refuse_lost_classes(labelled, table, rejected, ingest)
    _write(developed, table, repeats, settled, rejected, ingest)


def _group(developed: Developed, ingest: Ingest) -> tuple[pd.DataFrame, np.ndarray]:
    """The table of all images with the name of the group of each, and its group of repeats."""
    table, given = developed.table, developed.given_groups
    repeats = find_groups(developed.fingerprints, table["exact"].to_numpy(), ingest.near_duplicate)
    numbers = join_given(repeats, given)
    return table.assign(
        group=name_groups(numbers, table["original"], given),
        given_group=[", ".join(groups) for groups in given],
    ), repeats


def _conflicting(table: pd.DataFrame, settled: Settled) -> list[Rejected]:
    """The images that cannot be used since the same picture has another label elsewhere."""
    lost = table[settled.rejected]
    copies = table[table["exact"].isin(lost["exact"])]
    said = copies.groupby("exact")["label"].agg(lambda labels: sorted(set(labels)))
    return [
        Rejected(
            row.source,
            "conflicting_label",
            f"labelled {row.label!r}, and of all copies of the picture {said[row.exact]}",
        )
        for row in lost.itertuples()
    ]


def _write(
    developed: Developed,
    table: pd.DataFrame,
    repeats: np.ndarray,
    settled: Settled,
    rejected: list[Rejected],
    ingest: Ingest,
) -> None:
    publish(((file, Path(part)) for file, part in developed.shards), IMAGES)
    # Arrays know nothing of labels: an image that its label rejects keeps its row in them.
    write_table(table.sort_values("id")[["id", "part", "row"]], INDEX)
    used = table.assign(label=settled.labels)[~settled.rejected]
    write_table(used.sort_values("id")[_COLUMNS], MANIFEST)
    sizes = table[["width", "height"]].to_numpy()
    issues = find_issues(developed.measures, sizes, ingest.quality)
    rejected = sorted(rejected, key=lambda one: (one.source, one.reason, one.detail))
    write_reports(Findings(table, used, repeats, settled, rejected, issues))


def _found(rejected: list[Rejected]) -> str:
    if not rejected:
        return "no files"
    first = rejected[0]
    return f"{len(rejected)} unusable, first {first.source} ({first.reason}: {first.detail})"


def _refuse_too_many(rejected: list[Rejected], used: int, ingest: Ingest) -> None:
    lost = [one for one in rejected if _is_lost(one)]
    if not used or len(lost) > ingest.max_rejected * (used + len(lost)):
        raise _too_many(lost, used, ingest)


def _too_many(lost: list[Rejected], used: int, ingest: Ingest) -> InputError:
    reasons = pd.Series([one.reason for one in lost], dtype=str).value_counts().sort_index()
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
    return InputError(
        f"{ingest.source}: expected at most {ingest.max_rejected:.0%} unusable files "
        f"(ingest.max_rejected), found {_found(lost)}, beside {used} usable ones ({counts}); "
        "remove or repair them"
    )


def _is_lost(one: Rejected) -> bool:
    """Whether a file should have been an image: a table of something else or a text is none."""
    return one.reason != UNRELATED and not (
        one.reason == "not_an_image" and is_document(one.source)
    )


def _refuse_lost_classes(
    labelled: Labelled, table: pd.DataFrame, rejected: list[Rejected], ingest: Ingest
) -> None:
    """Refuse that no photo of a folder can be used: a table may hold rare labels, a folder not."""
    lost = labelled.folder_classes - set(table["label"])
    if lost:
        raise InputError(
            f"{ingest.source}: expected usable photos of every class, found none of "
            f"{sorted(lost)}; of all files {_found(rejected)}; repair them or remove the folder"
        )


if __name__ == "__main__":
    run(main)
