"""Files wherever they lie: on disk under a path, or in a store such as S3 under a URL.

A store is what fsspec opens; it is listed once, and read where it lies. What fails in a store ends
the run: a file that nobody can read now is not known to be broken.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Protocol

from fsspec import AbstractFileSystem, get_filesystem_class

from stages.common.errors import InputError, one_line

# Asking takes some hundredths of a second, so an archive or a table is asked for in pieces of
# this size, and the last ones are kept: members and rows come in the order in which they lie.
_PIECE = 2**20
_KEPT_PIECES = 32

# Seconds, and how often something is asked for: an address where nobody answers is given up within
# half a minute.
_S3_SETTINGS = {
    "connect_timeout": 5,
    "read_timeout": 8,
    "max_pool_connections": 32,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}

_opening = threading.Lock()


class OpenFile(Protocol):
    """A file at hand, and its size in bytes."""

    size: int

    def read_at(self, position: int, size: int) -> bytes:
        """At most `size` bytes from a position; none at the end, and only there."""

    def close(self) -> None: ...


class _OnDisk:
    def __init__(self, path: str):
        self._handle = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._handle).st_size

    def read_at(self, position: int, size: int) -> bytes:
        return os.pread(self._handle, size, position)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


class _InStore:
    def __init__(self, url: str):
        self._url = url
        self.size, self._state = _facts(url)

    def read_at(self, position: int, size: int) -> bytes:
        size = min(size, self.size - position)
        if size <= 0:
            return b""
        if size >= _PIECE:
            return _read_exactly(self._url, position, position + size)
        number, first = divmod(position, _PIECE)
        piece = _piece(self._url, self._state, number, self.size)
        return piece[first : first + size]

    def close(self) -> None:
        pass


def is_url(file: str) -> bool:
    """Whether a file lies in a store, and not on disk."""
    return "://" in file


def open_file(file: str) -> OpenFile:
    """Open a file to read any part of it.

    Raises:
        OSError: It is on disk and cannot be opened.
        InputError: It is in a store that does not give it.
    """
    return _InStore(file) if is_url(file) else _OnDisk(file)


def state_of(file: str) -> tuple[object, ...]:
    """What changes when the content of a file does."""
    if is_url(file):
        return _facts(file)
    facts = Path(file).stat()
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)


def read_object(url: str, size: int) -> bytes:
    """All bytes of a file of a store, asked for at once; one more if it has grown.

    Raises:
        InputError: The store does not give it.
    """
    return _read_range(url, 0, size + 1) if size else b""


def list_store(url: str) -> Iterator[tuple[str, str, int]]:
    """Name below a folder of a store, URL and size of each file there.

    Stores say much of each file, so one folder of the first level is listed after the other, and
    memory is bounded by the largest.

    Raises:
        InputError: There is no such folder, or the store does not list it.
    """
    _facts.cache_clear()
    _piece.cache_clear()
    protocol = url.partition("://")[0]
    if protocol in ("http", "https"):
        raise InputError(
            f"ingest.source: expected a store whose files can be listed, received {url!r}; load "
            "the files into a folder, or name them as s3://..."
        )
    with _naming_store(url):
        system = _file_system(url)
        root = system._strip_protocol(url).rstrip("/")
        if not root:
            raise ValueError("names no bucket or folder")
        entries = {entry["name"]: entry for entry in system.ls(root, detail=True)}
        if root in entries:
            raise InputError(f"ingest.source: expected a folder, received the file {url!r}")
        folders = [name for name, entry in entries.items() if entry["type"] == "directory"]
        if any(name.endswith("/") for name in folders):  # none that could be listed by its name
            folders, entries = [root], {}
        for found in chain([entries], (system.find(one, detail=True) for one in folders)):
            for path, facts in found.items():
                # A name that ends so stands for an empty folder.
                if facts["type"] == "file" and not path.endswith("/"):
                    yield path[len(root) + 1 :], f"{protocol}://{path}", facts["size"]


@lru_cache(maxsize=64)
def _facts(url: str) -> tuple[int, str]:
    """The size of a file of a store, and all that the store says of it."""
    with _naming_store(url):
        facts = _file_system(url).info(url)
    return facts["size"], str(facts)


@lru_cache(maxsize=_KEPT_PIECES)
def _piece(url: str, state: str, number: int, size: int) -> bytes:
    """A piece of a file; another state of it has other pieces."""
    return _read_exactly(url, number * _PIECE, min((number + 1) * _PIECE, size))


def _read_exactly(url: str, start: int, end: int) -> bytes:
    content = _read_range(url, start, end)
    if len(content) != end - start:
        raise InputError(
            f"{url}: expected {end - start} bytes from {start}, received {len(content)}; let "
            "nothing change the raw files during a run, and run it again"
        )
    return content


def _read_range(url: str, start: int, end: int) -> bytes:
    with _naming_store(url):
        return _file_system(url).cat_file(url, start=start, end=end)


def _file_system(url: str) -> AbstractFileSystem:
    protocol = url.partition("://")[0]
    kind = get_filesystem_class(protocol)
    options = tuple(sorted(kind._get_kwargs_from_urls(url).items()))
    with _opening:
        return _open_system(protocol, options, os.getpid())


# One for all threads of a process, as fsspec allows, and never one that a fork has copied.
@lru_cache(maxsize=8)
def _open_system(protocol: str, options: tuple, process: int) -> AbstractFileSystem:
    settings = {"skip_instance_cache": True, "use_listings_cache": False, **dict(options)}
    if protocol not in ("s3", "s3a"):
        return get_filesystem_class(protocol)(**settings)
    system = get_filesystem_class(protocol)(config_kwargs=_S3_SETTINGS, **settings)
    system.retries = 1  # else it repeats all attempts of its library five times
    system.connect()
    return system


@contextmanager
def _naming_store(url: str) -> Iterator[None]:
    """Turn what a store raises into one line.

    Raises:
        InputError: Something was raised; stores do so in many ways.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(
            f"{url}: expected to read it, received {found}; {_remedy(error)}"
        ) from None


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "install that package"
    if isinstance(error, FileNotFoundError | ValueError):
        return "set ingest.source to what is there"
    if isinstance(error, PermissionError) or "credentials" in str(error).lower():
        return "set credentials that may list and read it (AWS_ACCESS_KEY_ID, AWS_PROFILE, ...)"
    return "check that address and network (AWS_ENDPOINT_URL, ...) are right, and run it again"
