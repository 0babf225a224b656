"""Stage `ingest`: raw photos become labelled arrays, and all that cannot be used is listed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.errors import InputError
from stages.common.files import publish
from stages.common.params import Ingest, Params
from stages.common.paths import IMAGES, INDEX, MANIFEST
from stages.common.stage import run
from stages.common.tables import ROWS_AT_ONCE, write_pieces
from stages.ingest.arrays import Developed, develop_all, identify
from stages.ingest.duplicates import find_groups, first_positions
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
    facts, said = developed.facts, developed.said
    pictures = first_positions(facts["exact"])
    settled = settle_conflicts(said.labels, pictures, ingest.conflicts)
    rejected += _conflicting(developed, pictures, settled)
    _refuse_too_many(rejected, int((~settled.rejected).sum()), ingest)
    _refuse_lost_classes(labelled, developed, rejected, ingest)
    publish(zip(developed.files, map(Path, developed.parts), strict=True), IMAGES)
    repeats = find_groups(facts["fingerprint"], pictures, ingest.near_duplicate)
    _write_tables(developed, repeats, settled)
    sizes = np.stack([facts["width"], facts["height"]], axis=1)
    issues = find_issues(facts["quality"], sizes, ingest.quality)
    rejected = sorted(rejected, key=lambda one: (one.source, one.reason, one.detail))
    write_reports(Findings(developed, repeats, settled, rejected, issues))


def _conflicting(developed: Developed, pictures: np.ndarray, settled: Settled) -> list[Rejected]:
    """The images that cannot be used since the same picture has another label elsewhere."""
    labels, lost = developed.said.labels, np.flatnonzero(settled.rejected)
    said: dict[int, set[str]] = {picture: set() for picture in pictures[lost].tolist()}
    for copy in np.flatnonzero(np.isin(pictures, pictures[lost])):
        said[int(pictures[copy])].add(labels[copy])
    return [
        Rejected(
            source,
            "conflicting_label",
            f"labelled {labels[image]!r}, and of all copies of the picture "
            f"{sorted(said[int(pictures[image])])}",
        )
        for image, source in zip(lost, developed.names.take(lost), strict=True)
    ]


def _write_tables(developed: Developed, repeats: np.ndarray, settled: Settled) -> None:
    groups = developed.said.groups
    names = name_groups(join_given(repeats, groups), developed.originals, groups)
    order = np.argsort(developed.ids)
    used = order[~settled.rejected[order]]

    def index() -> Iterator[pd.DataFrame]:
        for some in _pieces(order):
            parts = [developed.parts[one] for one in developed.part_of[some]]
            yield pd.DataFrame(
                {
                    "id": developed.ids[some].astype(str),
                    "part": parts,
                    "row": developed.row_of[some],
                }
            )

    def manifest() -> Iterator[pd.DataFrame]:
        for some in _pieces(used):
            table = developed.table(some, settled.labels)
            yield table.assign(group=names[some].astype(str))[_COLUMNS]

    # Arrays know nothing of labels: an image that its label rejects keeps its row in them.
    write_pieces(index, INDEX)
    write_pieces(manifest, MANIFEST)


def _pieces(images: np.ndarray) -> Iterator[np.ndarray]:
    """Images some at a time, since a row of a table takes much more memory than its number."""
    for start in range(0, len(images), ROWS_AT_ONCE):
        yield images[start : start + ROWS_AT_ONCE]


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
    labelled: Labelled, developed: Developed, rejected: list[Rejected], ingest: Ingest
) -> None:
    """Refuse that no photo of a folder can be used: a table may hold rare labels, a folder not."""
    lost = labelled.folder_classes - set(developed.said.labels)
    if lost:
        raise InputError(
            f"{ingest.source}: expected usable photos of every class, found none of "
            f"{sorted(lost)}; of all files {_found(rejected)}; repair them or remove the folder"
        )


if __name__ == "__main__":
    run(main)
