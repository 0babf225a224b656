import csv
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.common.errors import InputError
from stages.common.params import Limits, Table
from stages.common.photos import Unusable
from stages.ingest.find_sources import find_sources
from stages.ingest.pixel_layouts import find_layout
from stages.ingest.pixel_tables import PixelLayout, PixelRow, rows
from stages.ingest.sources import Source


def draw(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Random images whose corner pixels take many values, as those of photos do."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def table(header: list[str] | None, lines: list[list[object]], delimiter: str = ",") -> bytes:
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, lineterminator="\n")
    writer.writerows([*([header] if header else []), *lines])
    return written.getvalue().encode()


def as_text(image: np.ndarray) -> str:
    return " ".join(map(str, image.ravel().tolist()))


def as_cells(image: np.ndarray) -> list[int]:
    return image.ravel().tolist()


def source(folder: Path, content: bytes, name: str = "set/table.csv") -> Source:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return Source(name, str(file), len(content))


def layout_of(folder: Path, content: bytes, **names: object) -> PixelLayout | None:
    return find_layout(source(folder, content), Table(**names))


def refusal(folder: Path, content: bytes, **names: object) -> str:
    with pytest.raises(InputError) as refused:
        layout_of(folder, content, **names)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def decoded(row: PixelRow) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row.read())))


def read_all(one: Source, *columns: int, **names: object) -> tuple[list[np.ndarray], list]:
    """Every image of a table, and the texts in some columns."""
    layout = find_layout(one, Table(**names))
    found = list(rows(one, layout, columns))
    return [decoded(row) for row, _ in found], [texts for _, texts in found]


def fault(one: Source, **names: object) -> list[tuple[str, str]]:
    """Reason and detail of each row that cannot be read."""
    faults = []
    for row, _ in rows(one, find_layout(one, Table(**names))):
        try:
            row.read()
        except Unusable as error:
            faults.append((error.reason, error.detail))
    return faults


def test_pixels_as_text_with_label_and_split(tmp_path):
    images = draw(5, 48, 48)
    lines = [[number, as_text(image), "Training"] for number, image in enumerate(images)]
    one = source(tmp_path, table(["emotion", "pixels", "Usage"], lines))
    layout = find_layout(one, Table())
    assert (layout.height, layout.width, layout.channels) == (48, 48, 1)
    assert (layout.header, layout.others) == (("emotion", "pixels", "Usage"), [0, 2])
    assert layout.label is None
    read, texts = read_all(one, 0, 2)
    assert np.array_equal(read, images)
    assert texts == [(str(number), "Training") for number in range(5)]


def test_a_row_is_named_by_its_line_whatever_follows(tmp_path):
    lines = [[number, as_text(image)] for number, image in enumerate(draw(3, 8, 8))]
    short = source(tmp_path, table(["label", "pixels"], lines[:2]), "short.csv")
    long = source(tmp_path, table(["label", "pixels"], lines * 50), "long.csv")
    before = [row.name for row, _ in rows(short, find_layout(short, Table()))]
    after = [row.name for row, _ in rows(long, find_layout(long, Table()))]
    assert before == ["short.csv/00000002", "short.csv/00000003"]
    assert after[:2] == ["long.csv/00000002", "long.csv/00000003"]
    assert after == sorted(set(after))


HEADERS = {
    "pixel": lambda height, width: [f"pixel{number}" for number in range(height * width)],
    "spaced": lambda height, width: [f" Pixel {number} " for number in range(height * width)],
    "places": lambda height, width: [
        f"{row}x{column}" for row in range(1, height + 1) for column in range(1, width + 1)
    ],
    "numbers": lambda height, width: [f"{number}" for number in range(height * width)],
}


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("place", [0, 400, 784])
def test_a_column_for_each_pixel_and_a_label_by_name(tmp_path, kind, place):
    images = draw(4, 28, 28)
    header = HEADERS[kind](28, 28)
    header.insert(place, "label")
    lines = [as_cells(image) for image in images]
    for number, line in enumerate(lines):
        line.insert(place, number)
    one = source(tmp_path, table(header, lines))
    layout = find_layout(one, Table())
    assert (layout.label, layout.others) == (None, [place])
    read, texts = read_all(one, place)
    assert np.array_equal(read, images)
    assert texts == [("0",), ("1",), ("2",), ("3",)]


@pytest.mark.parametrize("label", ["first", "last"])
def test_without_a_header_params_say_where_the_label_is(tmp_path, label):
    images = draw(6, 28, 28)
    values = [[number % 2] for number in range(6)]
    lines = [
        [*value, *as_cells(image)] if label == "first" else [*as_cells(image), *value]
        for image, value in zip(images, values, strict=True)
    ]
    one = source(tmp_path, table(None, lines))
    layout = find_layout(one, Table(label=label))
    assert layout.header is None
    assert layout.others == [layout.label] == [0 if label == "first" else 784]
    read, texts = read_all(one, layout.label, label=label)
    assert np.array_equal(read, images)
    assert texts == [(str(value[0]),) for value in values]


@pytest.mark.parametrize("place", [0, 784])
@pytest.mark.parametrize("labels", ["cat dog", "300 301", "-1 1000", "0.5 1.5"])
def test_without_a_header_a_column_that_can_be_no_pixel_is_the_label(tmp_path, place, labels):
    lines = [as_cells(image) for image in draw(6, 28, 28)]
    for number, line in enumerate(lines):
        line.insert(place, labels.split()[number % 2])
    assert layout_of(tmp_path, table(None, lines)).label == place


def test_a_single_broken_pixel_does_not_make_a_column_the_label(tmp_path):
    lines = [[number % 2, *as_cells(image)] for number, image in enumerate(draw(6, 28, 28))]
    lines[3][-1] = "x"
    assert "ingest.table.label" in refusal(tmp_path, table(None, lines))
    one = source(tmp_path, table(None, lines))
    [(reason, detail)] = fault(one, label="first")
    assert reason == "bad_row"
    assert detail == "line 4: expected whole numbers from 0 to 255, found 'x'"


def test_without_a_header_an_uncertain_label_is_refused_with_both_candidates(tmp_path):
    lines = [[number % 3, *as_cells(image)] for number, image in enumerate(draw(40, 8, 8))]
    last = len({line[-1] for line in lines})
    message = refusal(tmp_path, table(None, lines))
    assert f"the first (3 distinct values) and the last ({last} distinct values)" in message
    assert "set ingest.table.label: first, or last" in message


def test_without_a_header_and_label_the_columns_fit_as_they_are(tmp_path):
    images = draw(3, 28, 28)
    one = source(tmp_path, table(None, [as_cells(image) for image in images]))
    layout = find_layout(one, Table())
    assert (layout.label, layout.others) == (None, [])
    assert np.array_equal(read_all(one)[0], images)


def test_a_header_of_numbers_that_counts_the_label_too_loses_no_row(tmp_path):
    images = draw(3, 28, 28)
    lines = [[number, *as_cells(image)] for number, image in enumerate(images)]
    one = source(tmp_path, table(list(map(str, range(785))), lines))
    read, texts = read_all(one, 0, label="first")
    assert np.array_equal(read, images)
    assert texts == [("0",), ("1",), ("2",)]


def test_without_a_header_a_broken_first_row_is_listed_and_not_taken_for_one(tmp_path):
    lines = [[number, *as_cells(image)] for number, image in enumerate(draw(4, 28, 28))]
    lines[0][5] = "256"
    [(reason, detail)] = fault(source(tmp_path, table(None, lines)), label="first")
    assert (reason, detail) == (
        "bad_row",
        "line 1: expected whole numbers from 0 to 255, found '256'",
    )


@pytest.mark.parametrize("cells", [1, 700, 900])
def test_without_a_header_a_first_row_of_another_length_is_listed(tmp_path, cells):
    lines = [[f"class {number}", *as_cells(image)] for number, image in enumerate(draw(4, 28, 28))]
    lines[0] = [*lines[0], *[0] * 200][:cells]
    found = fault(source(tmp_path, table(None, lines)))
    assert found == [("bad_row", f"line 1: expected 785 cells, found {cells}")]


def test_text_without_a_header_has_its_label_beside_it(tmp_path):
    images = draw(4, 8, 8)
    lines = [[as_text(image), number] for number, image in enumerate(images)]
    one = source(tmp_path, table(None, lines))
    layout = find_layout(one, Table())
    assert (layout.header, layout.label) == (None, 1)
    read, texts = read_all(one, 1)
    assert np.array_equal(read, images)
    assert len(texts) == 4


def test_text_without_a_header_between_two_columns_needs_to_know_the_label(tmp_path):
    lines = [[number, as_text(image), "Training"] for number, image in enumerate(draw(4, 8, 8))]
    message = refusal(tmp_path, table(None, lines))
    assert "the first (4 distinct values) and the last (1 distinct values)" in message
    assert layout_of(tmp_path, table(None, lines), label="first").label == 0


@st.composite
def written(draw_from: st.DrawFn) -> tuple[np.ndarray, bytes, dict[str, object]]:
    """Images, the bytes of a table of them in some form, and the params that it needs."""
    channels = draw_from(st.sampled_from([1, 3]))
    height = draw_from(st.integers(8, 12))
    width = draw_from(st.just(height) | st.integers(8, 12))
    seed = draw_from(st.integers(0, 2**32 - 1))
    shape = (height, width) if channels == 1 else (height, width, 3)
    images = draw(draw_from(st.integers(2, 5)), *shape, seed=seed)
    numbers = [f"class {number}" for number in range(len(images))]
    delimiter = draw_from(st.sampled_from(",;\t"))
    form = draw_from(st.sampled_from(["text", "columns", "headerless"]))
    if form == "text":
        header = ["label", "pixels"]
        lines = [[one, as_text(image)] for one, image in zip(numbers, images, strict=True)]
    else:
        header = ["label", *(f"pixel{number}" for number in range(images[0].size))]
        header = header if form == "columns" else None
        lines = [[one, *as_cells(image)] for one, image in zip(numbers, images, strict=True)]
    content = table(header, lines, delimiter)
    if draw_from(st.booleans()):
        content = content.replace(b"\n", b"\r\n")
    if draw_from(st.booleans()):
        content = b"\xef\xbb\xbf" + content
    if draw_from(st.booleans()):
        content = content.replace(b"\n", b"\n\n").rstrip()
    return images, content, {} if height == width else {"image_size": [height, width]}


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(form=written())
def test_every_form_is_read_back_to_the_last_pixel(tmp_path_factory, form):
    images, content, names = form
    one = source(tmp_path_factory.mktemp("pixels"), content)
    read, texts = read_all(one, 0, **names)
    assert np.array_equal(read, images)
    assert texts == [(f"class {number}",) for number in range(len(images))]


@pytest.mark.parametrize("pack", ["zip", "tar.gz"])
def test_rows_of_a_table_in_an_archive_are_read_in_any_order_and_process(tmp_path, pack):
    images = draw(200, 16, 16)
    content = table(
        ["label", "pixels"], [[number, as_text(image)] for number, image in enumerate(images)]
    )
    if pack == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("in/table.csv", content)
    else:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
            info = tarfile.TarInfo("in/table.csv")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    [one], _ = find_sources(tmp_path, Limits())
    found = [row for row, _ in rows(one, find_layout(one, Table()))]
    assert found[0].name == f"a.{pack}/in/table.csv/00000002"
    for number in [150, 3, 199, 0]:
        copied = pickle.loads(pickle.dumps(found[number]))
        assert np.array_equal(decoded(copied), images[number])


def test_quoted_pixels_and_labels_are_read(tmp_path):
    images = draw(2, 8, 8)
    lines = [f'"cat, ""old""","{as_text(image)}"\n' for image in images]
    read, texts = read_all(source(tmp_path, ("label,pixels\n" + "".join(lines)).encode()), 0)
    assert np.array_equal(read, images)
    assert texts == [('cat, "old"',)] * 2


@pytest.mark.parametrize(
    ("broken", "detail"),
    [
        ("1,{pixels} 7", "expected 64 numbers, found 65"),
        ("1,7 7", "expected 64 numbers, found 2"),
        ("1,", "expected 64 numbers, found 0"),
        ("1", "expected 2 cells, found 1"),
        ("1,{pixels},2", "expected 2 cells, found 3"),
        ("1,256{tail}", "expected whole numbers from 0 to 255, found '256'"),
        ("1,-1{tail}", "expected whole numbers from 0 to 255, found '-1'"),
        ("1,0.5{tail}", "expected whole numbers from 0 to 255, found '0.5'"),
        ("1,1_0{tail}", "expected whole numbers from 0 to 255, found '1_0'"),
        ("1,²{tail}", "expected whole numbers from 0 to 255, found '²'"),
        ('1,"{pixels}', "unexpected end of data"),
        ("\udcff,{pixels}", "not in UTF-8"),
    ],
)
def test_a_broken_row_alone_is_refused_with_its_line(tmp_path, broken, detail):
    texts = [as_text(image) for image in draw(4, 8, 8)]
    row = broken.format(pixels=texts[2], tail=" " + " ".join(texts[2].split()[1:]))
    lines = ["label,pixels", f"0,{texts[0]}", f"0,{texts[1]}", row, f"0,{texts[3]}"]
    one = source(tmp_path, "\n".join(lines).encode(errors="surrogateescape"))
    assert fault(one) == [("bad_row", f"line 4: {detail}")]


def test_a_row_that_cannot_be_divided_has_empty_texts(tmp_path):
    texts = [as_text(image) for image in draw(3, 8, 8)]
    content = f"label,pixels\n5,{texts[0]}\n5\n5,{texts[2]}\n".encode()
    one = source(tmp_path, content)
    found = [cells for _, cells in rows(one, find_layout(one, Table()), [0])]
    assert found == [("5",), ("",), ("5",)]


def test_numbers_with_leading_zeros_are_values(tmp_path):
    one = source(tmp_path, table(["label", "pixels"], [["a", " ".join(["007"] * 64)]] * 2))
    assert np.array_equal(read_all(one)[0], np.full((2, 8, 8), 7))


def test_fractions_are_refused_row_by_row(tmp_path):
    one = source(tmp_path, table(["label", "pixels"], [["a", " ".join(["0.25"] * 64)]] * 3))
    assert [reason for reason, _ in fault(one)] == ["bad_row"] * 3


@pytest.mark.parametrize(
    "lines",
    [
        [["label", "pixels"], *([0, as_text(image)] for image in draw(3, 8, 9))],
        [
            ["label", *(f"pixel{number}" for number in range(72))],
            *([0, *as_cells(image)] for image in draw(3, 8, 9)),
        ],
    ],
)
@pytest.mark.parametrize("size", [None, [8, 10]])
def test_a_count_that_fits_no_size_is_refused(tmp_path, lines, size):
    message = refusal(tmp_path, table(None, lines), image_size=size)
    assert "found 72" in message
    assert "ingest.table.image_size" in message
    fitting = layout_of(tmp_path, table(None, lines), image_size=[8, 9])
    assert (fitting.height, fitting.width, fitting.channels) == (8, 9, 1)


def test_names_of_places_give_the_size(tmp_path):
    header = ["label", *HEADERS["places"](8, 9)]
    lines = [[0, *as_cells(image)] for image in draw(3, 8, 9)]
    layout = layout_of(tmp_path, table(header, lines))
    assert (layout.height, layout.width) == (8, 9)


def test_params_name_the_column_of_pixels_among_several(tmp_path):
    first, second = draw(2, 8, 8)
    content = table(["label", "before", "after"], [[0, as_text(first), as_text(second)]] * 3)
    assert "set ingest.table.pixels" in refusal(tmp_path, content)
    one = source(tmp_path, content)
    assert np.array_equal(read_all(one, pixels="After")[0][0], second)
    assert layout_of(tmp_path, content, pixels="elsewhere") is None


def marks(count: int) -> list[list[object]]:
    """A table of paths and of many labels that are called by numbers."""
    header = ["path", *map(str, range(count))]
    return [header, *([f"{row}", *([0, 1] * count)[:count]] for row in range(9))]


@pytest.mark.parametrize(
    "lines",
    [
        [["path", "label"], ["a.jpg", "cat"], ["b.jpg", "dog"]],
        [["id", "label"], *([number, number % 2] for number in range(99))],
        [["path", "pixels"], ["a.jpg", as_text(draw(1, 8, 8))], ["b.jpg", "none"]],
        [["path", *range(64)], *(["a.jpg", *as_cells(image)] for image in draw(3, 8, 8))],
        [["a.jpg", *as_cells(image)] for image in draw(3, 8, 8)],
        [["image", "runs"], *([f"{n}", " ".join(map(str, range(n, 9000, 90)))] for n in range(9))],
        [["image", "box"], *([number, "10 20 30 40"] for number in range(9))],
        [["label", *(f"sensor{n}" for n in range(64))], *([0, *range(64)] for _ in range(9))],
        [["label", *(f"pixel{n}" for n in range(9))], *([0, *range(9)] for _ in range(9))],
        [["id", *(f"x{n}" for n in range(64))], *([0, *([0.5] * 64)] for _ in range(9))],
        marks(64),
        marks(100),
        marks(100)[1:],
        [["only", "a", "header"]],
        [[]],
    ],
)
def test_a_table_of_other_things_is_no_table_of_pixels(tmp_path, lines):
    assert layout_of(tmp_path, table(None, lines)) is None


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a,"b\nc\n', bytes(1000)])
def test_a_file_that_cannot_be_read_as_text_is_no_table_of_pixels(tmp_path, content):
    assert layout_of(tmp_path, content) is None


def test_only_tables_of_text_hold_pixels(tmp_path):
    content = table(["label", "pixels"], [[0, as_text(image)] for image in draw(3, 8, 8)])
    assert find_layout(source(tmp_path, content, "a.xlsx"), Table()) is None
    assert find_layout(source(tmp_path, content, "a.TSV"), Table()) is not None
