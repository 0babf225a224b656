"""Which photos to predict, and reading them: decoded in threads, never many at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stages.common.photos import Unusable, image_id, is_litter

_THREADS = 4
_AHEAD = 64
"""Photos that are read while others are predicted."""


@dataclass(frozen=True)
class Photo:
    """A photo ready for the network.

    Attributes:
        path: As the user gave it, or below the folder that the user gave.
        id: As `ingest` gives it.
        image: uint8 (height, width, channels).
    """

    path: str
    id: str
    image: np.ndarray


@dataclass(frozen=True)
class Unreadable:
    """A path without a usable photo, and why."""

    path: str
    why: str


def find_photos(given: Iterable[str]) -> Iterator[str | Unreadable]:
    """The photos that some paths stand for, each folder searched in the order of names.

    Like `ingest`, it takes every file of a folder for a photo but hidden ones.

    Args:
        given: Paths of photos and folders.
    """
    for path in given:
        if Path(path).is_dir():
            yield from _search(path)
        else:
            yield path


def _search(folder: str) -> Iterator[str | Unreadable]:
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield Unreadable(folder, error.strerror or str(error))
        return
    for entry in inside:
        if is_litter(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _search(entry.path)
        elif entry.is_dir():
            yield Unreadable(entry.path, "a link to a folder; give that folder itself")
        elif entry.is_file() or entry.is_symlink():
            yield entry.path


def read_lines(stream: BinaryIO) -> Iterator[str]:
    """The paths that a stream holds, one a line, whatever bytes are in their names."""
    for line in stream:
        if path := line.removesuffix(b"\n"):
            yield os.fsdecode(path)


def read_photos(
    found: Iterable[str | Unreadable], develop: Callable[[bytes], np.ndarray]
) -> Iterator[Photo | Unreadable]:
    """Read photos, in their order; some are read ahead while the caller works.

    Args:
        found: As from `find_photos`.
        develop: From the bytes of a file to the image that the network is to see.
    """

    def read(one: str | Unreadable) -> Photo | Unreadable:
        return one if isinstance(one, Unreadable) else _read(one, develop)

    waiting: deque = deque()
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for one in found:
            waiting.append(pool.submit(read, one))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(path: str, develop: Callable[[bytes], np.ndarray]) -> Photo | Unreadable:
    try:
        content = Path(path).read_bytes()
        return Photo(path, image_id(content), develop(content))
    except Unusable as error:
        return Unreadable(path, f"{error.reason}: {error.detail}")
    except OSError as error:
        return Unreadable(path, error.strerror or str(error))
    except (MemoryError, ValueError) as error:  # a NUL in the path, too many pixels
        return Unreadable(path, f"{type(error).__name__}: {error}")
