"""How the work is done here: settings that change no artifact, so neither Git nor DVC knows them.

They stand in the environment, as `DARKROOM_WORKERS`, or in the file `machine.yaml`, as `workers`.
"""

import os
from functools import cache
from pathlib import Path

import joblib
import yaml

from stages.common.errors import InputError, one_line, shown

FILE = Path("machine.yaml")
_NAMES = ("workers", "cache", "engine")
_ENGINES = {"local": "", "dask": "dask:tcp://10.0.0.1:8786", "ray": "ray:10.0.0.1:6379"}


def cache_folder() -> Path:
    """The local cache: `DARKROOM_CACHE`, or `.cache` in the project. Safe to delete at any time."""
    return Path(_setting("cache") or ".cache")


def worker_count() -> int:
    """Worker processes of this machine: `DARKROOM_WORKERS`, or as many as it has cores."""
    setting = _setting("workers")
    if setting and not (setting.isdecimal() and int(setting) > 0):
        raise InputError(
            f"{_named('workers')}: expected a whole number from 1, received {setting!r}"
        )
    return int(setting or joblib.cpu_count())


def engine() -> tuple[str, str]:
    """What runs the work of stages, `DARKROOM_ENGINE`: a kind and the address of its cluster.

    Returns:
        `local` and no address; or `dask` or `ray`, and the address as these know it.
    """
    setting = _setting("engine") or "local"
    kind, colon, address = setting.partition(":")
    if kind not in _ENGINES or bool(colon and address) != (kind != "local"):
        expected = ", ".join(example or kind for kind, example in _ENGINES.items())
        name = _named("engine")
        raise InputError(f"{name}: expected one like {expected}, received {setting!r}")
    return kind, address


def _setting(name: str) -> str:
    """A setting as text; the environment goes before the file; empty if neither has it."""
    value = os.environ.get(_variable(name)) or _read(FILE).get(name)
    return "" if value is None else str(value)


def _named(name: str) -> str:
    """Where a setting stands, for the user."""
    return _variable(name) if os.environ.get(_variable(name)) else f"{FILE}: {name}"


def _variable(name: str) -> str:
    return f"DARKROOM_{name.upper()}"


@cache
def _read(path: Path) -> dict:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected YAML, received {one_line(error)}") from error
    unknown = set(found) - set(_NAMES) if isinstance(found, dict) else {shown(found)}
    if unknown:
        raise InputError(
            f"{path}: expected some of {', '.join(_NAMES)}, received {min(map(str, unknown))}"
        )
    return found
