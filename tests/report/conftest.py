"""Each test of the report writes into a folder of its own."""

import pytest


@pytest.fixture(autouse=True)
def in_an_empty_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
