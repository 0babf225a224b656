import re
from pathlib import Path

import numpy as np
import pytest

from stages.common.errors import InputError
from stages.common.params import Encode, Ingest, Params
from stages.common.paths import MANIFEST
from stages.common.tables import read_json, read_table
from stages.ingest.__main__ import main
from tests.conftest import draw_photo

RAW = Path("data/raw")
REJECTED = Path("reports/ingest/rejected.csv")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty project with a cache of its own and ten drawn photos in one folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_WORKERS", "1")
    for seed in range(10):
        draw_photo(RAW / f"photos/{seed}.png", "red", seed)


def with_ingest(**options: object) -> Params:
    ingest = Ingest(size=(24, 24), near_duplicate=0, **options)
    return Params.model_construct(ingest=ingest, encode=Encode())


def write_labels(*labels: str) -> None:
    rows = "".join(f"photos/{number},{label}\n" for number, label in enumerate(labels))
    (RAW / "labels.csv").write_text("image_id,label\n" + rows)


def files(folder: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def test_the_labels_of_a_table_stand_in_the_manifest_as_they_are():
    labels = ["007", "NA", "0.5", "cat|dog", "", "a", "b", "c", "d", "e"]
    write_labels(*labels)
    main(with_ingest())
    manifest = read_table(MANIFEST).sort_values("source")
    assert manifest["source"].tolist() == [f"photos/{number}.png" for number in range(10)]
    assert manifest["label"].tolist() == labels


def test_a_changed_label_decodes_nothing_and_changes_no_array(capsys):
    write_labels(*"aaaaabbbbb")
    main(with_ingest())
    assert re.search(r"computed [1-9]\d* of", capsys.readouterr().out)
    images, ids = files("data/images"), read_table(MANIFEST)["id"].tolist()
    write_labels(*"aaaaabbbbc")
    main(with_ingest())
    assert "computed 0 of" in capsys.readouterr().out
    assert files("data/images") == images
    assert read_table(MANIFEST)["id"].tolist() == ids
    assert sorted(read_table(MANIFEST)["label"]) == list("aaaaabbbbc")


def test_what_has_no_row_or_no_file_is_listed_and_counts_as_unusable():
    write_labels(*"aaaaabbbb", *["b"] * 2)
    (RAW / "photos/8.png").rename(RAW / "photos/8b.png")
    with pytest.raises(InputError, match=r"at most 5% unusable files .* found 3 unusable, first "):
        main(with_ingest())
    main(with_ingest(max_rejected=0.5))
    rejected = read_table(REJECTED)
    assert dict(zip(rejected["source"], rejected["reason"], strict=True)) == {
        "photos/10": "missing_file",
        "photos/8": "missing_file",
        "photos/8b.png": "no_label",
    }
    assert len(read_table(MANIFEST)) == 9


def test_a_table_of_something_else_is_listed_and_counts_as_nothing():
    (RAW / "photos/notes.csv").write_text("city,inhabitants\nUlm,126000\n")
    main(with_ingest())
    assert read_table(REJECTED)["reason"].tolist() == ["unrelated_table"]
    assert set(read_table(MANIFEST)["label"]) == {"photos"}


def test_the_only_photo_of_a_label_in_a_table_may_be_broken_but_no_folder_may_be_lost():
    write_labels(*"0123456789")
    (RAW / "photos/9.png").write_text("no photo")
    main(with_ingest(max_rejected=0.5))
    assert read_json(Path("reports/ingest/summary.json"))["used"] == 9
    (RAW / "labels.csv").unlink()
    (RAW / "emus").mkdir()
    (RAW / "photos/9.png").rename(RAW / "emus/9.png")
    with pytest.raises(InputError, match=r"found none of \['emus'\]"):
        main(with_ingest(max_rejected=0.5))


def test_photos_without_any_label_are_refused_with_all_ways_to_give_one():
    for photo in (RAW / "photos").iterdir():
        photo.rename(RAW / photo.name)
    with pytest.raises(InputError, match=r"^data/raw: expected a folder per class.* or a table of"):
        main(with_ingest())


def test_a_table_and_folders_give_the_same_images():
    main(with_ingest())
    images, by_folder = files("data/images"), read_table(MANIFEST)
    write_labels(*["photos"] * 10)
    main(with_ingest())
    assert files("data/images") == images
    assert read_table(MANIFEST).equals(by_folder)
    row = by_folder.iloc[0]
    assert np.load(Path("data/images") / row["part"])[row["row"]].shape == (24, 24, 3)
