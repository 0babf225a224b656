"""Dask and Ray clusters on loopback, each worker with its own processes and scratch folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cloudpickle
import distributed
import psutil

PATIENCE = 120  # seconds; the machine may be busy


class Cluster:
    """What runs: the engine to name, and its workers in the order in which they were started."""

    def __init__(self, engine: str):
        self.engine = engine
        self.workers: list[subprocess.Popen] = []
        self.scheduler: subprocess.Popen | None = None

    def kill(self, worker: int) -> None:
        """`kill -9` of a worker and of all processes that it started."""
        _kill_session(self.workers[worker].pid)

    def kill_scheduler(self) -> None:
        """The same of the scheduler of Dask."""
        _kill_session(self.scheduler.pid)


@contextmanager
def dask_cluster(
    folder: Path, workers: Sequence[Mapping[str, str]], threads: int = 1, before: Sequence[str] = ()
) -> Iterator[Cluster]:
    """A Dask scheduler with workers.

    Args:
        folder: For scratch files and logs.
        workers: Of each worker the variables that its environment has beside those of the tests.
        threads: Of each worker.
        before: Words before the command of a worker.
    """
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    cluster = Cluster(f"dask:{address}")
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    with ExitStack() as stack:
        scheduler = ["-m", "distributed.cli.dask_scheduler", *common, "--port", str(port)]
        process = started([sys.executable, *scheduler], folder / "scheduler")
        cluster.scheduler = stack.enter_context(process)
        with _client(address) as client:
            for number, variables in enumerate(workers):
                worker = ["-m", "distributed.cli.dask_worker", address, *common]
                command = [*before, sys.executable, *worker, "--nthreads", str(threads)]
                process = started(command, folder / f"worker-{number}", **variables)
                cluster.workers.append(stack.enter_context(process))
            if workers:
                client.wait_for_workers(len(workers), PATIENCE)
        yield cluster


def calls_done(cluster: Cluster) -> list[int]:
    """How many calls each worker of a Dask cluster has done."""
    # By value, since workers know nothing of the tests.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with _client(cluster.engine.removeprefix("dask:")) as client:
        return list(client.run(_executed).values())


def _executed(dask_worker: distributed.Worker) -> int:
    return dask_worker.state.executed_count


@contextmanager
def _client(address: str) -> Iterator[distributed.Client]:
    with distributed.Client(address, timeout=PATIENCE, set_as_default=False) as client:
        yield client


@contextmanager
def ray_cluster(folder: Path, nodes: int, cpus: int = 2) -> Iterator[Cluster]:
    """A Ray cluster of machines with as many workers as CPUs; the first one is its head.

    Args:
        folder: For logs. Scratch files lie in another, since names of sockets have to be short.
    """
    port = free_port()
    cluster = Cluster(f"ray:127.0.0.1:{port}")
    command = ["-m", "ray.scripts.scripts", "start", "--block", f"--num-cpus={cpus}"]
    scratch = Path(tempfile.mkdtemp(prefix="ray-"))
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={scratch}"]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        for number in range(nodes):
            role = [f"--address=127.0.0.1:{port}"] if number else head
            ip = f"--node-ip-address=127.0.0.{number + 1}"
            process = started(
                [sys.executable, *command, *role, ip],
                folder / f"node-{number}",
                RAY_USAGE_STATS_ENABLED="0",
            )
            cluster.workers.append(stack.enter_context(process))
            log = folder / f"node-{number}" / "log"
            wait_until(lambda log=log: "Ray runtime started" in log.read_text())
        yield cluster


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"waited {PATIENCE} s"
        time.sleep(0.05)


@contextmanager
def started(
    command: Sequence[str], folder: Path, cwd: Path | None = None, **variables: str
) -> Iterator[subprocess.Popen]:
    """A process with a session of its own, killed at the end; its log is `folder/log`.

    Args:
        command: What it is.
        folder: Made for it.
        cwd: Where it works, if not in that folder.
        variables: Of its environment, beside those of the tests.
    """
    folder.mkdir(parents=True)
    environment = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(folder), **variables}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd or folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _kill_session(process.pid)
        process.wait()


def _kill_session(session: int) -> None:
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
