"""Disks of their own for processes, where the system lets a test mount one."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# As the root of a namespace of its own, so nothing stays mounted after the process.
_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
_MOUNT = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@"'


@functools.cache
def _can_mount() -> bool:
    mount = [*_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") is not None and (
        subprocess.run(mount, capture_output=True).returncode == 0
    )


def run_on_small_disk(disk: Path, size: str, script: str, **environment: str) -> str:
    """Run a script with a new disk at `disk`; what it printed. Fails if the script fails.

    Args:
        disk: An empty folder; empty again for all who come later.
        size: As for `mount`, e.g. "1m". The script may call `mount -o remount,size=...`.
        script: Python, with this project's modules.
        environment: Variables beside those of this process.
    """
    command = [*hidden_behind_a_disk(disk, size), sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def hidden_behind_a_disk(folder: Path, size: str = "10m") -> list[str]:
    """Words before a command that then sees an empty disk of its own at a folder."""
    if not _can_mount():
        pytest.skip("expected `unshare` and the right to mount a tmpfs, found neither here")
    return [*_NAMESPACE, "sh", "-c", _MOUNT, "sh", size, str(folder)]


def seeing(folder: Path, at: Path) -> list[str]:
    """Words before a command that then sees a folder at the path of another."""
    if not _can_mount():
        pytest.skip("expected `unshare` and the right to mount, found neither here")
    bind = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    return [*_NAMESPACE, "sh", "-c", bind, "sh", str(folder), str(at)]
