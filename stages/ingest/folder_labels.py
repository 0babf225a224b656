"""Labels that stand in the names of folders and files."""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace

from stages.common.params import Ingest
from stages.ingest.folders import read_folders, read_sides
from stages.ingest.labelled import (
    Labelled,
    Photo,
    without_lone_side,
)
from stages.ingest.sides import to_side
from stages.ingest.sources import Source


def label_by_folders(photos: Sequence[Source], ingest: Ingest) -> Labelled:
    found = Labelled()
    if not photos:
        return found
    folders = read_folders((photo.name for photo in photos), ingest.class_folder)
    for photo, label, side in zip(photos, folders.labels, folders.sides, strict=True):
        if label is None:
            detail = "put it into a folder named after its class, or name it in a table of labels"
            found.reject(photo.name, "no_label", detail)
        else:
            found.photos.append(Photo(photo, label, side))
            found.folder_classes.add(label)
    if found.photos:
        found.layout.append(f"folders ({folders.level})")
    return without_lone_side(found)


def label_by_names(photos: Sequence[Source], ingest: Ingest) -> Labelled:
    found = Labelled(layout=[f"names of files ({ingest.pattern})"] if photos else [])
    sides = read_sides(photo.name for photo in photos)
    for photo, side in zip(photos, sides, strict=True):
        label = find_in_name(photo.name, ingest).get("label")
        if label:
            found.photos.append(Photo(photo, label, side))
        else:
            found.reject(photo.name, "no_label", "ingest.pattern finds none in its name")
    return without_lone_side(found)


def find_in_name(name: str, ingest: Ingest) -> dict[str, str]:
    """What `ingest.pattern` finds in the name of a file, or in its path if it has a slash."""
    if ingest.pattern is None:
        return {}
    match = re.search(ingest.pattern, name if "/" in ingest.pattern else posixpath.basename(name))
    if match is None:
        return {}
    return {part: match[number] or "" for part, number in ingest.pattern_parts.items()}


def add_pattern(photo: Photo, ingest: Ingest) -> Photo:
    """A photo with the side and group that the pattern finds in its name."""
    parts = find_in_name(photo.source.name, ingest)
    if not parts:
        return photo
    groups = (f"name={parts['group']}",) if parts.get("group") else ()
    side = to_side(parts.get("split", "")) or photo.split
    return replace(photo, split=side, groups=photo.groups + groups)
