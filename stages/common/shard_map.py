"""One function that maps a pure function over shards, and keeps what it computed."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from tqdm import tqdm

from stages.common.errors import InputError
from stages.common.files import file_digest
from stages.common.imports import code_digest
from stages.common.stage import log


@dataclass(frozen=True)
class Task:
    """One shard of work.

    Attributes:
        arguments: What the function is called with, before the settings.
        inputs: What the result depends on besides settings and code: a path stands for the bytes
            of that file, a string for itself.
    """

    arguments: tuple
    inputs: tuple[Path | str, ...]


def map_shards(
    function: Callable[..., dict[str, np.ndarray]],
    tasks: Sequence[Task],
    settings: dict,
    description: str,
    unit: str = "shard",
) -> list[Path]:
    """Call `function(*task.arguments, **settings)` for every task, or find its kept result.

    The calls are spread over worker processes (as many as cores, or `DARKROOM_WORKERS`), and
    each finished result is kept in the local cache under a key of the bytes of its inputs, the
    settings and the code. So a killed run goes on where it stopped, and a run with few new
    images computes few shards. How many workers there are changes nothing in the results.

    Args:
        function: A pure function at the top of its module; gives named arrays.
        tasks: One for each shard.
        settings: Params that the result depends on, as JSON can hold them.
        description: For the progress bar and the log.
        unit: What a task is, for these too.

    Returns:
        A folder for each task, in the order of the tasks, with one `<name>.npy` for each array.
    """
    call = joblib.delayed(_find_or_compute)
    workers = min(worker_count(), max(len(tasks), 1))
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(
        call(function, task, settings) for task in tasks
    )
    progress = tqdm(results, total=len(tasks), desc=description, unit=unit, mininterval=1)
    folders, computed = [], 0
    for folder, was_computed in progress:
        folders.append(folder)
        computed += was_computed
    log(f"{description}: computed {computed} of {len(tasks)} {unit}s, kept the others")
    return folders


def worker_count() -> int:
    """Worker processes: `DARKROOM_WORKERS`, or the cores of this machine."""
    setting = os.environ.get("DARKROOM_WORKERS", "")
    if setting and not (setting.isdecimal() and int(setting) > 0):
        raise InputError(f"DARKROOM_WORKERS: expected a whole number from 1, received {setting!r}")
    return int(setting or joblib.cpu_count())


def cache_folder() -> Path:
    """The local cache: `DARKROOM_CACHE`, or `.cache` in the project. Safe to delete at any time."""
    return Path(os.environ.get("DARKROOM_CACHE", ".cache"))


def _find_or_compute(
    function: Callable[..., dict[str, np.ndarray]], task: Task, settings: dict
) -> tuple[Path, bool]:
    """The folder of one task's arrays in the local cache, and whether it had to be computed."""
    folder = cache_folder() / function.__name__ / _key(function, task, settings)
    if folder.is_dir():
        return folder, False
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        for name, array in function(*task.arguments, **settings).items():
            np.save(fresh / f"{name}.npy", array, allow_pickle=False)
        fresh.rename(folder)
    except BaseException as error:
        shutil.rmtree(fresh, ignore_errors=True)
        # Another process may have finished the same shard meanwhile; then that one serves.
        if not (isinstance(error, OSError) and folder.is_dir()):
            raise
    return folder, True


def _key(function: Callable, task: Task, settings: dict) -> str:
    inputs = [file_digest(one) if isinstance(one, Path) else one for one in task.inputs]
    code = code_digest(function.__module__)
    what = [function.__module__, function.__name__, code, settings, inputs]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
