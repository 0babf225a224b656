"""Finding the raw files: in folders, on disk or in a store, and in zip and tar files of these.

Data from strangers is data: nothing that an archive holds is written to disk, followed or run, and
what cannot be used is listed and stops nothing else. The reasons that this module gives:

| reason | of what |
|---|---|
| `unsafe_name` | a name not in UTF-8, with a NUL, too long, or no path in its archive or store |
| `link` | a link in an archive; on disk, a link to a folder or to nothing |
| `special_file` | a device, pipe or socket |
| `too_large` | a file above ingest.limits.file_megabytes, or a member that is a bomb by its ratio |
| `repeated_name` | a member with the name of one before it |
| `nested_archive` | an archive in an archive |
| `unsupported_archive` | an archive of another kind |
| `broken_archive` | an archive that cannot be read to its end; nothing of it is used |
| `empty_archive` | an archive that holds no files |
| `archive_limit` | an archive above another of ingest.limits; nothing of it is used |
| `unreadable` | an encrypted or sparse member, or one packed in a rare way; a closed folder |
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from stages.common.errors import InputError, one_line
from stages.common.params import Limits
from stages.common.photos import is_litter
from stages.ingest.archives import (
    Fault,
    Member,
    OverLimit,
    check_limits,
    list_tar,
    list_zip,
)
from stages.ingest.scratch import ScratchList
from stages.ingest.sources import TABLE_SUFFIXES, Rejected, Source
from stages.ingest.stores import is_url, list_store

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
"""What is read as if it were a folder."""

_UNSUPPORTED = (
    *(".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".lzma", ".z"),
    *(".tbz", ".tbz2", ".txz", ".tzst"),
)
# As long as a path can be on Linux. In a tar it can be a megabyte, which packs to nothing.
_MAX_NAME = 4096
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class _Found(NamedTuple):
    """A file: its name below the raw folder, its path or URL, its bytes, and what is wrong."""

    name: str
    file: str
    size: int
    fault: Fault | None


def find_sources(folder: Path | str, limits: Limits) -> tuple[ScratchList[Source], list[Rejected]]:
    """All files below a folder, or below the URL of a folder, in the order of their names.

    An archive is read as if it were a folder of its name; nothing is unpacked to disk. What
    operating systems leave behind, and hidden files, are neither used nor listed.

    Returns:
        The files that can be photos or tables, and what can be neither; see above for the reasons.

    Raises:
        InputError: A store cannot be listed or read.
    """
    sources: ScratchList[Source] = ScratchList()
    rejected = []
    listed = _in_store if is_url(str(folder)) else _on_disk
    for name, file, size, fault in listed(str(folder), limits):
        if fault is not None:
            rejected.append(_rejected(name, fault))
        elif name.lower().endswith(ARCHIVE_SUFFIXES):
            members, faults = _find_members(file, name, size, limits)
            sources.extend(sorted(members, key=lambda member: member.name))
            rejected += faults
        else:
            sources.append(Source(name, file, size))
    order = [(one.source, one.reason, one.detail) for one in rejected]
    rejected = [Rejected(*one) for one in sorted(order)]
    return sources.sorted(key=lambda source: source.name), rejected


def _rejected(name: str, fault: Fault) -> Rejected:
    shown = _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", name[:_MAX_NAME])
    return Rejected(shown, fault.reason, fault.detail)


def _in_store(url: str, limits: Limits) -> Iterator[_Found]:
    for name, file, size in list_store(url):
        path = PurePosixPath(name)
        fault = _fault_of_path(name)
        if fault is None and any(map(is_litter, path.parts)):
            continue
        if fault is None and str(path) != name:
            fault = Fault("unsafe_name", "no path of a file: it has an empty part, or a dot as one")
        yield _Found(name, file, size, fault or _fault_of_file(name, size, limits))


def _on_disk(folder: str, limits: Limits) -> Iterator[_Found]:
    for name in _walk(Path(folder)):
        file = Path(folder, name)
        fault = _fault_on_disk(name, file)
        size = 0 if fault else file.stat().st_size
        yield _Found(name, str(file), size, fault or _fault_of_file(name, size, limits))


def _walk(folder: Path) -> Iterator[str]:
    """Everything below a folder that is no litter and no folder that can be entered.

    In the order of the names, so that no list of all needs to be sorted.
    """
    waiting = [("", _names_in(folder) if folder.is_dir() else [])]
    while waiting:
        above, names = waiting[-1]
        if not names:
            waiting.pop()
            continue
        name = above + names.pop()
        inside = None
        if name.endswith("/"):
            name = name[:-1]
            with contextlib.suppress(OSError):
                if (folder / name).is_dir() and not (folder / name).is_symlink():
                    inside = _names_in(folder / name)
        if inside is None:
            yield name
        else:
            waiting.append((f"{name}/", inside))


def _names_in(folder: Path) -> list[str]:
    """What stands in a folder, the last first; with a slash behind what names follow."""
    with os.scandir(folder) as entries:
        names = [
            f"{entry.name}/" if _is_folder(entry) else entry.name
            for entry in entries
            if not is_litter(entry.name)
        ]
    return sorted(names, reverse=True)


def _is_folder(entry: os.DirEntry) -> bool:
    return entry.is_dir(follow_symlinks=False) or entry.name.lower().endswith(ARCHIVE_SUFFIXES)


def _fault_on_disk(name: str, file: Path) -> Fault | None:
    if _NO_TEXT.search(name):
        return Fault("unsafe_name", "not in UTF-8, so no table can hold it")
    try:
        facts = file.stat()
    except OSError as error:
        if file.is_symlink():
            return Fault("link", "a link to nothing; copy the file itself")
        return Fault("unreadable", one_line(error))
    if stat.S_ISDIR(facts.st_mode):
        if file.is_symlink():
            return Fault("link", "a link to a folder; copy the files themselves")
        return Fault("unreadable", "a folder that cannot be opened")
    if not stat.S_ISREG(facts.st_mode):
        return Fault("special_file", "a device, pipe or socket")
    return None


def _fault_of_file(name: str, size: int, limits: Limits) -> Fault | None:
    suffix = name.lower()
    if suffix.endswith(ARCHIVE_SUFFIXES):
        return None
    if suffix.endswith(_UNSUPPORTED):
        detail = "expected .zip, .tar or .tar.gz; unpack it into a folder, or pack it as one"
        return Fault("unsupported_archive", detail)
    return _fault_of_size(name, size, limits)


def _fault_of_size(name: str, size: int, limits: Limits) -> Fault | None:
    if size <= limits.file_megabytes * 1e6 or name.lower().endswith(TABLE_SUFFIXES):
        return None
    return Fault(
        "too_large",
        f"{size / 1e6:.4g} MB, more than {limits.file_megabytes:g} (ingest.limits.file_megabytes)",
    )


def _find_members(
    file: str, name: str, packed: int, limits: Limits
) -> tuple[list[Source], list[Rejected]]:
    """The files of an archive, and those that cannot be used; or what is wrong with it as a whole.

    The members that are used have to be within the limits together; of a packed tar, which can
    only be read from its start, `list_tar` sees that all are.
    """
    sources: dict[str, Source] = {}
    rejected = []
    list_members = list_zip if name.lower().endswith(".zip") else list_tar
    try:
        for member in list_members(file, limits):
            path = PurePosixPath(member.name)
            fault = _fault_of_path(member.name)
            if fault is None and any(map(is_litter, path.parts)):
                continue
            fault = fault or _fault_of_member(member, limits)
            source = Source(f"{name}/{path}", file, member.size, member.place)
            if fault is None and source.name in sources:
                fault = Fault("repeated_name", "another member before it has the same name")
            if fault is None:
                sources[source.name] = source
            else:
                rejected.append(_rejected(source.name, fault))
        if list_members is list_zip:
            unpacked = sum(source.size for source in sources.values())
            check_limits(limits, 0, unpacked, packed)
    except InputError:  # of a store, which says nothing about the archive
        raise
    except OverLimit as error:
        detail = f"{error}; if you trust it, raise the limit"
        return [], [_rejected(name, Fault("archive_limit", detail))]
    except Exception as error:  # broken archives fail in many ways: version, encoding, numbers, ...
        return [], [_rejected(name, Fault("broken_archive", one_line(error)))]
    if not sources and not rejected:
        rejected.append(_rejected(name, Fault("empty_archive", "holds no files")))
    return list(sources.values()), rejected


def _fault_of_path(name: str) -> Fault | None:
    path = PurePosixPath(name.replace("\\", "/"))
    if _NO_TEXT.search(name) or not path.parts or len(name) > _MAX_NAME:
        return Fault("unsafe_name", f"not in UTF-8, with a NUL, empty, or longer than {_MAX_NAME}")
    if ".." in path.parts or path.is_absolute() or re.match("[A-Za-z]:", name):
        return Fault("unsafe_name", "points outside its archive")
    return None


def _fault_of_member(member: Member, limits: Limits) -> Fault | None:
    if member.fault is not None:
        return member.fault
    if member.name.lower().endswith((*ARCHIVE_SUFFIXES, *_UNSUPPORTED)):
        return Fault("nested_archive", "an archive in an archive; unpack the outer one")
    return _fault_of_size(member.name, member.size, limits)
