"""What stands on the page of a file, and what is left beside it."""

import base64
from pathlib import Path

import pandas as pd

from stages.report.excerpts import chart, excerpt, table


def test_the_first_rows_of_a_table_and_where_all_of_them_are():
    Path("reports/ingest").mkdir(parents=True)
    Path("reports/ingest/quality.csv").write_text("label,value\n007,1\nNA,2\ncat,3\n")
    rows = [{"label": "007", "value": 1}, {"label": "NA", "value": 2}]
    file = "reports/ingest/quality.csv"
    assert table("ingest/quality.csv", rows=2) == {"rows": rows, "total": 3, "file": file}


def test_an_excerpt_of_what_is_no_file_names_none():
    found = excerpt(pd.DataFrame({"a": range(80)}))
    assert (len(found["rows"]), found["total"], found["file"]) == (50, 80, None)


def test_a_chart_is_on_the_page_and_a_very_large_one_beside_it():
    Path("reports/split").mkdir(parents=True)
    small, large = "<svg/>", f"<svg>{'x' * 200_000}</svg>"
    Path("reports/split/small.svg").write_text(small)
    Path("reports/split/large.svg").write_text(large)
    kind, _, content = chart("split/small.svg").partition(",")
    assert (kind, base64.b64decode(content).decode()) == ("data:image/svg+xml;base64", small)
    assert chart("split/large.svg") == "split/large.svg"
