"""Finding the photos of `data/raw`: in a folder per class, or in zip files of such folders."""

import hashlib
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

# What operating systems and Git leave in folders; no user would miss it.
_LITTER = {"Thumbs.db", "desktop.ini", "__MACOSX"}


@dataclass(frozen=True)
class Source:
    """One photo as it was found.

    Attributes:
        name: Path below the raw folder with `/`; a member of a zip follows the name of the zip.
        label: Name of the folder that holds it. For a member of a zip that lies in no folder
            inside: the folder of the zip, or its own name if it stands at the top.
        file: The file on disk: the photo itself, or the zip that holds it.
        member: Its name in the zip, or None.
    """

    name: str
    label: str
    file: Path
    member: str | None = None

    def read(self) -> bytes:
        """The bytes of the photo.

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
    """All photos below a folder, in the order of their names.

    A zip is read as if it were a folder of its name; nothing is unpacked to disk.

    Returns:
        The photos that have a label, and what cannot be one (a broken or empty zip, a photo
        outside any class folder).
    """
    sources, rejected = [], []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        is_dead_link = file.is_symlink() and not file.is_file()
        if _is_litter(name.parts) or not (file.is_file() or is_dead_link):
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
        elif len(name.parts) == 1:
            rejected.append(
                Rejected(name.as_posix(), "no_label", "put it into a folder named after its class")
            )
        else:
            sources.append(Source(name.as_posix(), name.parent.name, file))
    return sorted(sources, key=lambda source: source.name), rejected


def image_ids(contents: Iterable[bytes]) -> list[str]:
    """An id for each photo that depends on its bytes alone: 16 hexadecimal digits.

    So a renamed or relabelled photo keeps its id and its variants. The second and later copies of
    the same bytes get ids of their own.
    """
    seen: Counter[bytes] = Counter()
    ids = []
    for content in contents:
        digest = hashlib.sha256(content).digest()
        copy = seen[digest]
        seen[digest] += 1
        ids.append(hashlib.sha256(digest + copy.to_bytes(8, "little")).hexdigest()[:16])
    return ids


@lru_cache(maxsize=8)
def _open(file: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(file)


def _is_litter(parts: tuple[str, ...]) -> bool:
    return any(part in _LITTER or part.startswith(".") for part in parts)


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
        elif not _is_litter(path.parts):
            label = path.parent.name or (file.parent.name if "/" in name else file.stem)
            sources.append(Source(member_name, label, file, info.filename))
    if not sources and not rejected:
        rejected.append(Rejected(name, "empty_archive", "holds no files"))
    return sources, rejected
