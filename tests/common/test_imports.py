import json
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common import imports
from stages.common.imports import code_digest, imported_files


def write_project(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def names(module: str) -> list[str]:
    return [file.as_posix() for file in imported_files(module)]


def test_imports_are_followed_in_every_form(tmp_path, monkeypatch):
    write_project(
        tmp_path,
        {
            "stages/train.py": (
                "import numpy\n"
                "import stages.common.plain\n"
                "from stages.common import module_of_package\n"
                "from stages.common.names import function\n"
                "def late():\n"
                "    from stages.common.inside_function import other\n"
            ),
            "stages/common/plain.py": "from stages.common.indirect import x\n",
            "stages/common/indirect.py": "import stages.train\n",  # a circle ends
            "stages/common/module_of_package.py": "",
            "stages/common/names.py": "'from stages.common.only_text import x'\n",
            "stages/common/inside_function.py": "",
            "stages/common/only_text.py": "",
            "stages/other.py": "",
        },
    )
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    assert names("stages.train") == [
        "stages/common/indirect.py",
        "stages/common/inside_function.py",
        "stages/common/module_of_package.py",
        "stages/common/names.py",
        "stages/common/plain.py",
        "stages/train.py",
    ]
    assert names("stages.other") == ["stages/other.py"]


def test_a_folder_that_is_run_counts_with_its_main(tmp_path, monkeypatch):
    write_project(
        tmp_path,
        {
            "stages/split/__main__.py": "from stages.split.allocate import allocate\n",
            "stages/split/allocate.py": "",
            "stages/split/unused.py": "",
        },
    )
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    assert names("stages.split") == ["stages/split/__main__.py", "stages/split/allocate.py"]


def test_a_module_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"received 'stages\.nonsense'"):
        imported_files("stages.nonsense")


def test_the_digest_follows_the_text_of_every_imported_file(tmp_path, monkeypatch):
    files = {
        "requirements.lock": "numpy==1\n",
        "stages/a.py": "import stages.b\n",
        "stages/b.py": "x = 1\n",
        "stages/c.py": "x = 1\n",
    }
    write_project(tmp_path, files)
    monkeypatch.setattr(imports, "ROOT", tmp_path)

    def digest_with(**changed: str) -> str:
        write_project(tmp_path, files | {f"stages/{k}.py": text for k, text in changed.items()})
        return code_digest.__wrapped__("stages.a")  # without the memory of this process

    before = digest_with()
    assert digest_with(a="import stages.b  # same work\n") != before
    assert digest_with(b="x = 2\n") != before
    assert digest_with(c="x = 2\n") == before
    assert digest_with() == before


def test_the_graph_is_what_python_imports():
    """Without the stages that need TensorFlow, which takes long to import."""
    script = """
import importlib, json, sys
for stage in sys.argv[1:]:
    for name in [name for name in sys.modules if name.startswith("stages")]:
        del sys.modules[name]
    importlib.import_module(stage)
    files = [getattr(sys.modules[name], "__file__", None)
             for name in sys.modules if name.startswith("stages")]
    print(json.dumps(sorted(file for file in files if file)))
"""
    stages = ["stages.encode", "stages.ingest.__main__", "stages.split.__main__"]
    stages.append("stages.augment")
    run = subprocess.run(
        [sys.executable, "-c", script, *stages],
        cwd=imports.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for stage, line in zip(stages, run.stdout.splitlines(), strict=True):
        expected = [str(imports.ROOT / name) for name in imported_files(stage)]
        assert json.loads(line) == expected
