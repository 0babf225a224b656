"""Photos with what is said of them, and the files and rows that have no label."""

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from stages.common.params import Encode
from stages.ingest.pixel_tables import PixelRow
from stages.ingest.scratch import ScratchList
from stages.ingest.sides import are_sides, to_side
from stages.ingest.sources import Rejected, Source
from stages.ingest.tables import TextTable

UNRELATED = "unrelated_table"


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and what is said of it.

    Attributes:
        source: Where its bytes are.
        label: A class, several with the separator between them, or a number.
        split: The given side: train, validation, test, or empty.
        groups: What it belongs to and must not be divided, such as "patient_id=7".
    """

    source: Source | PixelRow
    label: str
    split: str = ""
    groups: tuple[str, ...] = ()


@dataclass
class Labelled:
    """The photos that have a label, the files and rows that have none, and how they came to it.

    Attributes:
        layout: Where the labels stand, in words for the log.
        folder_classes: The labels that come from folders.
    """

    photos: ScratchList[Photo] = field(default_factory=ScratchList)
    rejected: list[Rejected] = field(default_factory=list)
    layout: list[str] = field(default_factory=list)
    folder_classes: set[str] = field(default_factory=set)

    def reject(self, source: str, reason: str, detail: str) -> None:
        self.rejected.append(Rejected(source, reason, detail))

    def __add__(self, other: "Labelled") -> "Labelled":
        return Labelled(
            self.photos + other.photos,
            self.rejected + other.rejected,
            self.layout + other.layout,
            self.folder_classes | other.folder_classes,
        )


def without_lone_side(found: Labelled) -> Labelled:
    """No given split if only one side has labels: a train folder beside an unlabelled test."""
    sides = {photo.split for photo in found.photos if photo.split}
    if not sides or are_sides(sides):
        return found
    return replace(found, photos=ScratchList(replace(photo, split="") for photo in found.photos))


def reject_empty(found: Labelled, photos: Sequence[Photo], encode: Encode, why: str) -> Labelled:
    """Add photos; those of an empty label only where a photo may show none of the labels."""
    several = any(encode.separator in photo.label for photo in photos)
    may_be_empty = encode.task == "multilabel" or (encode.task == "auto" and several)
    for photo in photos:
        if photo.label or may_be_empty:
            found.photos.append(photo)
        else:
            found.reject(photo.source.name, "no_label", why)
    return found


def stem(name: str) -> str:
    return posixpath.basename(name).split(".")[0]


def sides_of_tables(tables: Iterable[TextTable | Source]) -> dict[str, str]:
    """The sides that tables are called by, such as train.csv and test.csv; else none."""
    sides = {table.name: to_side(stem(table.name)) for table in tables}
    return sides if are_sides(sides.values()) else {}
