"""What a model was made from, in digests that change only when that changes."""

import hashlib
import re
from pathlib import Path

from stages.common.faults import read_yaml
from stages.common.paths import IMAGES, MANIFEST, MODEL, SPLITS, TARGETS

_FILES = [Path("params.yaml"), Path("requirements.lock"), MODEL]
# All of these are deps of the stage in dvc.yaml, or the page could show digests of another run.
_TRACED = [path.as_posix() for path in (IMAGES, MANIFEST, TARGETS, SPLITS, MODEL)]
_LOCK = Path("dvc.lock")
_PACKAGES = [
    *("tensorflow", "keras", "numpy", "onnxruntime", "opencv-python-headless", "pandas"),
    *("pillow", "scikit-learn", "dvc"),
]


def origin(source: str) -> dict[str, list[dict] | str | None]:
    """Digests of files, versions of packages, and what DVC knows the data by.

    Args:
        source: Where the raw photos lie, as `ingest.source` says.

    Returns:
        `files` (file, sha256), `packages` (package, version), `traced` (path, md5 of the file or
        folder in dvc.lock; empty without that file) and `model`, the md5 of the model there.
    """
    traced = _traced()
    return {
        "files": [{"file": path.as_posix(), "sha256": _sha256(path)} for path in _FILES],
        "packages": _versions(Path("requirements.lock").read_text(encoding="utf-8")),
        "traced": [
            {"path": path, "md5": traced[path]} for path in [source, *_TRACED] if path in traced
        ],
        "model": traced.get(MODEL.as_posix()),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions(lock: str) -> list[dict[str, str]]:
    """The locked version of each main package; several where they depend on the platform."""
    rows = []
    for name in _PACKAGES:
        found = re.findall(rf"^{re.escape(name)}==([^ ;\\]+)", lock, re.MULTILINE)
        if found:
            rows.append({"package": name, "version": " or ".join(dict.fromkeys(found))})
    return rows


def _traced() -> dict[str, str]:
    """The md5 of every path that a stage before this one read or wrote, as DVC locked them."""
    if not _LOCK.exists():
        return {}
    stages = read_yaml(_LOCK).get("stages", {})
    entries = [
        entry
        for name, stage in stages.items()
        if name != "report"
        for entry in [*stage.get("deps", []), *stage.get("outs", [])]
    ]
    return {entry["path"].rstrip("/"): entry["md5"] for entry in entries if "md5" in entry}
