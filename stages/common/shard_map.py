"""One function that maps a pure function over shards, and keeps what it computed."""

import fcntl
import hashlib
import io
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from stages.common.errors import InputError
from stages.common.fan_out import fan_out
from stages.common.files import (
    file_digest,
    fresh_folder,
    keep_digests,
    known_digest,
    locked,
    naming_full_disk,
    remove_matching,
)
from stages.common.imports import code_digest
from stages.common.log import log
from stages.common.machine import cache_folder, worker_count

_UNFINISHED = ".unfinished-"
# Files that a thread hashes at a time: most are small, or known already.
_CHUNK = 16
# Seconds that workers take to start, and one process to do what they do meanwhile, about.
_START_UP = 1.0


Where = Literal["anywhere", "apart", "here"]


@dataclass(frozen=True)
class Task:
    """One shard of work.

    Attributes:
        arguments: What the function is called with, before the settings.
        inputs: What the result depends on besides settings and code: a path stands for the bytes
            of that file, a string for itself.
        read: Other files that the function reads, of which `inputs` name what it takes.
    """

    arguments: tuple
    inputs: tuple[Path | str, ...]
    read: tuple[Path, ...] = ()


def map_shards(
    function: Callable[..., dict[str, np.ndarray]],
    tasks: Sequence[Task],
    settings: dict,
    description: str,
    unit: str = "shard",
    where: Where = "anywhere",
) -> list[Path]:
    """Call `function(*task.arguments, **settings)` for every task, or find its kept result.

    The calls are spread over worker processes of this machine (as many as cores, or
    `DARKROOM_WORKERS`) or of a cluster (`DARKROOM_ENGINE`), and each finished result is kept in the
    local cache under a key of the bytes of its inputs, the settings and the code. So a killed run
    goes on where it stopped, and a run with few new images computes few shards. Where the work is
    done, and by how many, changes nothing in the results.

    Args:
        function: A pure function at the top of its module; gives named arrays.
        tasks: One for each shard.
        settings: Params that the result depends on, as JSON can hold them.
        description: For the progress bar and the log.
        unit: What a task is, for these too.
        where: `apart`: not even short work is done in this process, since the function sets up the
            process that runs it; `here`: all of it is, since this process holds what it needs.

    Returns:
        A folder for each task, in the order of the tasks, with one `<name>.npy` for each array.

    Raises:
        InputError: The disk of the cache is full, or the cluster cannot do the work.
    """
    place = cache_folder() / function.__name__
    with naming_full_disk(place):
        place.mkdir(parents=True, exist_ok=True)
        _lock(place).touch()
    _remove_unfinished(place)
    folders = [place / key for key in _keys(function, tasks, settings, description)]
    missing = {
        folder: task for folder, task in zip(folders, tasks, strict=True) if not folder.is_dir()
    }
    progress = tqdm(
        total=len(tasks),
        initial=len(tasks) - len(missing),
        desc=description,
        unit=unit,
        mininterval=1,
    )
    with progress:
        for _ in _compute_all(function, missing, settings, where):
            progress.update()
    log(f"{description}: computed {len(missing)} of {len(tasks)} {unit}s, kept the others")
    return folders


def _remove_unfinished(place: Path) -> None:
    """Remove what killed runs left half-written, unless another process is writing."""
    with locked(_lock(place), fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        if alone:
            remove_matching(place, _UNFINISHED)


def _lock(place: Path) -> Path:
    """A file, since of a folder on a shared disk other machines see no lock."""
    return place.with_suffix(".lock")


def _keys(function: Callable, tasks: Sequence[Task], settings: dict, description: str) -> list[str]:
    """The name of each task's result."""
    inputs = dict.fromkeys(one for task in tasks for one in task.inputs if isinstance(one, Path))
    digests = file_digests(list(inputs), f"{description}: looking up")
    code = code_digest(function.__module__)

    def key(task: Task) -> str:
        inputs = [digests[one] if isinstance(one, Path) else one for one in task.inputs]
        what = [function.__module__, function.__name__, code, settings, inputs]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]

    return [key(task) for task in tasks]


def file_digests(files: Sequence[Path], description: str) -> dict[Path, str]:
    """SHA-256 of each file, hexadecimal; in threads, since hashing needs no interpreter.

    Args:
        files: Those that are not known yet are read.
        description: For the progress bar, which shows when it takes longer.
    """
    found = {file: known_digest(file) for file in files}
    unread = [file for file, digest in found.items() if digest is None]
    if unread:
        chunks = [unread[start : start + _CHUNK] for start in range(0, len(unread), _CHUNK)]
        progress = tqdm(total=len(unread), desc=description, leave=False, mininterval=1, delay=1)
        with ThreadPoolExecutor(worker_count()) as threads, progress:
            some_digests = threads.map(lambda some: list(map(file_digest, some)), chunks)
            for chunk, digests in zip(chunks, some_digests, strict=True):
                found.update(zip(chunk, digests, strict=True))
                progress.update(len(chunk))
        keep_digests()
    return found


def _compute_all(
    function: Callable[..., dict[str, np.ndarray]],
    missing: Mapping[Path, Task],
    settings: dict,
    where: Where,
) -> Iterator[None]:
    """Compute each task into its folder, and tell of each when it is finished.

    In this process, if what is left would take it less time than to start workers.
    """
    if not missing:
        return
    calls = [
        (function, task.arguments, settings, folder, _stamps((*task.inputs, *task.read)))
        for folder, task in missing.items()
    ]
    with locked(_lock(next(iter(missing)).parent), fcntl.LOCK_SH):
        start, left = time.perf_counter(), 0.0
        limit = {"apart": 0, "anywhere": _START_UP, "here": math.inf}[where]
        while calls and left < limit:
            _finish(*_compute(*calls.pop(0)))
            yield
            done = len(missing) - len(calls)
            left = (time.perf_counter() - start) / done * len(calls)
        if calls:
            for done in fan_out(_compute, calls):
                _finish(*done)
                yield


def _stamps(inputs: Iterable[Path | str]) -> dict[Path, tuple[int, int]]:
    """Size and time of the last change, seconds, of the files among what a task reads.

    They are opened for it: else a machine may tell of a shared file how it looked a minute ago.
    """
    found = {}
    for path in inputs:
        if isinstance(path, Path):
            with path.open("rb") as file:
                facts = os.fstat(file.fileno())
            found[path] = (facts.st_size, int(facts.st_mtime))
    return found


def _compute(
    function: Callable[..., dict[str, np.ndarray]],
    arguments: tuple,
    settings: dict,
    folder: Path,
    stamps: Mapping[Path, tuple[int, int]],
) -> tuple[Path, Path]:
    """Compute one task's arrays into an unfinished folder beside that which is to hold them.

    The machine that does it may not be the one that asks, and not see the same disk.
    """
    there = _stamps(path for path in stamps if path.is_file())
    if there != stamps or not folder.parent.is_dir():
        other = next((path for path in stamps if there.get(path) != stamps[path]), folder.parent)
        raise InputError(
            f"{other.absolute()}: expected what the machine that asks has there, found nothing or "
            "something else; let both see the same disk under the same path"
        )
    arrays = function(*arguments, **settings)
    with naming_full_disk(folder.parent), fresh_folder(folder.parent, _UNFINISHED) as fresh:
        for name, array in arrays.items():
            _save(array, fresh / f"{name}.npy")
    return fresh, folder


def _save(array: np.ndarray, path: Path) -> None:
    """Write an array; not by `np.save`, which loses the cause where the disk is full."""
    array = np.asarray(array, order="C")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.write(array.reshape(-1).view(np.uint8))


def _finish(fresh: Path, folder: Path) -> None:
    """Give a complete result its name.

    Its files are written through to the disk before: else a power cut could leave a name without
    content. That is done here and not by a worker, which would only wait for the disk.
    """
    if not fresh.is_dir():
        raise InputError(
            f"{fresh.absolute()}: expected what another machine wrote there, found nothing; set "
            "DARKROOM_CACHE to a folder on a disk that all machines see under the same path"
        )
    with naming_full_disk(folder.parent):
        try:
            for file in fresh.iterdir():
                _write_through(file)
            fresh.rename(folder)
        except BaseException as error:
            shutil.rmtree(fresh, ignore_errors=True)
            # Another process may have finished the same shard meanwhile; then that one serves.
            if not (isinstance(error, OSError) and folder.is_dir()):
                raise


def _write_through(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
