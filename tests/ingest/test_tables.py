import csv
import datetime
import io
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.params import Limits
from stages.common.photos import Unusable
from stages.ingest.read_workbook import cell_text
from stages.ingest.sources import Source
from stages.ingest.tables import TextTable, find_delimiter, is_table, open_tables

TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def source(folder: Path, name: str, content: bytes) -> Source:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return Source(name, str(file), len(content))


def open_one(folder: Path, name: str, content: bytes) -> TextTable:
    [table] = open_tables(source(folder, name, content), Limits())
    return table


def refusal(folder: Path, name: str, content: bytes, limits: Limits | None = None) -> Unusable:
    with pytest.raises(Unusable) as refused:
        open_tables(source(folder, name, content), limits or Limits())
    assert "\n" not in refused.value.detail
    return refused.value


def cell(value: object) -> str:
    """A cell of a workbook as XML; None: an empty one."""
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{value:d}</v></c>'
    if isinstance(value, int | float):
        return f"<c><v>{value!r}</v></c>"
    if isinstance(value, datetime.datetime):
        days = (value - datetime.datetime(1899, 12, 30)) / datetime.timedelta(days=1)
        return f'<c s="1"><v>{days!r}</v></c>'
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(str(value))}</t></is></c>'


def sheet(rows: list[list[object]]) -> str:
    body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    return f'<worksheet xmlns="{SPREADSHEET}"><sheetData>{body}</sheetData></worksheet>'


def workbook(**sheets: list[list[object]] | str) -> bytes:
    """An .xlsx with these sheets, each of rows or of XML; the second cell style shows dates."""
    names = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}"/>'
        for number, name in enumerate(sheets, 1)
    )
    relations = "".join(
        f'<Relationship Id="rId{number}" Type="{RELATIONS}/worksheet" '
        f'Target="worksheets/sheet{number}.xml"/>'
        for number in range(1, len(sheets) + 1)
    )
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="{TYPES}.worksheet+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{TYPES}.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{SPREADSHEET}" xmlns:r="{RELATIONS}">'
        f"<sheets>{names}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">{relations}'
        f'<Relationship Id="styles" Type="{RELATIONS}/styles" Target="styles.xml"/>'
        "</Relationships>",
        "xl/styles.xml": f'<styleSheet xmlns="{SPREADSHEET}"><cellXfs><xf numFmtId="0"/>'
        '<xf numFmtId="14"/></cellXfs></styleSheet>',
    }
    for number, content in enumerate(sheets.values(), 1):
        text = content if isinstance(content, str) else sheet(content)
        parts[f"xl/worksheets/sheet{number}.xml"] = text
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return packed.getvalue()


@pytest.mark.parametrize("name", ["a.csv", "b/c.TSV", "a.xlsx", "a.XLS", "a.xlsm", "a.ods"])
def test_tables_are_told_by_their_suffix_in_any_case(name):
    assert is_table(name)


@pytest.mark.parametrize("name", ["a.txt", "csv", "a.csv.jpg", "a.xlsx/b.jpg", "a.docx"])
def test_other_files_are_no_tables(name):
    assert not is_table(name)


def test_a_table_has_a_header_and_rows_with_the_numbers_of_their_lines(tmp_path):
    table = open_one(tmp_path, "set/labels.csv", b" path , label\n\na.jpg, cat \n , \nb.jpg,dog")
    assert (table.name, table.folder) == ("set/labels.csv", "set")
    assert table.header == ["path", "label"]
    assert list(table.rows()) == [(3, ["a.jpg", "cat"]), (5, ["b.jpg", "dog"])]
    assert list(table.rows()) == list(table.rows())
    assert list(table.column(1)) == ["cat", "dog"]


def test_a_column_leaves_out_rows_that_are_too_short(tmp_path):
    assert list(open_one(tmp_path, "a.csv", b"x,y\n1\n1,2\n").column(1)) == ["2"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_table_has_no_header_and_no_rows(tmp_path, content):
    table = open_one(tmp_path, "a.csv", content)
    assert table.header == []
    assert list(table.rows()) == []


def test_a_cell_between_quotes_holds_the_delimiter_quotes_and_line_breaks(tmp_path):
    table = open_one(tmp_path, "a.csv", b'x,y\n"1, ""one""","2\n3"\n4,5\n')
    assert list(table.rows()) == [(2, ['1, "one"', "2\n3"]), (4, ["4", "5"])]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_line_end_and_encoding_gives_the_same_rows(tmp_path, end, encoding):
    content = end.join(["file,label", "ä.jpg,猫", "b.jpg,犬"]).encode(encoding)
    table = open_one(tmp_path, "a.csv", content)
    assert table.header == ["file", "label"]
    assert [cells for _, cells in table.rows()] == [["ä.jpg", "猫"], ["b.jpg", "犬"]]


@pytest.mark.parametrize(
    ("lines", "delimiter"),
    [
        (["path,label", "a.jpg,cat|dog", "b.jpg,cat|bird"], ","),
        (["path;value", "a.jpg;1,5"], ";"),
        (["path;size, cm;label", "a.jpg;1,5;cat", "b.jpg;2,5;dog"], ";"),
        (["path\tlabel", "a.jpg\tcat, old"], "\t"),
        (["path|label", "a.jpg|cat"], "|"),
        (["path,cat|dog", "a.jpg,1|0"], ","),
        (["path,label", "a.jpg,cat, old", "b.jpg,dog, old"], ","),
        (['"path; or name",label', "a.jpg,cat", "b.jpg,dog"], ","),
        (["", " ", "path;label", "a.jpg;cat"], ";"),
        (["path"], ","),
        ([], ","),
    ],
)
def test_the_delimiter_is_found(lines, delimiter):
    assert find_delimiter(lines) == delimiter


TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@given(
    rows=st.integers(2, 5).flatmap(
        lambda width: st.lists(
            st.lists(TEXT, min_size=width, max_size=width), min_size=2, max_size=8
        )
    ),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_csv_writes_is_read_back(tmp_path_factory, rows, delimiter, end):
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        rows
    )
    table = open_one(tmp_path_factory.mktemp("csv"), "a.csv", written.getvalue().encode())
    assert [table.header, *(cells for _, cells in table.rows())] == rows


def test_text_in_an_old_encoding_is_refused_with_what_to_do(tmp_path):
    refused = refusal(tmp_path, "a.csv", "path,label\nKäfer.jpg,Käfer\n".encode("cp1252"))
    assert refused.reason == "unreadable"
    assert refused.detail == "not in UTF-8 (byte 0xe4); save it as CSV in UTF-8"


def test_text_in_an_old_encoding_is_found_behind_the_first_lines_too(tmp_path):
    content = b"path,label\n" + b"a.jpg,cat\n" * 100_000 + b"b.jpg,\xe4\n"
    assert "0xe4" in refusal(tmp_path, "a.csv", content).detail


def test_utf_16_without_a_byte_order_mark_is_refused(tmp_path):
    assert refusal(tmp_path, "a.csv", "path,label\n".encode("utf-16-le")).reason == "unreadable"


@pytest.mark.parametrize("row", ['b.jpg,"dog\nc.jpg,cat\n', 'b.jpg,"dog" old\n'])
def test_a_quoted_cell_that_does_not_end_is_refused_with_its_line(tmp_path, row):
    refused = refusal(tmp_path, "a.csv", b"path,label\na.jpg,cat\n" + row.encode())
    assert refused.reason == "unreadable"
    assert refused.detail.startswith("line 3: ")


def test_a_cell_may_hold_all_pixels_of_a_large_image(tmp_path):
    pixels = "255 " * 300_000
    table = open_one(tmp_path, "a.csv", f"label,pixels\n1,{pixels}\n".encode())
    assert list(table.column(1)) == [pixels.strip()]


def test_a_table_that_cannot_be_opened_is_unreadable(tmp_path):
    with pytest.raises(Unusable) as refused:
        open_tables(Source("gone.csv", str(tmp_path / "gone.csv"), 0), Limits())
    assert refused.value.reason == "unreadable"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.0, "7"),
        (0.5, "0.5"),
        (-0.0, "0"),
        (0.1 + 0.2, "0.3"),
        (1234567890123456.0, "1234567890123456"),
        (True, "TRUE"),
        (False, "FALSE"),
        (" cat ", "cat"),
        ("007", "007"),
        ("", ""),
        (datetime.date(2024, 2, 3), "2024-02-03"),
        (datetime.datetime(2024, 2, 3, 4, 5), "2024-02-03T04:05:00"),
        (datetime.time(4, 5), "04:05:00"),
    ],
)
def test_a_cell_of_a_workbook_becomes_the_text_that_people_see(value, text):
    assert cell_text(value) == text


def test_a_workbook_is_read_as_a_table(tmp_path):
    rows = [
        [" Path ", "label", "on"],
        [],
        ["a.jpg", 1, datetime.datetime(2024, 2, 3)],
        ["Käfer.jpg", 0.5, None],
        ["<b>&.jpg", "=1+1", True],
    ]
    table = open_one(tmp_path, "set/labels.xlsx", workbook(Sheet1=rows, Empty=[]))
    assert (table.name, table.folder) == ("set/labels.xlsx", "set")
    assert table.header == ["Path", "label", "on"]
    assert list(table.rows()) == [
        (3, ["a.jpg", "1", "2024-02-03"]),
        (4, ["Käfer.jpg", "0.5", ""]),
        (5, ["<b>&.jpg", "=1+1", "TRUE"]),
    ]
    assert list(table.column(1)) == ["1", "0.5", "=1+1"]


def test_an_open_document_is_read_as_a_table(tmp_path):
    names = "urn:oasis:names:tc:opendocument:xmlns:"
    spaces = " ".join(f'xmlns:{name}="{names}{name}:1.0"' for name in ["office", "table", "text"])
    body = "".join(
        "<table:table-row>"
        + "".join(
            f'<table:table-cell office:value-type="string"><text:p>{text}</text:p>'
            "</table:table-cell>"
            for text in row
        )
        + "</table:table-row>"
        for row in [["path", "label"], ["a.jpg", "cat"]]
    )
    content = (
        f"<office:document-content {spaces}><office:body><office:spreadsheet><table:table "
        f'table:name="one">{body}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", f'<manifest xmlns="{names}manifest:1.0"/>')
    table = open_one(tmp_path, "a.ods", packed.getvalue())
    assert table.header == ["path", "label"]
    assert list(table.rows()) == [(2, ["a.jpg", "cat"])]


def test_each_sheet_that_holds_cells_is_a_table(tmp_path):
    content = workbook(train=[["path"], ["a.jpg"]], notes=[], test=[["path"], ["b.jpg"]])
    tables = open_tables(source(tmp_path, "set/all.XLSX", content), Limits())
    assert [table.name for table in tables] == ["set/all.XLSX/train", "set/all.XLSX/test"]
    assert [table.folder for table in tables] == ["set", "set"]
    assert [list(table.column(0)) for table in tables] == [["a.jpg"], ["b.jpg"]]


def test_an_empty_workbook_is_an_empty_table(tmp_path):
    table = open_one(tmp_path, "a.xlsx", workbook(Sheet1=[], Sheet2=[]))
    assert (table.name, table.header, list(table.rows())) == ("a.xlsx", [], [])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"path,label\n",
        b"PK\x03\x04 and no more",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000),
        workbook(Sheet1=[["path"], ["a.jpg"]])[:-100],
        workbook(Sheet1="<worksheet><sheetData><row><c"),
    ],
)
@pytest.mark.parametrize("suffix", ["xlsx", "xls", "ods"])
def test_a_broken_workbook_is_unreadable(tmp_path, content, suffix):
    assert refusal(tmp_path, f"a.{suffix}", content).reason == "unreadable"


def test_a_workbook_larger_than_the_limit_is_not_opened(tmp_path):
    content = workbook(Sheet1=[["path"], *([f"{number:09}.jpg"] for number in range(20_000))])
    refused = refusal(tmp_path, "a.xlsx", content, Limits(file_megabytes=0.05))
    assert refused.reason == "too_large"
    assert "ingest.limits.file_megabytes" in refused.detail


def test_a_workbook_that_unpacks_to_more_than_the_limit_is_not_opened(tmp_path):
    content = workbook(Sheet1=[["path"], *(["a.jpg"] for _ in range(20_000))])
    refused = refusal(tmp_path, "a.xlsx", content, Limits(file_megabytes=0.5, ratio=10_000))
    assert len(content) < 500_000
    assert refused.reason == "too_large"


def test_a_workbook_with_a_bomb_is_not_opened(tmp_path):
    content = workbook(Sheet1=[["path"], ["a" * 3_000_000]])
    refused = refusal(tmp_path, "a.xlsx", content)
    assert refused.reason == "too_large"
    assert "ingest.limits.ratio" in refused.detail


def test_two_cells_far_apart_do_not_end_the_run(tmp_path):
    rows = (
        '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c>'
        "</row>"
    )
    far = f'<worksheet xmlns="{SPREADSHEET}"><sheetData>{rows}</sheetData></worksheet>'
    assert refusal(tmp_path, "a.xlsx", workbook(Sheet1=far)).reason == "too_large"
