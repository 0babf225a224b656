import zipfile
from pathlib import Path

import pytest

from stages.common.errors import InputError
from stages.common.params import Encode, Ingest, Table
from stages.ingest.find_sources import find_sources
from stages.ingest.labelled import Labelled
from stages.ingest.labels import label_photos

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


def read(root: Path, names: Table = BY_NAME, **options: object) -> Labelled:
    ingest = Ingest(table=names, **options)
    return label_photos(find_sources(root, ingest.limits)[0], ingest, Encode())


def labels(labelled: Labelled) -> dict[str, str]:
    return {photo.source.name: photo.label for photo in labelled.photos}


def reasons(labelled: Labelled) -> dict[str, str]:
    return {one.source: one.reason for one in labelled.rejected}


def refusal(root: Path, names: Table = BY_NAME, **options: object) -> str:
    with pytest.raises(InputError) as refused:
        read(root, names, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_without_a_table_the_folder_is_the_label(tmp_path):
    write_photos(tmp_path, "cats/a.jpg", "b.jpg")
    labelled = read(tmp_path)
    assert labels(labelled) == {"cats/a.jpg": "cats"}
    assert reasons(labelled) == {"b.jpg": "no_label"}
    assert labelled.layout == ["folders (the first folder of each path)"]


def test_a_table_says_the_label_and_the_folders_mean_nothing(tmp_path):
    write_photos(tmp_path, "a.jpg", "all/b.jpg", "all/c.jpg")
    write(tmp_path, **{"labels.csv": "path,label\na.jpg,cat\nall/b.jpg,dog\n"})
    labelled = read(tmp_path)
    assert labels(labelled) == {"a.jpg": "cat", "all/b.jpg": "dog"}
    assert reasons(labelled) == {"all/c.jpg": "no_label"}
    assert labelled.layout == ["labels.csv: path path, label label"]


def test_a_path_from_the_folder_of_the_table_goes_before_one_from_the_top(tmp_path):
    write_photos(tmp_path, "a.jpg", "one/a.jpg")
    write(tmp_path, **{"one__labels.csv": "path,label\na.jpg,inner\n"})
    assert labels(read(tmp_path)) == {"one/a.jpg": "inner"}


def test_a_row_that_names_no_file_or_two_is_listed(tmp_path):
    write_photos(tmp_path, "a.jpg", "same.jpg", "same.png")
    write(tmp_path, **{"labels.csv": "path,label\na.jpg,cat\nmissing.jpg,cat\nsame,dog\n,cat\n"})
    labelled = read(tmp_path)
    assert labels(labelled) == {"a.jpg": "cat"}
    assert reasons(labelled) == {
        "missing.jpg": "missing_file",
        "same": "missing_file",
        "labels.csv/5": "missing_file",
        "same.jpg": "no_label",
        "same.png": "no_label",
    }
    details = {one.source: one.detail for one in labelled.rejected}
    assert details["same"] == "line 4 of labels.csv: expected one file, found 2"


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
    assert len(labelled.layout) == 2


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


@pytest.mark.parametrize("header", ["path,animal,size", "photograph,cat,dog", "path,label,class"])
def test_columns_that_are_not_obvious_are_refused_until_params_name_them(tmp_path, header):
    write_photos(tmp_path, "a.jpg")
    write(tmp_path, **{"one__labels.csv": f"{header}\n../a.jpg,cat,large\n"})
    message = refusal(tmp_path)
    assert message.startswith("one/labels.csv: expected one column of paths")
    assert str(header.split(",")) in message
    assert "ingest.table.path and ingest.table.label" in message
    path, label = header.upper().split(",")[:2]
    assert labels(read(tmp_path, Table(path=path, label=label))) == {"a.jpg": "cat"}


@pytest.mark.parametrize("header", ["photograph,animal", "path,animal", "photograph,label"])
def test_the_only_columns_that_can_be_are_found(tmp_path, header):
    write_photos(tmp_path, "a.jpg", "b.jpg")
    write(tmp_path, **{"labels.csv": f"{header}\na.jpg,cat\nb.jpg,dog\n"})
    assert labels(read(tmp_path)) == {"a.jpg": "cat", "b.jpg": "dog"}


def test_named_columns_that_no_table_has_are_refused(tmp_path):
    write_photos(tmp_path, "cats/a.jpg")
    write(tmp_path, **{"labels.csv": "path,label\ncats/a.jpg,cat\n"})
    assert "label = 'breed'" in refusal(tmp_path, Table(label="breed"))
    assert "group = ['patient']" in refusal(tmp_path, Table(group=["patient"]))
    (tmp_path / "labels.csv").unlink()
    assert "found none among []" in refusal(tmp_path, Table(label="breed"))
    assert "layout table" in refusal(tmp_path, layout="table")
    assert "layout pixels" in refusal(tmp_path, layout="pixels")


def test_tables_can_be_switched_off(tmp_path):
    write_photos(tmp_path, "cats/a.jpg")
    write(tmp_path, **{"labels.csv": "path,label\ncats/a.jpg,dog\n"})
    labelled = read(tmp_path, layout="folders")
    assert labels(labelled) == {"cats/a.jpg": "cats"}
    assert reasons(labelled) == {"labels.csv": "unrelated_table"}


def test_rows_that_contradict_each_other_cost_their_photo_alone(tmp_path):
    write_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    write(
        tmp_path,
        **{"one.csv": "path,label,split\na.jpg,cat,train\na,cat,train\nb,cat,train\nc,cat,\n"},
    )
    assert labels(read(tmp_path)) == dict.fromkeys(["a.jpg", "b.jpg", "c.jpg"], "cat")
    write(tmp_path, **{"two.csv": "path,label,split\na.jpg,dog,train\nb.jpg,cat,test\nc,cat,\n"})
    labelled = read(tmp_path)
    assert labels(labelled) == {"c.jpg": "cat"}
    assert reasons(labelled) == {"a.jpg": "conflicting_rows", "b.jpg": "conflicting_rows"}


def test_a_row_with_too_many_cells_is_listed_and_one_with_too_few_has_empty_ones(tmp_path):
    write_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    write(tmp_path, **{"labels.csv": "path,label\n\nb.jpg,dog,\na.jpg,big,cat\nc.jpg\n"})
    labelled = read(tmp_path)
    assert labels(labelled) == {"b.jpg": "dog"}
    assert reasons(labelled) == {
        "labels.csv/4": "bad_row",
        "a.jpg": "no_label",
        "c.jpg": "no_label",
    }


def facts(labelled: Labelled) -> dict[str, tuple]:
    return {one.source.name: (one.label, one.split, one.groups) for one in labelled.photos}


def test_split_and_groups_come_from_their_columns(tmp_path):
    write_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = "a,cat,Training,7,x\nb,dog,PublicTest,7,\nc,cat,PrivateTest,8,x\n"
    write(tmp_path, **{"t.csv": " image ,Label,Usage,Patient ID,lesion_id\n" + rows})
    assert facts(read(tmp_path)) == {
        "a.jpg": ("cat", "train", ("Patient ID=7", "lesion_id=x")),
        "b.jpg": ("dog", "validation", ("Patient ID=7",)),
        "c.jpg": ("cat", "test", ("Patient ID=8", "lesion_id=x")),
    }
    named = read(tmp_path, Table(label="lesion_id", group="Label"))
    assert facts(named)["a.jpg"] == ("x", "train", ("Label=cat",))


def test_a_named_split_that_holds_something_else_is_refused(tmp_path):
    write_photos(tmp_path, "a.jpg")
    write(tmp_path, **{"t.csv": "path,label,set\na,cat,blue\n"})
    assert facts(read(tmp_path)) == {"a.jpg": ("cat", "", ())}
    assert "expected train, validation or test" in refusal(tmp_path, Table(split="set"))


def test_columns_of_ones_and_zeros_are_labels(tmp_path):
    write_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    write(tmp_path, **{"t.csv": "image,cat,dog,emu\na,1,0,0\nb,0.0,1.0,1.0\nc,0,0,0\n"})
    assert labels(read(tmp_path)) == {"a.jpg": "cat", "b.jpg": "dog|emu", "c.jpg": ""}
    named = read(tmp_path, Table(label=["dog", "emu"]))
    assert labels(named) == {"a.jpg": "", "b.jpg": "dog|emu", "c.jpg": ""}
    write(tmp_path, **{"t.csv": "image,cat,dog\na,1,0\nb,0,1\nc,0,0\n"})
    assert labels(read(tmp_path)) == {"a.jpg": "cat", "b.jpg": "dog"}
    assert reasons(read(tmp_path)) == {"c.jpg": "no_label"}


def test_tables_called_by_sides_give_the_split(tmp_path):
    write_photos(tmp_path, "all/1.jpg", "all/2.jpg")
    write(tmp_path, **{"train.csv": "id,label\n1,cat\n", "test.csv": "id,label\n2,dog\n"})
    assert facts(read(tmp_path)) == {
        "all/1.jpg": ("cat", "train", ()),
        "all/2.jpg": ("dog", "test", ()),
    }


def test_a_table_beside_folders_of_sides_keeps_these(tmp_path):
    write_photos(tmp_path, "train/1.jpg", "test/1.jpg")
    write(tmp_path, **{"labels.csv": "path,label\ntrain/1.jpg,cat\ntest/1.jpg,dog\n"})
    assert facts(read(tmp_path)) == {
        "train/1.jpg": ("cat", "train", ()),
        "test/1.jpg": ("dog", "test", ()),
    }


def test_an_unlabelled_test_folder_gives_no_split(tmp_path):
    write_photos(tmp_path, "train/cats/1.jpg", "train/dogs/2.jpg", "test/3.jpg")
    labelled = read(tmp_path)
    assert facts(labelled) == {
        "train/cats/1.jpg": ("cats", "", ()),
        "train/dogs/2.jpg": ("dogs", "", ()),
    }
    assert reasons(labelled) == {"test/3.jpg": "no_label"}


def test_sources_of_several_kinds_lie_side_by_side(tmp_path):
    write_photos(tmp_path, "scans/a.jpg", "scans/b.jpg", "photos/cats/c.jpg", "photos/dogs/d.jpg")
    write(tmp_path, **{"scans__labels.csv": "path,label\na.jpg,emus\n"})
    pixels = " ".join(["0"] * 64)
    write(tmp_path, **{"faces.csv": f"emotion,pixels\ncats,{pixels}\n"})
    labelled = read(tmp_path)
    assert labels(labelled) == {
        "faces.csv/00000002": "cats",
        "scans/a.jpg": "emus",
        "photos/cats/c.jpg": "cats",
        "photos/dogs/d.jpg": "dogs",
    }
    assert reasons(labelled) == {"scans/b.jpg": "no_label"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"s(\d\d)", ("01", "", ())),
        (r"s(?P<label>\d\d)(?P<group>\d\d)", ("01", "", ("name=23",))),
        (r"(?P<split>test|train)/s(?P<label>\d\d)", ("01", "test", ())),
    ],
    ids=["label", "label and group", "in the path"],
)
def test_the_name_of_a_file_says_what_the_pattern_finds(tmp_path, pattern, expected):
    write_photos(tmp_path, "test/s0123.pgm", "test/x.pgm", "train/s0223.pgm")
    labelled = read(tmp_path, pattern=pattern)
    assert facts(labelled)["test/s0123.pgm"][::2] == expected[::2]
    assert facts(labelled)["test/s0123.pgm"][1] == "test"  # the folders say it, too
    assert reasons(labelled) == {"test/x.pgm": "no_label"}


def test_a_pattern_of_groups_leaves_the_labels_to_folders(tmp_path):
    write_photos(tmp_path, "ill/p1-a.png", "well/p2-b.png", "well/c.png")
    assert facts(read(tmp_path, pattern=r"^(?P<group>p\d)-")) == {
        "ill/p1-a.png": ("ill", "", ("name=p1",)),
        "well/p2-b.png": ("well", "", ("name=p2",)),
        "well/c.png": ("well", "", ()),
    }


def test_documents_are_listed_and_make_no_class(tmp_path):
    write_photos(tmp_path, "images/cats/1.jpg", "images/dogs/2.jpg")
    write(tmp_path, **{"README.md": "Pets", "annotations__1.xml": "<a/>"})
    (tmp_path / "images/dogs/3.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    labelled = read(tmp_path)
    assert labels(labelled) == {
        "images/cats/1.jpg": "cats",
        "images/dogs/2.jpg": "dogs",
        "images/dogs/3.txt": "dogs",
    }
    assert reasons(labelled) == {
        "README.md": "not_an_image",
        "annotations/1.xml": "not_an_image",
    }
