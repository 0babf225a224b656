"""Arrays in few large files, and one function that maps a pure function over them.

A shard is a `part-<hash>.npy` with one row for each of its images. Where a shard ends is decided
by the ids of the images alone, so an image added or removed changes one or two shards, and every
other keeps its name and its bytes.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from tqdm import tqdm

from stages.common.imports import ROOT, code_digest

SMALLEST = 16
LARGEST = 512
# One id in so many ends a shard: about 96 images each, so an added image costs little work and
# a data set of millions still has few files.
_MARKED = 80


def cut_shards(ids: Sequence[str]) -> list[slice]:
    """Cut a list of images into shards at places that the ids themselves mark.

    The rule is that of content-defined chunking (Muthitacharoen et al. 2001, "A low-bandwidth
    network file system"): an id whose hash is divisible by a fixed number ends a shard, but
    none ends below `SMALLEST` rows, and each ends at `LARGEST`.

    Args:
        ids: Hexadecimal ids in their final order.

    Returns:
        Slices that cover `ids` without gap or overlap.
    """
    slices, start = [], 0
    for end, image_id in enumerate(ids, start=1):
        marked = int(image_id, 16) % _MARKED == 0
        if end == len(ids) or end - start == LARGEST or (marked and end - start >= SMALLEST):
            slices.append(slice(start, end))
            start = end
    return slices


def part_name(ids: Sequence[str]) -> str:
    """The file name of the shard that holds these images in this order."""
    return f"part-{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:16]}.npy"


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
) -> list[Path]:
    """Call `function(*task.arguments, **settings)` for every task, or find its kept result.

    The calls are spread over worker processes (as many as cores, or `DARKROOM_WORKERS`), and
    each finished result is kept in the local cache under a key of the bytes of its inputs, the
    settings and the code. So a killed run goes on where it stopped, and a run with few new
    images computes few shards. The lock file counts as code, for a library decodes, warps and
    infers too. How many workers there are changes nothing in the results.

    Args:
        function: A pure function at the top of its module; gives named arrays.
        tasks: One for each shard.
        settings: Params that the result depends on, as JSON can hold them.
        description: For the progress bar and the log.

    Returns:
        A folder for each task, in the order of the tasks, with one `<name>.npy` for each array.
    """
    call = joblib.delayed(_find_or_compute)
    workers = min(worker_count(), max(len(tasks), 1))
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(
        call(function, task, settings) for task in tasks
    )
    progress = tqdm(results, total=len(tasks), desc=description, unit="shard", mininterval=1)
    folders, computed = [], 0
    for folder, was_computed in progress:
        folders.append(folder)
        computed += was_computed
    print(f"{description}: computed {computed} of {len(tasks)} shards, kept the others", flush=True)
    return folders


def worker_count() -> int:
    """Worker processes: `DARKROOM_WORKERS`, or the cores of this machine."""
    return int(os.environ.get("DARKROOM_WORKERS", 0)) or joblib.cpu_count()


def cache_folder() -> Path:
    """The local cache: `DARKROOM_CACHE`, or `.cache` in the project. Safe to delete at any time."""
    return Path(os.environ.get("DARKROOM_CACHE", ".cache"))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_shard(path: Path) -> np.ndarray:
    """The array of a shard, mapped from disk: only the rows that are used are read."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def publish(files: Iterable[tuple[Path, Path]], folder: Path) -> None:
    """Make `folder` hold exactly copies of the given files, and swap it in when it is complete.

    Args:
        files: Pairs of a source file and its path below `folder`.
        folder: An output of a stage; what stood there before is replaced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    fresh.chmod(0o755)
    for source, name in files:
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, fresh / name)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _find_or_compute(
    function: Callable[..., dict[str, np.ndarray]], task: Task, settings: dict
) -> tuple[Path, bool]:
    """The folder of one task's arrays in the local cache, and whether it had to be computed."""
    folder = cache_folder() / function.__name__ / _key(function, task, settings)
    if folder.is_dir():
        return folder, False
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    for name, array in function(*task.arguments, **settings).items():
        np.save(fresh / f"{name}.npy", array, allow_pickle=False)
    try:
        fresh.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(fresh)  # another process has finished the same shard meanwhile
    return folder, True


def _key(function: Callable, task: Task, settings: dict) -> str:
    inputs = [file_digest(one) if isinstance(one, Path) else one for one in task.inputs]
    code = [code_digest(function.__module__), file_digest(ROOT / "requirements.lock")]
    what = [function.__module__, function.__name__, code, settings, inputs]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
