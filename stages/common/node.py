"""What a worker of a cluster does: a call, in a process of its own in the project's folder.

A worker knows nothing of the project, so `call_in_project` is sent there as a whole, and uses only
what joblib brings along. It starts a process, since a worker may have many threads, serves many
projects and outlives a change of code and data; the process has the folder, the modules and the
TensorFlow of one run of one stage.
"""

import multiprocessing
import os
import pickle
import socket
import sys
from collections.abc import Mapping

from joblib.externals.loky import get_reusable_executor

_IDLE = 300  # seconds; then a process without work ends


def call_in_project(project: str, environment: Mapping[str, str], call: bytes) -> bytes:
    """Run in a worker: let a process in the project's folder answer a call.

    Args:
        project: The folder, which this machine has to see under the same path.
        environment: Variables of that process. With other variables it is another one.
        call: Of `stages.common.fan_out`.

    Returns:
        The answer, pickled: what became of the call and the result, or a text about the fault.
    """
    # A worker of Dask is a daemon, and these may start no process.
    multiprocessing.current_process().daemon = False
    answer = None
    while answer is None:  # a thread that serves another run may have exchanged the processes
        processes = get_reusable_executor(_calls_at_once(), timeout=_IDLE, env=dict(environment))
        answer = processes.submit(_enter_and_answer, project, environment, call).result()
    return answer


def _calls_at_once() -> int:
    """The threads of a worker of Dask; one of Ray makes a call at a time."""
    worker = sys.modules.get("distributed.worker")
    try:
        return worker.get_worker().state.nthreads if worker else 1
    except ValueError:  # Dask is loaded, but this is no worker of it
        return 1


def _enter_and_answer(project: str, environment: Mapping[str, str], call: bytes) -> bytes | None:
    if any(os.environ.get(name) != value for name, value in environment.items()):
        return None
    try:
        os.chdir(project)
        sys.path[:] = [project, *(one for one in sys.path if one != project)]
        from stages.common.fan_out import answer
    except (OSError, ImportError) as error:
        fault = (
            f"{socket.gethostname()}: expected to run {project} there ({error}); let that machine "
            "see the same disk under the same path, and install requirements.lock"
        )
        return pickle.dumps(("fault", fault))
    return answer(call)
