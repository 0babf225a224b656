import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common import tables
from stages.common.errors import InputError
from stages.common.tables import (
    read_json,
    read_pieces,
    read_table,
    write_json,
    write_pieces,
    write_table,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))


def test_names_and_labels_stay_what_they_are(tmp_path):
    names = ["007", "NA", "", "nan", "1e5", "None", "true", " x ", "é, ü", 'a"b', "a\nb", "a\r\nb"]
    table = pd.DataFrame({"id": names, "label": names[::-1], "row": range(len(names))})
    write_table(table, tmp_path / "table.csv")
    read = read_table(tmp_path / "table.csv")
    assert read["id"].tolist() == names
    assert read["label"].tolist() == names[::-1]
    assert read["row"].tolist() == list(range(len(names)))


@given(names=st.lists(texts, min_size=1))
def test_any_text_comes_back(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    table = pd.DataFrame({"source": names, "label": names[::-1], "row": range(len(names))})
    write_table(table, path)
    read = read_table(path)
    assert read["source"].tolist() == names
    assert read["label"].tolist() == names[::-1]


def test_numbers_stay_numbers_and_may_be_missing(tmp_path):
    table = pd.DataFrame(
        {
            "id": ["a", "b"],
            "fold": [-1, 2**60 + 1],
            "accuracy": [np.float64(1 / 3), np.nan],
            "zero": [True, False],
        }
    )
    write_table(table, tmp_path / "table.csv")
    read = read_table(tmp_path / "table.csv")
    assert read["fold"].tolist() == [-1, 2**60 + 1]
    assert read["accuracy"][0] == pytest.approx(1 / 3, abs=1e-9)
    assert np.isnan(read["accuracy"][1])
    assert read["zero"].tolist() == [True, False]


def test_the_bytes_are_plain_and_the_same_each_time(tmp_path):
    table = pd.DataFrame({"id": ["b", "a"], "loss": [0.1, 1 / 3]}, index=[5, 3])
    first, second = tmp_path / "new" / "folder" / "first.csv", tmp_path / "second.csv"
    write_table(table, first)
    write_table(read_table(first), second)
    assert first.read_bytes() == b"id,loss\nb,0.1\na,0.333333333\n"
    assert second.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("name", ["plain", "a,b", "=1", "a\rb"])
@pytest.mark.parametrize("place", [0, 4])
def test_pieces_give_the_bytes_of_the_whole_and_come_back(tmp_path, monkeypatch, name, place):
    """A name with a carriage return puts every cell between quotes, wherever it stands."""
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 2)
    names = ["x"] * 5
    names[place] = name
    table = pd.DataFrame({"id": names, "row": range(5), "loss": [0.1, np.nan, 1 / 3, 2, 3]})
    write_table(table, tmp_path / "whole.csv")
    write_pieces(lambda: (table[start : start + 2] for start in (0, 2, 4)), tmp_path / "cut.csv")
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    pieces = list(read_pieces(tmp_path / "cut.csv"))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert pd.concat(pieces)["id"].tolist() == names


def test_json_has_sorted_keys_and_comes_back(tmp_path):
    facts = {"b": [1, 2.5, None], "a": "é\n", "classes": {"z": 1, "y": 2}}
    path = tmp_path / "new" / "facts.json"
    write_json(facts, path)
    other_order = {"classes": {"y": 2, "z": 1}, "a": "é\n", "b": [1, 2.5, None]}
    write_json(other_order, tmp_path / "other.json")
    assert read_json(path) == facts
    assert (tmp_path / "other.json").read_bytes() == path.read_bytes()
    assert path.read_bytes().startswith('{\n  "a": "é\\n",\n  "b"'.encode())
    assert path.read_bytes().endswith(b"}\n")


def test_json_refuses_what_only_python_can_read(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"loss": float("nan")}, tmp_path / "facts.json")


@pytest.mark.parametrize("read", [read_table, read_json])
def test_a_missing_file_tells_what_to_do(read):
    with pytest.raises(InputError, match=r"^nowhere/file: expected a [^\n]* run dvc repro$"):
        read(Path("nowhere/file"))


@pytest.mark.parametrize(
    "name", ["=1+1", "+cmd", "-a", "@sum", "'quoted", "\tx", "\rx", "-1 or so", "''", "=", "-"]
)
def test_a_text_that_a_spreadsheet_would_run_is_disarmed_and_comes_back(tmp_path, name):
    table = pd.DataFrame({"id": ["a", "b"], "label": [name, "plain"]})
    write_table(table, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        cells = [row["label"] for row in csv.DictReader(file)]
    assert cells[0].startswith("'") and cells[1] == "plain"
    assert read_table(tmp_path / "t.csv")["label"].tolist() == [name, "plain"]


@pytest.mark.parametrize("name", ["-1", "-0.5", "+3", "-1e-5", "a=b", "007", ""])
def test_a_number_or_a_plain_text_stays_as_it_is(tmp_path, name):
    write_table(pd.DataFrame({"id": ["a"], "label": [name]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == f"id,label\na,{name}\n"
