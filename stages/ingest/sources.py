"""Finding the files of `data/raw`: in folders, or in zip files of such folders."""

import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from stages.common.photos import image_id, is_litter


@dataclass(frozen=True)
class Source:
    """One file as it was found: a photo, or a table of labels.

    Attributes:
        name: Path below the raw folder with `/`; a member of a zip follows the name of the zip.
        label: Name of the folder that holds it, or None at the top. For a member of a zip that
            lies in no folder inside: the folder of the zip, or its own name if it stands at the
            top. A table of labels may say otherwise (`stages/ingest/labels.py`).
        file: The file on disk: the photo itself, or the zip that holds it.
        member: Its name in the zip, or None.
    """

    name: str
    label: str | None
    file: Path
    member: str | None = None

    def read(self) -> bytes:
        """The bytes of the file.

        Raises:
            OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError: It cannot be read.
        """
        return self.file.read_bytes() if self.member is None else _open(self.file).read(self.member)


@dataclass(frozen=True)
class Rejected:
    """A file that is not used: where it lies, a reason from a fixed list, and the detail."""

    source: str
    reason: str
    detail: str


def find_sources(folder: Path) -> tuple[list[Source], list[Rejected]]:
    """All files below a folder, in the order of their names.

    A zip is read as if it were a folder of its name; nothing is unpacked to disk.

    Returns:
        The files that can be photos or tables, and what can be neither (a broken or empty zip).
    """
    sources, rejected = [], []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        is_dead_link = file.is_symlink() and not file.is_file()
        if any(map(is_litter, name.parts)) or not (file.is_file() or is_dead_link):
            continue
        text = name.as_posix().encode(errors="surrogateescape").decode(errors="replace")
        if text != name.as_posix():
            rejected.append(Rejected(text, "unsafe_name", "not in UTF-8, so no table can hold it"))
        elif is_dead_link:
            detail = "a link to a folder or to nothing; copy the files themselves"
            rejected.append(Rejected(text, "link", detail))
        elif file.suffix.lower() == ".zip":
            members, broken = _find_members(file, name.as_posix())
            sources += members
            rejected += broken
        else:
            sources.append(Source(name.as_posix(), name.parent.name or None, file))
    return sorted(sources, key=lambda source: source.name), rejected


def image_ids(contents: Iterable[bytes]) -> list[str]:
    """The id of each photo; the second and later copies of the same bytes get their own."""
    seen: Counter[str] = Counter()
    ids = []
    for content in contents:
        first = image_id(content)
        ids.append(image_id(content, seen[first]) if seen[first] else first)
        seen[first] += 1
    return ids


@lru_cache(maxsize=8)
def _open(file: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(file)


def _find_members(file: Path, name: str) -> tuple[list[Source], list[Rejected]]:
    try:
        infos = [info for info in _open(file).infolist() if not info.is_dir()]
    except Exception as error:  # broken zips fail in many ways: version, encoding of names, ...
        return [], [Rejected(name, "broken_archive", str(error))]
    sources, rejected = [], []
    for info in infos:
        path = PurePosixPath(info.filename.replace("\\", "/"))  # as old Windows programs write
        member_name = f"{name}/{info.filename}"
        if ".." in path.parts or path.is_absolute():
            rejected.append(Rejected(member_name, "unsafe_name", "points outside its archive"))
        elif not any(map(is_litter, path.parts)):
            label = path.parent.name or (file.parent.name if "/" in name else file.stem)
            sources.append(Source(member_name, label, file, info.filename))
    if not sources and not rejected:
        rejected.append(Rejected(name, "empty_archive", "holds no files"))
    return sources, rejected
