"""Which modules of `stages` a module imports, directly and indirectly.

`dvc.yaml` lists them as dependencies of each stage, and the local cache of shards takes their
text into its keys, so neither can miss a change of code.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def imported_files(module: str) -> list[Path]:
    """The files below `stages/` that importing `module` runs, its own among them.

    Args:
        module: A dotted name, e.g. "stages.augment".

    Returns:
        Paths relative to the project's folder, sorted.

    Raises:
        ValueError: There is no such module.
    """
    waiting = _files_of(module)
    if not waiting:
        raise ValueError(f"expected a module of stages/, received {module!r}")
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imports_in(file)
    return sorted(found)


@cache
def code_digest(module: str) -> str:
    """A hash of the code that `module` runs: `imported_files(module)`, and the lock file, since
    libraries decode, warp and infer too."""
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    for file in imported_files(module):
        digest.update(f"{file.as_posix()}\0".encode())
        digest.update((ROOT / file).read_bytes())
    return digest.hexdigest()


@cache
def project_digest() -> str:
    """A hash of all code of `stages/`."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "stages").rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _imports_in(file: Path) -> list[Path]:
    """The files that the import statements of one file name, in functions too."""
    names = []
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            # `from stages.common import shards` may name a module or something inside one.
            names += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return [file for name in names if name.split(".")[0] == "stages" for file in _files_of(name)]


def _files_of(module: str) -> list[Path]:
    """The file of a module; for a package its `__init__.py` and, if run by -m, `__main__.py`."""
    path = Path(*module.split("."))
    candidates = [path.with_suffix(".py"), path / "__init__.py", path / "__main__.py"]
    return [file for file in candidates if (ROOT / file).is_file()]
