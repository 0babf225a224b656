"""Workers through joblib's own backends: processes of this machine, a Dask or a Ray cluster."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import joblib
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from stages.common.errors import InputError, one_line

if TYPE_CHECKING:
    import distributed

_PATIENCE = 10  # seconds until a scheduler has answered, or has a worker
_NO_WORKERS = 30  # seconds without any worker, after which none is waited for

Workers = Callable[[Iterable[tuple]], Iterator[Any]]
"""Makes calls of `joblib.delayed`, and gives the results as they are finished."""


class WorkerLost(Exception):
    """A worker died, or cannot be reached any more."""


class _GivenUp(Exception):
    """Dask gave a call up, for the cause of this."""


@contextmanager
def processes(count: int) -> Iterator[Workers]:
    """Processes of this machine, and never this one.

    Raises:
        WorkerLost: One was killed.
    """
    try:
        if count == 1:
            yield _one_process
        else:
            yield joblib.Parallel(n_jobs=count, return_as="generator_unordered")
    except BrokenProcessPool as error:
        raise WorkerLost(one_line(error, 100)) from error


def _one_process(calls: Iterable[tuple]) -> Iterator[Any]:
    """What joblib would do in this process."""
    with ProcessPoolExecutor(max_workers=1) as process:
        for function, arguments, named in calls:
            yield process.submit(function, *arguments, **named).result()


@contextmanager
def dask_workers(address: str) -> Iterator[Workers]:
    """The workers of a Dask cluster, as `processes`.

    Args:
        address: Of its scheduler, as `tcp://host:8786`.

    Raises:
        InputError: There is no scheduler, or it has no worker, or one with another Python or
            without joblib.
        WorkerLost: One died more often than Dask itself tries again, all did, or the scheduler.
    """
    try:
        import distributed
    except ImportError as error:
        raise _missing(f"dask:{address}", error) from error
    try:
        client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise _unreachable(f"dask:{address}", "a Dask scheduler", error) from error
    # What it leaves behind when it is closed early is told with stack traces.
    for library in ("asyncio", "distributed", "distributed.client", "tornado.application"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    lost = (
        *(BrokenProcessPool, TimeoutError, distributed.KilledWorker, distributed.CancelledError),
        distributed.comm.CommClosedError,
    )
    joblib.register_parallel_backend("dask that tells", _dask_backend())
    with client, joblib.parallel_config("dask that tells", client=client), _giving_up(client):
        try:
            _refuse_unfit(f"dask:{address}", client)
            yield joblib.Parallel(return_as="generator_unordered")
        except lost as error:
            raise WorkerLost(one_line(error, 100)) from error
        except _GivenUp as given_up:
            error = given_up.__cause__
            if isinstance(error, lost):
                raise WorkerLost(one_line(error, 100)) from error
            raise _unable(f"dask:{address}", error) from error


def _dask_backend() -> type:
    """joblib's own, but for what it does with a call that Dask gave up, since workers died with it
    or could not read it: joblib would wait for it for ever."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def submit(self, func: Callable, callback: Callable | None = None) -> Future:
            def tell(done: Future) -> None:
                if error := done.exception():
                    given_up = _GivenUp()
                    given_up.__cause__ = error
                    callback(given_up)

            future = super().submit(func, callback)
            future.add_done_callback(tell)
            return future

        def retrieve_result_callback(self, out: object) -> object:
            if isinstance(out, _GivenUp):
                raise out
            return super().retrieve_result_callback(out)

    return Backend


@contextmanager
def _giving_up(client: distributed.Client) -> Iterator[None]:
    """Cancel all calls if no worker is left for a while: Dask would wait for one for ever."""
    import distributed

    done = threading.Event()

    def watch() -> None:
        left = _NO_WORKERS
        while left and not done.wait(1):
            with suppress(Exception):  # it does not answer, or is about to be closed
                left = left - 1 if not client.scheduler_info()["workers"] else _NO_WORKERS
        if not left:
            client.cancel([distributed.Future(key, client) for key in list(client.futures)])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join(_PATIENCE)


def _refuse_unfit(name: str, client: distributed.Client) -> None:
    """Refuse a cluster without workers, and one whose Python or joblib cannot read calls."""
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=_PATIENCE)
    versions = client.get_versions(packages=["joblib"])
    workers = versions["workers"]
    if not workers:
        raise InputError(
            f"{name}: expected workers, found none in {_PATIENCE} s; start some: dask worker"
        )
    here = _short(sys.version)
    for worker, facts in sorted(workers.items()):
        there = _short(dict(facts["host"])["python"])
        if there != here:
            raise InputError(f"{name}: expected Python {here} as here, found {there} at {worker}")
    for machine, facts in [("the scheduler", versions["scheduler"]), *sorted(workers.items())]:
        if dict(facts["packages"]).get("joblib") is None:
            raise InputError(
                f"{name}: expected joblib, found none at {machine}; install requirements.lock and "
                "requirements-cluster.lock there"
            )


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


@contextmanager
def ray_workers(address: str) -> Iterator[Workers]:
    """The workers of a Ray cluster, as `processes`.

    Args:
        address: Of its head, as `host:6379`. This machine is one of the cluster.

    Raises:
        InputError: There is no such cluster, its versions of Ray and Python are others, or a
            machine lacks joblib.
        WorkerLost: A worker or a machine died.
    """
    try:
        import ray
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise _missing(f"ray:{address}", error) from error
    # Ray itself would try for minutes, and end this process then.
    try:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
        end = time.monotonic() + _PATIENCE
        while not ray.cluster_resources().get("CPU") and time.monotonic() < end:
            time.sleep(0.5)
        if not ray.cluster_resources().get("CPU"):
            raise RuntimeError(f"no CPU of a node in {_PATIENCE} s")
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(f"ray:{address}", "the head of a Ray cluster", error) from error

    class Backend(RayBackend):
        # It can, and its parent, which is made for other pools, says no.
        supports_return_generator = True

    try:
        joblib.register_parallel_backend("ray", Backend)
        with joblib.parallel_config("ray", n_jobs=-1):
            yield joblib.Parallel(return_as="generator_unordered")
    except (BrokenProcessPool, ray.exceptions.RayError) as error:
        if isinstance(cause := getattr(error, "cause", None), ImportError):
            raise _unable(f"ray:{address}", cause) from error
        raise WorkerLost(one_line(error, 100)) from error
    finally:
        ray.shutdown()


def _missing(name: str, error: ImportError) -> InputError:
    return InputError(
        f"{name}: expected its package, {error}; install requirements-cluster.lock here and on "
        "its machines"
    )


def _unable(name: str, error: BaseException) -> InputError:
    return InputError(
        f"{name}: expected machines that can read calls, {one_line(error)}; install "
        "requirements.lock and requirements-cluster.lock on all of them"
    )


def _unreachable(name: str, expected: str, error: Exception) -> InputError:
    return InputError(
        f"{name}: expected {expected} there, {one_line(error)}; start it, or set another "
        "DARKROOM_ENGINE"
    )
