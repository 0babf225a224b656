"""Finding the photo that a table means, however it writes the path."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable

from stages.ingest.sources import Source


class Photos:
    """Photos to be found by what a table calls them."""

    def __init__(self, photos: Iterable[Source]):
        self._by_name: dict[str, Source] = {}
        self._by_key: dict[str, list[Source]] = defaultdict(list)
        self._by_file: dict[str, list[Source]] = defaultdict(list)
        for photo in photos:
            self._by_name[photo.name] = photo
            for key in _keys(photo.name):
                self._by_key[key].append(photo)
            for key in _keys(posixpath.basename(photo.name)):
                self._by_file[key].append(photo)

    def find(self, path: str, folder: str = "", table: str = "") -> list[Source]:
        """The photos that a path may mean: one, or none, or several that nothing tells apart.

        In this order: the very path, seen from the folder of the table and from the top; the
        same with other letter case or another extension, or without one; a path of which only
        the end is the same, such as the bare name of a photo, or a path of another computer.

        Args:
            path: As it stands in the table.
            folder: Of the table, below the raw folder.
            table: The name of the table without its suffix: train.csv means photos in train/.
        """
        path = path.strip().replace("\\", "/")
        if not posixpath.basename(path):
            return []
        seen_from = [posixpath.normpath(posixpath.join(start, path)) for start in (folder, "")]
        for name in seen_from:
            if name in self._by_name:
                return [self._by_name[name]]
        for name in seen_from:
            for key in _keys(name):
                if key in self._by_key:
                    return _prefer(self._by_key[key], path, table)
        return _prefer(self._find_by_end(posixpath.normpath(path)), path, table)

    def _find_by_end(self, path: str) -> list[Source]:
        """The photos whose paths have most folders at their end in common with a path."""
        wanted = [part for part in path.casefold().split("/") if part not in ("", "..", ".")]
        candidates = next(
            (self._by_file[key] for key in _keys(wanted[-1]) if key in self._by_file), []
        )
        ends: dict[int, list[Source]] = defaultdict(list)
        for photo in candidates:
            *folders, _ = photo.name.casefold().split("/")
            common = _common_end(folders, wanted[:-1])
            if common in (len(folders), len(wanted) - 1) or common > 0:
                ends[common].append(photo)
        return ends[max(ends)] if ends else []


def _keys(name: str) -> list[str]:
    """What a path is compared by if it is not the very path: without case, then extension."""
    plain = name.casefold()
    return list(dict.fromkeys([plain, posixpath.splitext(plain)[0]]))


def _common_end(first: list[str], second: list[str]) -> int:
    pairs = zip(reversed(first), reversed(second), strict=False)
    return next(
        (count for count, (one, other) in enumerate(pairs) if one != other),
        min(len(first), len(second)),
    )


def _prefer(photos: list[Source], path: str, table: str) -> list[Source]:
    """Of several photos those with the extension, the case, or in the folder that fits better."""
    suffix = posixpath.splitext(path)[1]
    words = set(re.split(r"[^a-z0-9]+", table.casefold())) - {""}
    for fits in (
        lambda photo: posixpath.splitext(photo.name)[1].casefold() == suffix.casefold(),
        lambda photo: posixpath.basename(photo.name) == posixpath.basename(path),
        lambda photo: bool(words.intersection(photo.name.casefold().split("/")[:-1])),
    ):
        fitting = [photo for photo in photos if fits(photo)]
        if fitting:
            photos = fitting
    return photos
