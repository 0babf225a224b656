import csv
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import InputError
from stages.common.params import Table
from stages.ingest.labels import Labelled, LabelTable, label_photos
from stages.ingest.sources import find_sources

BY_NAME = Table()


def write(root: Path, **files: str) -> None:
    """Text files below a folder; `__` in a name stands for a slash."""
    for name, content in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode())


def write_photos(root: Path, *names: str) -> None:
    """Files that stand for photos: nothing here opens them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def read(root: Path, names: Table | None = BY_NAME) -> Labelled:
    return label_photos(find_sources(root)[0], names)


def labels(labelled: Labelled) -> dict[str, str]:
    return {photo.name: photo.label for photo in labelled.photos}


def reasons(labelled: Labelled) -> dict[str, str]:
    return {one.source: one.reason for one in labelled.rejected}


def refusal(root: Path, names: Table | None = BY_NAME) -> str:
    with pytest.raises(InputError) as refused:
        read(root, names)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_without_a_table_the_folder_is_the_label(tmp_path):
    write_photos(tmp_path, "cats/a.jpg", "b.jpg")
    labelled = read(tmp_path)
    assert labels(labelled) == {"cats/a.jpg": "cats"}
    assert reasons(labelled) == {"b.jpg": "no_label"}
    assert labelled.tables == []


def test_a_table_says_the_label_and_the_folders_mean_nothing(tmp_path):
    write_photos(tmp_path, "a.jpg", "all/b.jpg", "all/c.jpg")
    write(tmp_path, **{"labels.csv": "path,label\na.jpg,cat\nall/b.jpg,dog\n"})
    labelled = read(tmp_path)
    assert labels(labelled) == {"a.jpg": "cat", "all/b.jpg": "dog"}
    assert reasons(labelled) == {"all/c.jpg": "no_label"}
    assert labelled.tables == ["labels.csv"]


@pytest.mark.parametrize(
    "path",
    ["one/a.jpg", "one/a", "./one/a.jpg", "one\\a.jpg", "a.jpg", "a", "x/../a.jpg", "  a.jpg "],
)
def test_a_path_is_seen_from_the_table_or_from_the_top_with_or_without_extension(tmp_path, path):
    write_photos(tmp_path, "one/a.jpg", "one/b.jpg")
    write(tmp_path, **{"one__labels.csv": f"path,label\n{path},cat\n"})
    assert labels(read(tmp_path)) == {"one/a.jpg": "cat"}


def test_a_path_from_the_folder_of_the_table_goes_before_one_from_the_top(tmp_path):
    write_photos(tmp_path, "a.jpg", "one/a.jpg")
    write(tmp_path, **{"one__labels.csv": "path,label\na.jpg,inner\n"})
    assert labels(read(tmp_path)) == {"one/a.jpg": "inner"}


@pytest.mark.parametrize("path", ["missing.jpg", "a.png", "/a.jpg", "../a.jpg", "", "same"])
def test_a_row_that_names_no_file_or_two_is_listed(tmp_path, path):
    write_photos(tmp_path, "a.jpg", "same.jpg", "same.png")
    write(tmp_path, **{"labels.csv": f"path,label\na.jpg,cat\n{path},dog\n"})
    labelled = read(tmp_path)
    assert labels(labelled) == {"a.jpg": "cat"}
    [missing] = [one for one in labelled.rejected if one.reason == "missing_file"]
    assert missing.source == (path or "labels.csv")
    found = 2 if path == "same" else 0
    assert missing.detail == f"line 3 of labels.csv: expected one file, found {found}"


@pytest.mark.parametrize(
    "header", ["image,label", "Filename,CLASS", " Image Path , Labels ", "id,y"]
)
def test_obvious_columns_are_found_by_their_names(tmp_path, header):
    write_photos(tmp_path, "a.jpg", "b.jpg")
    write(tmp_path, **{"labels.csv": f"width,{header}\n30,a.jpg,cat\n20,b.jpg,dog\n"})
    assert labels(read(tmp_path)) == {"a.jpg": "cat", "b.jpg": "dog"}


def test_an_id_that_numbers_the_rows_is_no_path_beside_a_file_name(tmp_path):
    write_photos(tmp_path, "1.jpg", "2.jpg")
    write(tmp_path, **{"labels.csv": "id,filename,label\n1,2.jpg,cat\n2,1.jpg,dog\n"})
    assert labels(read(tmp_path)) == {"1.jpg": "dog", "2.jpg": "cat"}


def test_a_label_stays_the_text_that_it_is_without_spaces_around(tmp_path):
    texts = ["007", "NA", "nan", "1e5", "-0.50", "a|b", "é", "", '"x, y"', "None"]
    write_photos(tmp_path, *(f"{number}.jpg" for number in range(len(texts))))
    rows = "".join(f"{number}.jpg, {text} \n" for number, text in enumerate(texts))
    write(tmp_path, **{"labels.csv": "\ufefffile,label\r\n" + rows.replace(' "x, y" ', '"x, y"')})
    expected = [text.strip('"') for text in texts]
    assert list(labels(read(tmp_path)).values()) == expected


def test_tabs_and_semicolons_separate_cells_too(tmp_path):
    write_photos(tmp_path, "a.jpg", "b.jpg")
    write(
        tmp_path,
        **{"one.tsv": "path\tlabel\na.jpg\tcat, old\n", "two.csv": "path;value\nb.jpg;1,5\n"},
    )
    labelled = read(tmp_path)
    assert labels(labelled) == {"a.jpg": "cat, old", "b.jpg": "1,5"}
    assert labelled.tables == ["one.tsv", "two.csv"]


def test_a_table_in_a_zip_speaks_of_the_photos_beside_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("set/labels.csv", "image,label\na.jpg,cat\n")
        archive.writestr("set/a.jpg", b"")
    assert labels(read(tmp_path)) == {"photos.zip/set/a.jpg": "cat"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n\n",
        "path,label\n",
        "path,label\nelsewhere.jpg,cat\n",
        "city,inhabitants\nUlm,126000\n",
        "count,sum\n1,2\n",  # photos are called 1.jpg and 2.jpg, by chance
        "ragged,table\n1\n1,2,3\n",
    ],
)
def test_an_unrelated_table_is_listed_and_changes_nothing(tmp_path, content):
    write_photos(tmp_path, "cats/1.jpg", "dogs/2.jpg", "1.jpg", "2.jpg")
    write(tmp_path, **{"notes.csv": content, "cats__notes.tsv": content})
    labelled = read(tmp_path)
    assert labels(labelled) == {"cats/1.jpg": "cats", "dogs/2.jpg": "dogs"}
    assert (
        reasons(labelled)["notes.csv"] == reasons(labelled)["cats/notes.tsv"] == "unrelated_table"
    )


def test_a_file_that_is_no_text_is_listed(tmp_path):
    write_photos(tmp_path, "cats/1.jpg")
    (tmp_path / "notes.csv").write_bytes(b"path,label\n\xff\xfe,cat\n")
    labelled = read(tmp_path)
    assert labels(labelled) == {"cats/1.jpg": "cats"}
    assert reasons(labelled) == {"notes.csv": "unreadable"}


def test_a_table_that_names_photos_without_labels_is_spare_beside_one_with_labels(tmp_path):
    write_photos(tmp_path, "a.jpg", "b.jpg")
    write(tmp_path, **{"train.csv": "id,label\na,cat\n", "test.csv": "id\nb\n"})
    labelled = read(tmp_path)
    assert labels(labelled) == {"a.jpg": "cat"}
    assert reasons(labelled) == {"test.csv": "unrelated_table", "b.jpg": "no_label"}


@pytest.mark.parametrize(
    "header", ["photograph,animal", "path,animal", "photograph,label", "path,label,class"]
)
def test_columns_that_are_not_obvious_are_refused_until_params_name_them(tmp_path, header):
    write_photos(tmp_path, "a.jpg")
    width = header.count(",")
    write(tmp_path, **{"one__labels.csv": f"{header}\n../a.jpg{',cat' * width}\n"})
    message = refusal(tmp_path)
    assert message.startswith("data/raw/one/labels.csv: expected one column of paths")
    assert str(header.split(",")) in message
    assert "ingest.table.path and ingest.table.label" in message
    path, label = header.upper().split(",")[:2]
    assert labels(read(tmp_path, Table(path=path, label=label))) == {"a.jpg": "cat"}


def test_named_columns_that_no_table_has_are_refused(tmp_path):
    write_photos(tmp_path, "cats/a.jpg")
    write(tmp_path, **{"labels.csv": "path,label\ncats/a.jpg,cat\n"})
    assert "label = 'breed'" in refusal(tmp_path, Table(label="breed"))
    (tmp_path / "labels.csv").unlink()
    assert "found none among []" in refusal(tmp_path, Table(label="breed"))


def test_tables_can_be_switched_off(tmp_path):
    write_photos(tmp_path, "cats/a.jpg")
    write(tmp_path, **{"labels.csv": "path,label\ncats/a.jpg,dog\n"})
    labelled = read(tmp_path, None)
    assert labels(labelled) == {"cats/a.jpg": "cats"}
    assert reasons(labelled) == {"labels.csv": "unrelated_table"}


def test_two_labels_of_one_photo_are_refused_and_the_same_twice_is_not(tmp_path):
    write_photos(tmp_path, "a.jpg")
    write(tmp_path, **{"one.csv": "path,label\na.jpg,cat\na,cat\n"})
    assert labels(read(tmp_path)) == {"a.jpg": "cat"}
    write(tmp_path, **{"two.csv": "path,label\na.jpg,dog\n"})
    message = refusal(tmp_path)
    assert "two.csv: expected one label for a.jpg, found 'cat' and, in line 2, 'dog'" in message


@pytest.mark.parametrize(("row", "cells"), [("a.jpg,big,cat", 3), ("a.jpg", 1)])
def test_a_row_with_too_many_or_too_few_cells_is_refused(tmp_path, row, cells):
    write_photos(tmp_path, "a.jpg", "b.jpg")
    write(tmp_path, **{"labels.csv": f"path,label\n\nb.jpg,dog\n{row}\n"})
    assert f"labels.csv: expected 2 cells in line 4, found {cells}" in refusal(tmp_path)


@given(
    st.dictionaries(
        st.text("ab.é,\"' ", min_size=1).filter(lambda name: name.strip(" ")),
        st.text("ab|;\"' \t\n,007"),
        min_size=1,
    )
)
def test_every_cell_comes_back_stripped(cells):
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["path", "label"])
    writer.writerows(cells.items())
    table = LabelTable("labels.csv", buffer.getvalue().encode())
    assert table.header == ["path", "label"]
    expected = [[path.strip(), label.strip()] for path, label in cells.items()]
    assert [row for _, row in table.rows()] == expected
