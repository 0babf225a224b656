"""Servers that tests start for themselves, on the loopback interface."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

S3_KEY, S3_SECRET = "anna", "annas-secret"


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[int]:
    """A server process for as long as the context lasts; gives the port that it says it has."""
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if port := re.search(r"(?:port |127\.0\.0\.1:)(\d+)", line):
                    break
            else:
                raise AssertionError(f"{command} ended: {''.join(said)}")
            # A full pipe would block it.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield int(port[1])
        finally:
            process.kill()


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """A server of the S3 protocol without buckets; gives its address. Any key may do all."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with started(command, folder) as port:
        yield f"http://127.0.0.1:{port}"
