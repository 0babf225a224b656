"""The replicas of a network in training: one, one a device, or one a process of a cluster.

TensorFlow's own strategies do the work: MirroredStrategy on the devices of this machine,
MultiWorkerMirroredStrategy on the processes that `TF_CONFIG` names. There process 0, the chief,
decides and writes, and the others follow it.
"""

import contextlib
import faulthandler
import io
import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.errors import InputError, one_line, shown
from stages.common.params import Distribution
from stages.common.quiet_tensorflow import tf
from stages.common.snapshots import History, Resume

CONNECTING = 100
"""Seconds in which all processes must have started."""
_SILENCE = 30  # seconds without a sign of life, after which a process counts as lost
_SHAPE = 'expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index"'
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


class Replicas:
    """All replicas in this process.

    Args:
        strategy: What runs them, or None for a single one without any.

    Attributes:
        count: Of all processes.
        chief: Whether this process is the one that writes.
    """

    chief = True

    def __init__(self, strategy: tf.distribute.Strategy | None):
        self.strategy = strategy
        self.count = strategy.num_replicas_in_sync if strategy is not None else 1

    def scope(self) -> contextlib.AbstractContextManager:
        """In which models, and the variables of their optimizers, are made."""
        return self.strategy.scope() if self.strategy is not None else contextlib.nullcontext()

    def local(self, size: int) -> slice:
        """Which rows of a batch of `size` the replicas of this process train on."""
        return slice(0, size)

    def share(self, value: Any) -> Any:
        """What the chief has for `value`, which JSON can hold."""
        return value

    def resume(self, snapshot: Resume) -> Resume:
        """The snapshot that all processes keep and go on from together."""
        return snapshot

    def together(self) -> contextlib.AbstractContextManager:
        """Work at whose end all processes wait for each other; one that is lost ends them all."""
        return contextlib.nullcontext()

    def chief_first(self) -> contextlib.AbstractContextManager:
        """Work that the others do after the chief, since they find kept what it computed."""
        return contextlib.nullcontext()

    def agree(self, identity: str) -> None:
        """Check that all processes have the same, e.g. the same params, code and features.

        Raises:
            InputError: One has another.
        """


class Cluster(Replicas):
    """One replica in this process, and one in each other.

    Args:
        strategy: A connected one.
        index: Of this process.
    """

    def __init__(self, strategy: tf.distribute.Strategy, index: int):
        super().__init__(strategy)
        self._index, self.chief = index, index == 0

    def local(self, size: int) -> slice:
        return slice(*bounds(size, self._index, self.count))

    def share(self, value: Any) -> Any:
        return json.loads(self._from_chief(json.dumps(value).encode()))

    def share_array(self, value: np.ndarray | None) -> np.ndarray:
        """The chief's array, whatever the others have for it."""
        file = io.BytesIO()
        np.save(file, np.empty(0) if value is None else value)
        return np.load(io.BytesIO(self._from_chief(file.getvalue())), allow_pickle=False)

    def resume(self, snapshot: Resume) -> Resume:
        return _SharedResume(self, snapshot)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
            self._sum(np.zeros(1, np.int32))
        except _LOST as error:
            raise InputError(
                f"TF_CONFIG: expected its {self.count} processes to train together, lost one "
                f"({one_line(error, 200)}); start all of them again"
            ) from error

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        if not self.chief:
            self._sum(np.zeros(1, np.int32))
        yield
        if self.chief:
            self._sum(np.zeros(1, np.int32))

    def agree(self, identity: str) -> None:
        differs = np.zeros(self.count, np.int32)
        differs[self._index] = self.share(identity) != identity
        if (differing := np.flatnonzero(self._sum(differs))).size:
            raise InputError(
                "TF_CONFIG: expected the same params, code and features in every process, received "
                f"others in process {differing[0]} than in 0; let all run in one shared folder"
            )

    def _from_chief(self, content: bytes) -> bytes:
        own = content if self.chief else b""
        length = int(self._sum(np.array([len(own)], np.int32))[0])
        padded = np.frombuffer(own + bytes(-len(own) % 4), np.int32)
        return self._sum(padded if self.chief else np.zeros(-(-length // 4), np.int32)).tobytes()[
            :length
        ]

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """The int32 sum over all processes, which waits for all of them."""
        return self.strategy.reduce("SUM", tf.constant(values), axis=None).numpy()


class _SharedResume(Resume):
    """A snapshot that the chief alone keeps, and that all processes go on from."""

    def __init__(self, cluster: Cluster, snapshot: Resume):
        super().__init__(snapshot._path, snapshot._finished, snapshot._variables)
        self._cluster = cluster

    def save(self, history: History, best_weights: list[np.ndarray] | None) -> None:
        if self._cluster.chief:
            super().save(history, best_weights)

    def load(self) -> tuple[History, list[np.ndarray] | None] | None:
        kept = super().load() if self._cluster.chief else None
        history, best = kept or (None, None)
        history, count = self._cluster.share([history, len(best or [])])
        if history is None:
            return None
        for variable in self._variables:
            variable.assign(self._cluster.share_array(variable.numpy()))
        best = [self._cluster.share_array(best[i] if best else None) for i in range(count)]
        return history, best or None


def bounds(size: Any, replica: Any, count: int) -> tuple[Any, Any]:
    """Where the share of a replica in a batch begins and ends; shares differ by at most one row.

    A batch with fewer rows than replicas is the share of each of them, since convolutions on no
    images fail (TensorFlow 2.21 with oneDNN gives them another shape).

    Args:
        size: Of the batch, a whole number or such a tensor.
        replica: Which one, as `size`.
        count: How many there are.
    """
    start, end = size * replica // count, size * (replica + 1) // count
    if tf.is_tensor(size):
        return tf.where(size < count, 0, start), tf.where(size < count, size, end)
    return (0, size) if size < count else (start, end)


def copies(size: tf.Tensor, count: int) -> tf.Tensor:
    """How many replicas train on each row of a batch."""
    return tf.where(size < count, count, 1)


@cache
def distribute(params: Distribution) -> Replicas:
    """The replicas that params ask for, made once in a process.

    Call it before TensorFlow runs its first operation, and after `make_deterministic`.

    Raises:
        InputError: There are fewer devices, `TF_CONFIG` does not fit, or a process is missing.
    """
    if params.strategy == "single":
        return Replicas(None)
    if params.strategy == "mirrored":
        return Replicas(tf.distribute.MirroredStrategy(_devices(params.replicas)))
    addresses, index = read_tf_config(params.replicas)
    return Cluster(_connect(addresses, index), index)


def read_tf_config(replicas: int) -> tuple[list[str], int]:
    """The addresses of all processes, and which of them this is, by `TF_CONFIG`.

    Raises:
        InputError: It is missing or says something else; names what was expected.
    """
    text = os.environ.get("TF_CONFIG", "")
    expected = f"TF_CONFIG: {_SHAPE}: 0}}}} with {replicas} addresses"
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses, index = cluster["worker"], int(task["index"])
        ports = [address.rpartition(":")[2] for address in addresses]
        valid = (
            isinstance(addresses, list)
            and all(port.isdecimal() and 0 < int(port) < 2**16 for port in ports)
            and list(cluster) == ["worker"]
            and task["type"] == "worker"
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        valid = False
    if not valid:
        raise InputError(f"{expected}, received {shown(text) if text else 'none'}")
    if len(set(addresses)) != replicas or len(addresses) != replicas:
        raise InputError(
            f"TF_CONFIG: expected {replicas} different addresses, one for each of "
            f"training.distribution.replicas, received {shown(addresses)}"
        )
    if not 0 <= index < replicas:
        raise InputError(f"TF_CONFIG: expected a task index below {replicas}, received {index}")
    return addresses, index


def _devices(count: int) -> Sequence[str]:
    """The first GPUs; without any, logical devices that share the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and len(gpus) < count:
        raise InputError(
            f"training.distribution.replicas: expected at most the {len(gpus)} GPUs of this "
            f"machine, received {count}"
        )
    if gpus:
        return [f"GPU:{number}" for number in range(count)]
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    tf.config.set_logical_device_configuration(cpu, parts)
    return [f"CPU:{number}" for number in range(count)]


def _connect(addresses: list[str], index: int) -> tf.distribute.Strategy:
    """Wait for all processes, and let the chief's watch over them."""
    # Only here, since TensorFlow has no public name for them; and not above quiet_tensorflow.
    from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
    from tensorflow.python.eager.context import context

    gpus = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(gpus[:1], "GPU")
    if index == 0:
        _wait_for(addresses[1:])
    context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=CONNECTING * 1000,
        heartbeat_timeout_in_ms=_SILENCE * 1000,
        shutdown_barrier_timeout_in_ms=_SILENCE * 1000,
        coordinated_jobs=[CoordinatedJob(name="worker", num_tasks=len(addresses))],
    )
    # TensorFlow waits without end, and without letting Python run, for a process that was there
    # and is gone.
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(CONNECTING + _SILENCE, exit=True, file=nowhere)
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (tf.errors.OpError, RuntimeError) as error:
            raise InputError(
                f"TF_CONFIG: expected to reach the chief at {addresses[0]} from {addresses[index]} "
                f"within {CONNECTING} s, could not ({one_line(error, 200)}); start all processes "
                "within this time"
            ) from error
        finally:
            faulthandler.cancel_dump_traceback_later()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # TensorFlow's handler ignores it


def _wait_for(addresses: list[str]) -> None:
    """Wait until other processes answer.

    Raises:
        InputError: One does not.
    """
    deadline = time.monotonic() + CONNECTING
    for address in addresses:
        host, _, port = address.rpartition(":")
        while True:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise InputError(
                        f"TF_CONFIG: expected a process at {address} within {CONNECTING} s, it "
                        f"does not answer ({one_line(error)}); start all processes within this time"
                    ) from None
            time.sleep(1)
