"""Calls spread over processes: of this machine, or of the workers of a Dask or Ray cluster.

The machines of a cluster share a file system, and see the project and its cache under the same
paths. So only calls and results travel: names of files and a few numbers.
"""

import pickle
import socket
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import cloudpickle
import joblib

from stages.common import clusters, node
from stages.common.errors import InputError, one_line
from stages.common.imports import project_digest
from stages.common.log import log
from stages.common.machine import cache_folder, engine, worker_count

_ATTEMPTS = 5
# Each takes some milliseconds, as long as a shard of small images. More are better shared out.
_JOURNEYS = 8  # of calls to a worker, in which all of them are sent
_DECIDING = (
    *("numpy", "onnxruntime", "opencv-python-headless", "pandas", "pillow", "scikit-learn"),
    *("scipy", "xxhash", "tensorflow", "keras"),
    # What may stand for one of these.
    *("onnxruntime-gpu", "opencv-python", "opencv-contrib-python"),
    *("opencv-contrib-python-headless", "pillow-simd"),
)
_RUN = uuid.uuid4().hex
# A worker of Dask hands back freed memory at once, which takes as long as to warp an image. These
# are the bounds up to which glibc goes by itself.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}
_CLUSTERS = {"dask": clusters.dask_workers, "ray": clusters.ray_workers}
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def fan_out(function: Callable, calls: Sequence[tuple]) -> Iterator[Any]:
    """Call a function with each of some tuples of arguments, in other processes.

    What a worker that was lost had not finished is done by others, of this machine or of another.

    Args:
        function: At the top of a module of `stages`.
        calls: Small, as are the results.

    Yields:
        The results, in the order in which they are finished.

    Raises:
        InputError: The engine cannot be reached, or a machine of it cannot do the work.
    """
    waiting, failures = dict(enumerate(calls)), 0
    while waiting:
        before = len(waiting)
        try:
            for number, result in _run(function, waiting):
                del waiting[number]
                yield result
        except clusters.WorkerLost as lost:
            failures = failures + 1 if len(waiting) == before else 1
            if failures == _ATTEMPTS:
                raise InputError(
                    f"{len(waiting)} tasks are left, and {_ATTEMPTS} times in a row workers were "
                    f"lost before one was finished ({lost}); memory may be short: set fewer "
                    "workers, or smaller shards"
                ) from lost
            log(f"a worker was lost ({lost}); {len(waiting)} tasks go on")


def _run(function: Callable, waiting: Mapping[int, tuple]) -> Iterator[tuple[int, Any]]:
    """Number and result of each call that is finished, as long as no worker is lost."""
    numbered = list(waiting.items())
    kind, address = engine()
    if kind == "local":
        with clusters.processes(min(worker_count(), len(numbered))) as workers:
            yield from workers(joblib.delayed(_numbered)(function, *one) for one in numbered)
        return
    # By value, since there is no such module where a worker runs.
    cloudpickle.register_pickle_by_value(node)
    send = joblib.wrap_non_picklable_objects(node.call_in_project, keep_wrapper=False)
    project, environment = str(Path.cwd()), _environment()
    expected = (project_digest(), _versions())
    with _CLUSTERS[kind](address) as workers:
        size = max(1, len(numbered) // (_JOURNEYS * joblib.effective_n_jobs(-1)))
        groups = (numbered[start : start + size] for start in range(0, len(numbered), size))
        calls = (pickle.dumps((*expected, pickle.dumps((function, one)))) for one in groups)
        for answered in workers(joblib.delayed(send)(project, environment, one) for one in calls):
            yield from _unpacked(answered)


def _environment() -> dict[str, str]:
    """What the processes of a cluster need. It names the run, so that each has its own.

    Those of a run before may hold other code, and data that has changed since.
    """
    return {"DARKROOM_CACHE": str(cache_folder()), "DARKROOM_RUN": _RUN, **_ONE_THREAD, **_MEMORY}


@cache
def _versions() -> dict[str, str]:
    """Of Python and the packages that decide the bytes of results, as far as they are there."""
    installed = {"python": ".".join(map(str, sys.version_info[:2]))}
    for name in _DECIDING:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed


def _unpacked(answered: bytes) -> list[tuple[int, Any]]:
    """Number and result of each call that a journey to a cluster made."""
    status, value = pickle.loads(answered)
    if status == "fault":
        raise InputError(value)
    if status == "error":
        raise value
    return value


def _numbered(function: Callable, number: int, arguments: tuple) -> tuple[int, Any]:
    return number, function(*arguments)


def answer(call: bytes) -> bytes:
    """Do some calls on a machine of a cluster.

    Args:
        call: Pickled: the digest of the code, versions of packages, and, pickled once more, the
            function and the calls, each with its number and arguments.

    Returns:
        Pickled: `result` with number and result of each; `fault` with a line for the user; or
        `error` with an exception that says where it was raised.
    """
    host = socket.gethostname()
    try:
        code, versions, job = pickle.loads(call)
        if fault := _differing(code, versions):
            return pickle.dumps(("fault", f"{host}: {fault}"))
        function, calls = pickle.loads(job)
        return pickle.dumps(("result", [_numbered(function, *one) for one in calls]))
    except ImportError as error:
        return pickle.dumps(("fault", f"{host}: {error}; install requirements.lock there"))
    except OSError as error:
        remedy = "let all machines see the same disk under the same paths, and read and write there"
        return pickle.dumps(("fault", f"{host}: {one_line(error)}; {remedy}"))
    except InputError as error:
        return pickle.dumps(("fault", f"{host}: {error}"))
    except Exception:
        # Not the exception itself, which may not pickle, and would lose where it was raised.
        return pickle.dumps(("error", RuntimeError(f"on {host}: {traceback.format_exc()}")))


def _differing(code: str, versions: Mapping[str, str]) -> str:
    """What is not as on the machine that asks. A package that is lacking may not be needed."""
    if project_digest() != code:
        return f"expected the same code in {Path.cwd()}, found another; let it see the same disk"
    for name, found in _versions().items():
        if found != (expected := versions.get(name, "none")):
            return f"expected {name} {expected}, found {found}; install requirements.lock there"
    return ""
