"""What a version of the project holds: its images, rejected files, params and figures."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from stages.common.errors import InputError, one_line
from stages.common.paths import CHOICE, CLASSES, MANIFEST, METRICS, REPORTS, SPLITS
from stages.common.tables import read_json, read_table
from stages.compare.versions import Version

NO_SIDE = "none"
_REJECTED = REPORTS / "ingest/rejected.csv"
_NEEDED = ["id", "source", "label", "part", "row"]


@dataclass(frozen=True)
class Contents:
    """What a version of the project holds.

    Attributes:
        version: Where it comes from.
        images: Index `id`; columns `source`, `label`, `part`, `row`, `split` (missing if the
            version has no splits at all, else a side or `NO_SIDE`), and `fold`, `fold_2`, ...
            (missing where an image stands in none). Of several labels, `label` has each once,
            sorted.
        rejected: Columns `source`, `reason`, `detail`.
        task: Of the encoding, if it is known.
        separator: Between several labels.
        metrics: Figures by flat names: `test.accuracy`.
        params: Knobs by flat names: `split.seed`.
        candidate: The one that was chosen.
        notes: What a reader must know of it.
    """

    version: Version
    images: pd.DataFrame
    rejected: pd.DataFrame
    task: str | None = None
    separator: str = "|"
    metrics: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    candidate: str | None = None
    notes: list[str] = field(default_factory=list)


def read_contents(version: Version) -> Contents:
    """Read everything but pictures.

    Raises:
        InputError: The version has no manifest, or something in it cannot be read.
    """
    optional = [SPLITS, _REJECTED, METRICS, CHOICE, CLASSES, Path("params.yaml"), Path("dvc.lock")]
    found = version.find([path.as_posix() for path in [MANIFEST, *optional]])

    def read(path: Path, reader: Callable[[Path], Any], otherwise: Any) -> Any:
        name = path.as_posix()
        return _parse(version, name, found[name], reader) if name in found else otherwise

    manifest = read(MANIFEST, read_table, None)
    _refuse_unusable(manifest, version)
    params = read(Path("params.yaml"), _read_yaml, {})
    task = read(CLASSES, read_json, {}).get("task")
    separator = _separator(params)
    images = manifest.set_index("id")[_NEEDED[1:]]
    if task == "multilabel":
        images["label"] = _sorted_labels(images["label"], separator)
    lock = read(Path("dvc.lock"), _read_yaml, {})
    return Contents(
        version,
        _with_sides(images, read(SPLITS, read_table, None)),
        read(_REJECTED, read_table, pd.DataFrame(columns=["source", "reason", "detail"])),
        task,
        separator,
        flatten(read(METRICS, read_json, {})),
        flatten(params),
        read(CHOICE, read_json, {}).get("candidate"),
        [
            *_lacking(version, [path for path in optional[:4] if path.as_posix() not in found]),
            *_stale(version, lock, found[MANIFEST.as_posix()]),
        ],
    )


def flatten(facts: Any, prefix: str = "") -> dict[str, Any]:
    """Nested sections as one, with dots in the names; lists and empty sections stay values."""
    if not isinstance(facts, dict) or (prefix and not facts):
        return {prefix: facts} if prefix else {}
    flat = {}
    for key, value in facts.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def labels_in(cell: str, separator: str) -> set[str]:
    """The labels that stand in a cell, perhaps none."""
    return {label.strip() for label in cell.split(separator)} - {""}


def _parse(version: Version, name: str, path: Path, reader: Callable[[Path], Any]) -> Any:
    try:
        return reader(path)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{name} of {version.name}: cannot be read: {one_line(error)}") from None


def _read_yaml(path: Path) -> dict:
    # The C loader reads the lock file of a large pipeline ten times faster.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    facts = yaml.load(path.read_bytes(), Loader=loader)
    return facts if isinstance(facts, dict) else {}


def _refuse_unusable(manifest: pd.DataFrame | None, version: Version) -> None:
    if manifest is None:
        raise InputError(f"{version.name}: expected a {MANIFEST}, found none; {version.hint}")
    lacking = [column for column in _NEEDED if column not in manifest]
    if lacking:
        raise InputError(
            f"{MANIFEST} of {version.name}: expected the columns {', '.join(_NEEDED)}, found no "
            f"{', '.join(lacking)}; name another revision"
        )


def _separator(params: dict) -> str:
    section = params.get("encode")
    return str(section.get("separator") or "|") if isinstance(section, dict) else "|"


def _sorted_labels(cells: pd.Series, separator: str) -> pd.Series:
    distinct = {cell: separator.join(sorted(labels_in(cell, separator))) for cell in set(cells)}
    return cells.map(distinct)


def _with_sides(images: pd.DataFrame, splits: pd.DataFrame | None) -> pd.DataFrame:
    if splits is None:
        return images.assign(split=None)
    folds = [name for name in splits if name.startswith("fold")]
    images = images.join(splits.set_index("id")[["split", *folds]])
    images["split"] = images["split"].replace("", NO_SIDE).fillna(NO_SIDE)
    images[folds] = images[folds].where(images[folds] >= 0)
    return images


def _lacking(version: Version, paths: list[Path]) -> list[str]:
    if not paths:
        return []
    return [f"{version.name} has no {', '.join(path.as_posix() for path in paths)}"]


def _stale(version: Version, lock: dict, manifest: Path) -> list[str]:
    """Whether images and figures are of one run, as far as `dvc.lock` tells without hashing."""
    stages = lock.get("stages") or {}
    written = {
        out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs", [])
    }
    notes = []
    recorded = written.get(MANIFEST.as_posix())
    if recorded and recorded != hashlib.md5(manifest.read_bytes()).hexdigest():
        notes.append(
            f"{MANIFEST} of {version.name} is not the one of its dvc.lock; run dvc checkout or "
            "dvc repro"
        )
    used = stages.get("evaluate", {}).get("deps", [])
    if any(written.get(dep["path"], dep.get("md5")) != dep.get("md5") for dep in used):
        notes.append(f"{METRICS} of {version.name} is of an earlier run than its images")
    return notes
