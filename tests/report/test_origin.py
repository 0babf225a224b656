"""What the model was made from, by digests that change with nothing else."""

import hashlib
from pathlib import Path

import pytest

from stages.report.origin import origin

LOCK = """\
tensorflow==2.20.0 ; python_version < '3.13' \\
    --hash=sha256:aa
tensorflow==2.21.0 ; python_version >= '3.13' \\
    --hash=sha256:bb
keras==3.1 \\
    --hash=sha256:cc
keras-applications==9.9
"""
DVC_LOCK = """\
schema: '2.0'
stages:
  ingest:
    deps: [{path: data/raw, hash: md5, md5: aa.dir}]
    outs: [{path: data/images, hash: md5, md5: bb.dir}]
  finetune:
    outs: [{path: models/model.keras, hash: md5, md5: cc}]
  report:
    deps: [{path: data/raw, hash: md5, md5: old.dir}]
    outs: [{path: reports/index.html, hash: md5, md5: dd}]
"""


@pytest.fixture(autouse=True)
def in_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/model.keras").write_bytes(b"model")
    Path("params.yaml").write_text("a: 1\n")
    Path("requirements.lock").write_text(LOCK)


def test_files_are_known_by_their_sha256():
    files = {one["file"]: one["sha256"] for one in origin("data/raw")["files"]}
    assert list(files) == ["params.yaml", "requirements.lock", "models/model.keras"]
    assert files["models/model.keras"] == hashlib.sha256(b"model").hexdigest()


def test_a_package_locked_for_several_platforms_has_several_versions():
    assert origin("data/raw")["packages"] == [
        {"package": "tensorflow", "version": "2.20.0 or 2.21.0"},
        {"package": "keras", "version": "3.1"},
    ]


def test_the_report_itself_is_not_asked_what_data_it_had():
    Path("dvc.lock").write_text(DVC_LOCK)
    facts = origin("data/raw")
    assert facts["traced"] == [
        {"path": "data/raw", "md5": "aa.dir"},
        {"path": "data/images", "md5": "bb.dir"},
        {"path": "models/model.keras", "md5": "cc"},
    ]
    assert facts["model"] == "cc"


def test_without_dvc_nothing_is_traced():
    facts = origin("data/raw")
    assert facts["traced"] == [] and facts["model"] is None
