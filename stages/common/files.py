"""Files and folders that appear whole or not at all."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from stages.common.errors import InputError
from stages.common.machine import cache_folder

_FULL = {errno.ENOSPC, errno.EDQUOT}

Stamp = list[int]
"""Inode, time of the last change and size: another content has another stamp."""

_DIGESTS = "digests.json"
_MOMENT = 50_000_000  # nanoseconds; file systems count time in steps of up to 10 ms


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; a file is read once as long as it stays as it is."""
    digest = known_digest(path)
    if digest is None:
        stamp = _stamp(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        _digests(cache_folder())[str(path.absolute())] = [*stamp, digest]
    return digest


def known_digest(path: Path) -> str | None:
    """The `file_digest` of a file if it need not be read, else None."""
    *stamp, digest = _digests(cache_folder()).get(str(path.absolute())) or [None]
    return digest if stamp == _stamp(path) else None


def keep_digests() -> None:
    """Keep the digests that are known, of files that are still there, for other processes.

    Not of files that changed within the last moment: they could change again and keep their time.
    """
    now, folder = time.time_ns(), cache_folder()
    kept = {
        name: entry
        for name, entry in _digests(folder).items()
        if now - entry[1] > _MOMENT and Path(name).exists()
    }
    _write_record(kept, folder / _DIGESTS)


@cache
def _digests(folder: Path) -> dict[str, list]:
    """Stamp and digest of files, by their absolute paths."""
    return _read_record(folder / _DIGESTS)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or the share of it that a user may have, is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def no_space(folder: Path) -> InputError:
    """The error that says which folder has no space left, and what to do."""
    return InputError(
        f"{folder}: expected space on its disk, found none left; free some, or set DARKROOM_CACHE "
        "to a folder on a larger disk, and run the same again: what is finished is kept"
    )


@contextlib.contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into one that names the folder written to.

    Raises:
        InputError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise no_space(folder) from error


@contextlib.contextmanager
def locked(path: Path, operation: int) -> Iterator[bool]:
    """Hold an advisory lock. The system ends it with the process, however that ends.

    Args:
        path: A folder that exists, or a file, which is made.
        operation: As for `fcntl.flock`.

    Yields:
        Whether it is held: not if another process holds it, or on a disk without locks.
    """
    mode = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, mode, 0o666)
    try:
        try:
            fcntl.flock(descriptor, operation)
            held = True
        except OSError:
            held = False
        yield held
    finally:
        os.close(descriptor)


def publish(files: Iterable[tuple[Path, Path]], folder: Path) -> None:
    """Make `folder` hold exactly copies of the given files, and swap it in when it is complete.

    A file that was copied from the same source before, both unchanged since, is not copied again
    and keeps its inode and times, so neither this function nor DVC reads it. (A record of that
    lies in the local cache. The copies are no links to the sources: DVC makes copies of these.)

    Args:
        files: Pairs of a source file and its path below `folder`.
        folder: An output of a stage; what stood there before is replaced.

    Raises:
        InputError: The disk is full. What stood there before still does.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    record = _record_of(folder)
    with locked(folder.parent, fcntl.LOCK_EX) as alone, naming_full_disk(folder.parent):
        if alone:
            remove_matching(folder.parent, f".{folder.name}-")
        with fresh_folder(folder.parent, f".{folder.name}-") as fresh:
            known = _read_record(record)
            copied = {}
            for source, name in files:
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                key = name.as_posix()
                copied[key] = _place(source, folder / name, fresh / name, known.get(key))
            _swap(fresh, folder)
    _write_record(copied, record)


@contextlib.contextmanager
def fresh_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder that other users may read, too; it is removed if filling it fails."""
    fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        fresh.chmod(0o755)
        yield fresh
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def remove_matching(folder: Path, prefix: str) -> None:
    """Remove the folders that a killed run left, by the start of their names."""
    with os.scandir(folder) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(prefix)]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)


def _stamp(path: Path) -> Stamp:
    facts = path.stat()
    return [facts.st_ino, facts.st_mtime_ns, facts.st_size]


def _place(source: Path, there: Path, target: Path, known: list | None) -> list:
    """Let `target` be a copy of `source`, or the file `there` if that is known to be one.

    Returns:
        What is known from now on: whence it was copied, and the stamps of source and target.
    """
    origin, stamp = str(source.absolute()), _stamp(source)
    with contextlib.suppress(OSError):  # it is not there, or the disk knows no links
        if known is not None and known == [origin, stamp, _stamp(there)]:
            os.link(there, target)
            return known
    shutil.copyfile(source, target)
    return [origin, stamp, _stamp(target)]


def _swap(fresh: Path, folder: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
        return
    replaced = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    folder.rename(replaced)
    fresh.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _record_of(folder: Path) -> Path:
    name = hashlib.sha256(str(folder.resolve()).encode(errors="surrogateescape")).hexdigest()[:32]
    return cache_folder() / "published" / f"{name}.json"


def _read_record(record: Path) -> dict[str, list]:
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: then all is copied
        return {}


def _write_record(copied: dict[str, list], record: Path) -> None:
    """A record that cannot be written costs time in the next run, and nothing else."""
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        fresh = record.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(copied), encoding="utf-8")
        fresh.replace(record)
