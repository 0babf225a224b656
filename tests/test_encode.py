import pandas as pd
import pytest

from stages.common.errors import InputError
from stages.common.params import Encode, Params
from stages.common.paths import CLASSES, MANIFEST, TARGETS
from stages.common.tables import read_json, read_table, write_table
from stages.encode import main


def write_manifest(*labels: str) -> None:
    ids = [f"{number:016x}" for number in range(len(labels))]
    write_table(pd.DataFrame({"id": ids, "label": labels}), MANIFEST)


def with_encoder(encoder: str) -> Params:
    return Params.model_construct(encode=Encode(encoder=encoder))


@pytest.mark.parametrize(
    ("encoder", "columns", "targets"),
    [
        ("label", ["target"], [[0], [2], [1], [0]]),
        *[
            (
                encoder,
                ["target_cold", "target_hot", "target_warm"],
                [[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]],
            )
            for encoder in ["onehot", "binarizer"]
        ],
    ],
)
def test_each_image_gets_the_numbers_of_its_class(tmp_path, monkeypatch, encoder, columns, targets):
    monkeypatch.chdir(tmp_path)
    write_manifest("cold", "warm", "hot", "cold")
    main(with_encoder(encoder))
    table = read_table(TARGETS)
    assert table.columns.tolist() == ["id", *columns]
    assert table["id"].tolist() == read_table(MANIFEST)["id"].tolist()
    assert table[columns].to_numpy().tolist() == targets
    facts = {"task": "multiclass", "encoder": encoder, "classes": ["cold", "hot", "warm"]}
    assert read_json(CLASSES) == facts


def test_two_classes_are_a_binary_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest("no", "yes", "no")
    main(with_encoder("binarizer"))
    assert read_table(TARGETS)["target"].tolist() == [0, 1, 0]
    assert read_json(CLASSES)["task"] == "binary"


@pytest.mark.parametrize("encoder", ["label", "onehot", "binarizer"])
def test_classes_that_look_like_numbers_or_nothing_keep_their_names(tmp_path, monkeypatch, encoder):
    monkeypatch.chdir(tmp_path)
    write_manifest("007", "NA", "7", "1e3")
    main(with_encoder(encoder))
    assert read_json(CLASSES)["classes"] == ["007", "1e3", "7", "NA"]
    codes = read_table(TARGETS).drop(columns="id").to_numpy()
    assert (codes[:, 0] if encoder == "label" else codes.argmax(axis=1)).tolist() == [0, 3, 2, 1]


def test_the_order_of_the_photos_decides_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest("b", "a", "c")
    main(with_encoder("label"))
    first = read_json(CLASSES)
    write_manifest("c", "b", "a")
    main(with_encoder("label"))
    assert read_json(CLASSES) == first
    assert read_table(TARGETS)["target"].tolist() == [2, 1, 0]


def test_one_class_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest("cat", "cat")
    with pytest.raises(InputError, match=r"^[^\n]*expected at least two classes, found [^\n]*cat"):
        main(with_encoder("label"))
    assert not TARGETS.exists()
