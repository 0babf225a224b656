"""Files and folders that appear whole or not at all."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(files: Iterable[tuple[Path, Path]], folder: Path) -> None:
    """Make `folder` hold exactly copies of the given files, and swap it in when it is complete.

    Args:
        files: Pairs of a source file and its path below `folder`.
        folder: An output of a stage; what stood there before is replaced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o755)
        for source, name in files:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, fresh / name)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
