"""Results as text: what is written is read back by the modules that others read it with."""

import csv
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.predict.outputs import Result, to_csv, to_json, to_table

CLASSES = ["red", "green", 'a "quoted", name\nof two lines', "007"]
RANKING = [("red", 0.75), (CLASSES[2], 0.1875), ("007", 0.0625)]
NAMES = [
    "plain.jpg",
    "with space, comma.jpg",
    'with "quotes".jpg',
    "two\nlines.jpg",
    "Icon\r",
    "=1+1.jpg",
    "größe 写真.jpg",
    "",
]


def written(function, results: list[Result], task: str = "multiclass") -> str:
    return "".join(function(results, task, CLASSES))


@pytest.mark.parametrize("name", NAMES)
def test_csv_is_read_back_with_any_name(name):
    text = written(to_csv, [Result(name, RANKING), Result("other", RANKING[:1])])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [
        ["path", "rank", "class", "confidence"],
        [name, "1", "red", "0.75"],
        [name, "2", CLASSES[2], "0.1875"],
        [name, "3", "007", "0.0625"],
        ["other", "1", "red", "0.75"],
    ]


@pytest.mark.parametrize("name", NAMES)
def test_json_is_read_back_with_any_name(name):
    results = [Result(name, RANKING), Result("other", RANKING[:1], overlay="maps/other.jpg")]
    text = written(to_json, results)
    assert json.loads(text) == [
        {
            "path": name,
            "predictions": [{"class": one, "confidence": share} for one, share in RANKING],
        },
        {
            "path": "other",
            "predictions": [{"class": "red", "confidence": 0.75}],
            "overlay": "maps/other.jpg",
        },
    ]
    lines = text.splitlines()
    assert len(lines) == 4  # [, an object a line, ]
    assert json.loads(lines[1].rstrip(","))["path"] == name


@given(st.lists(st.tuples(st.text(), st.text(), st.floats(0, 1)), max_size=5))
def test_any_text_comes_back_from_csv_and_json(rows):
    results = [Result(path, [(name, share)]) for path, name, share in rows]
    expected = [(path, name) for path, name, _ in rows]
    text = written(to_csv, results)
    if not any("\0" in cell for pair in expected for cell in pair):  # csv of 3.11 reads no NUL
        read = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [(row["path"], row["class"]) for row in read] == expected
        for row, (_, _, share) in zip(read, rows, strict=True):
            assert math.isclose(float(row["confidence"]), share, rel_tol=1e-5)
    facts = json.loads(written(to_json, results))
    assert [(one["path"], one["predictions"][0]["class"]) for one in facts] == expected


def test_a_name_that_is_no_utf8_has_its_bytes_in_json():
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    text = written(to_json, [Result(name, RANKING)])
    # As standard output is set up to write it.
    encoded = text.encode("utf-8", "backslashreplace")
    assert json.loads(encoded)[0]["path"].encode("utf-8", "surrogateescape") == b"caf\xe9.jpg"


def test_no_photo_at_all_is_still_well_formed():
    assert json.loads(written(to_json, [])) == []
    assert list(csv.reader([written(to_csv, [])])) == [["path", "rank", "class", "confidence"]]
    assert written(to_table, []) == ""


def test_a_regression_is_its_value_alone():
    results = [Result("a.jpg", 3.14159265), Result("b.jpg", -1e-7)]
    assert written(to_csv, results, "regression") == (
        '"path","value"\n"a.jpg",3.14159\n"b.jpg",-1e-07\n'
    )
    assert json.loads(written(to_json, results, "regression")) == [
        {"path": "a.jpg", "value": 3.14159},
        {"path": "b.jpg", "value": -1e-07},
    ]
    assert [line.split() for line in written(to_table, results, "regression").splitlines()] == [
        ["3.14159", "a.jpg"],
        ["-1e-07", "b.jpg"],
    ]


def test_the_table_is_aligned_over_photos():
    text = written(to_table, [Result("a.jpg", RANKING), Result("long/name.jpg", RANKING[1:])])
    blocks = text.split("\n\n")
    assert blocks[0].splitlines()[0] == "a.jpg"
    assert blocks[1].splitlines()[0] == "long/name.jpg"
    lines = [line for block in blocks for line in block.splitlines()[1:]]
    assert {line.index("%") for line in lines} == {len(lines[0]) - 1}
    assert [line.split()[-1] for line in lines] == ["75.0%", "18.8%", "6.2%", "18.8%", "6.2%"]


def test_with_one_answer_the_table_has_a_line_for_each_photo():
    text = written(to_table, [Result("a.jpg", RANKING[:1]), Result("b c.jpg", RANKING[2:])])
    assert [line.split(maxsplit=2) for line in text.splitlines()] == [
        ["red", "75.0%", "a.jpg"],
        ["007", "6.2%", "b c.jpg"],
    ]


def test_the_table_marks_labels_that_apply():
    ranking = [("red", 0.9), ("green", 0.5), ("007", 0.4999)]
    lines = written(to_table, [Result("a.jpg", ranking)], "multilabel").splitlines()
    assert [line.strip().startswith("*") for line in lines[1:4]] == [True, True, False]
    assert len({line.index("%") for line in lines[1:4]}) == 1


def test_no_name_steers_the_terminal_or_breaks_a_line():
    names = ["\x1b[31mred\x1b[0m", "two\nlines", "caf\udce9", "\u202egpj.exe"]
    for name in names:
        text = written(to_table, [Result(name, RANKING)])
        assert len(text.splitlines()) == 1 + len(RANKING) + 1
        assert text.replace("\n", "").isprintable()
