"""The memory that the processes of a command asked for, at its peak. (Linux alone tells this.)

Counted are anonymous and shared pages, looked up every 20 ms. Pages of mapped files (arrays of
images and features, libraries) are not: the system takes them back whenever it needs them, without
writing anything.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_ASKED_FOR = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")


class Peak(NamedTuple):
    """What a command took: megabytes of memory, seconds, and seconds of processors."""

    together: float
    """Of all its processes at one moment."""
    main: float
    """Of the process that was started."""
    largest: float
    """Of each process by itself, the largest."""
    seconds: float
    main_cpu: float
    """Of the process that was started."""
    other_cpu: float
    """Of all others."""


def run_stage(project: Path, stage: str) -> Peak:
    """Run one stage in a project, with a cache of its own, and watch its memory."""
    environment = {**os.environ, "DARKROOM_CACHE": str(project / ".cache")}
    return watch([sys.executable, "-m", f"stages.{stage}"], project, environment)


def watch(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Peak:
    """Run a command in a folder, and watch the memory of it and of all that it starts."""
    together, largest, cpu = 0, dict[int, int](), dict[int, float]()
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        # A session of its own: by that its workers are known.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        while process.poll() is None:
            seen = {
                one: ticks for one, (group, ticks) in _processes().items() if group == process.pid
            }
            cpu |= {one: ticks / _TICKS for one, ticks in seen.items()}
            held = {one: _kilobytes(one) for one in seen}
            together = max(together, sum(held.values()))
            largest |= {one: max(size, largest.get(one, 0)) for one, size in held.items()}
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed: {said.read()[-2000:]}")
    kilobytes = together, largest[process.pid], max(largest.values())
    main_cpu = cpu[process.pid]
    sizes = (size / 1024 for size in kilobytes)
    return Peak(*sizes, seconds, main_cpu, sum(cpu.values()) - main_cpu)


def _kilobytes(process: int) -> int:
    return sum(map(int, _ASKED_FOR.findall(_read(Path("/proc", str(process), "status")))))


def _processes() -> dict[int, tuple[int, int]]:
    """The session of each process, and the ticks for which it ran."""
    found = {}
    for folder in Path("/proc").iterdir():
        # The name, in brackets, may hold spaces.
        fields = (
            _read(folder / "stat").rpartition(")")[2].split() if folder.name.isdecimal() else ()
        )
        if fields:
            found[int(folder.name)] = int(fields[3]), int(fields[11]) + int(fields[12])
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended meanwhile
        return ""
