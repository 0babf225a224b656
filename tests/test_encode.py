import pandas as pd
import pytest

from stages.common.errors import InputError
from stages.common.params import Params
from stages.common.paths import CLASSES, MANIFEST, TARGETS
from stages.common.tables import read_json, read_table, write_table
from stages.encode import main


def write_manifest(*labels: str) -> None:
    numbers = range(len(labels))
    table = pd.DataFrame({"id": [f"{number:016x}" for number in numbers]})
    sources = [f"{number}.jpg" for number in numbers]
    write_table(table.assign(source=sources, label=labels), MANIFEST)


def with_encode(training: dict | None = None, **encode: object) -> Params:
    """The smallest valid params with these knobs."""
    sections = ["ingest", "split", "augment", "kfold", "finetune", "evaluate"]
    return Params.model_validate(
        {
            **{name: {} for name in [*sections, "gradcam", "tensorflow"]},
            "encode": encode,
            "backbones": {"lite": {}},
            "features": {"pooled": {"backbone": "lite"}},
            "training": training or {},
            "candidates": {"plain": {}},
        }
    )


def refusal(params: Params) -> str:
    """What the user reads; nothing was written."""
    with pytest.raises(InputError) as refused:
        main(params)
    assert "\n" not in str(refused.value)
    assert not TARGETS.exists() and not CLASSES.exists()
    return str(refused.value)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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
def test_each_image_gets_the_numbers_of_its_class(encoder, columns, targets):
    write_manifest("cold", "warm", "hot", "cold")
    main(with_encode(encoder=encoder))
    table = read_table(TARGETS)
    assert table.columns.tolist() == ["id", *columns]
    assert table["id"].tolist() == read_table(MANIFEST)["id"].tolist()
    assert table[columns].to_numpy().tolist() == targets
    facts = {"task": "multiclass", "encoder": encoder, "classes": ["cold", "hot", "warm"]}
    assert read_json(CLASSES) == facts


def test_two_classes_are_a_binary_task():
    write_manifest("no", "yes", "no")
    main(with_encode(encoder="binarizer"))
    assert read_table(TARGETS)["target"].tolist() == [0, 1, 0]
    assert read_json(CLASSES)["task"] == "binary"


@pytest.mark.parametrize("encoder", ["label", "onehot", "binarizer"])
def test_classes_that_look_like_numbers_or_nothing_keep_their_names(encoder):
    write_manifest("007", "NA", "7", "1e3")
    main(with_encode(encoder=encoder))
    assert read_json(CLASSES)["classes"] == ["007", "1e3", "7", "NA"]
    codes = read_table(TARGETS).drop(columns="id").to_numpy()
    assert (codes[:, 0] if encoder == "label" else codes.argmax(axis=1)).tolist() == [0, 3, 2, 1]


def test_the_order_of_the_photos_decides_no_code():
    write_manifest("b", "a", "c")
    main(with_encode(encoder="label"))
    first = read_json(CLASSES)
    write_manifest("c", "b", "a")
    main(with_encode(encoder="label"))
    assert read_json(CLASSES) == first
    assert read_table(TARGETS)["target"].tolist() == [2, 1, 0]


@pytest.mark.parametrize("task", ["auto", "multiclass", "binary"])
def test_one_class_is_refused(task):
    write_manifest("cat", "cat")
    assert "expected at least two classes, found ['cat']" in refusal(with_encode(task=task))


def test_several_labels_are_a_column_of_zeros_and_ones_each(capsys):
    write_manifest("dog| cat", "", "cat", "emu")
    main(with_encode())
    table = read_table(TARGETS)
    assert table.columns.tolist() == ["id", "target_cat", "target_dog", "target_emu"]
    assert table.drop(columns="id").to_numpy().tolist() == [
        *([1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1])
    ]
    facts = {"task": "multilabel", "encoder": "binarizer", "classes": ["cat", "dog", "emu"]}
    assert read_json(CLASSES) == facts
    said = capsys.readouterr().out
    assert "task multilabel (since the label 'dog| cat' holds encode.separator '|')" in said
    assert "none 1, cat 2, dog 1, emu 1" in said


def test_another_separator_divides_other_cells():
    write_manifest("a;b", "a|b", "c")
    main(with_encode(separator=";"))
    assert read_json(CLASSES)["classes"] == ["a", "a|b", "b", "c"]


def test_numbers_with_a_fraction_are_a_regression(capsys):
    write_manifest("2.50", "-1", "1e3")
    main(with_encode())
    table = read_table(TARGETS)
    assert table.columns.tolist() == ["id", "target"]
    assert table["target"].tolist() == [2.5, -1, 1000]
    assert read_json(CLASSES) == {"task": "regression", "encoder": "none", "classes": []}
    said = capsys.readouterr().out
    assert "task regression (since all labels are numbers, and '2.50' has a fraction)" in said
    assert "values from -1 to 1000" in said


@pytest.mark.parametrize(
    ("task", "labels", "written"),
    [
        ("regression", ["1", "2", "3"], "regression"),
        ("multilabel", ["cat", "dog", ""], "multilabel"),
        # With a named task a cell is one class, whatever stands in it.
        ("binary", ["a|b", "c"], "binary"),
        ("multiclass", ["a|b", "c", "0.5"], "multiclass"),
        ("multiclass", ["0.5", "1.5", "2.5"], "multiclass"),
        ("auto", ["1", "2", "3"], "multiclass"),
    ],
)
def test_a_named_task_goes_before_what_the_labels_look_like(task, labels, written):
    write_manifest(*labels)
    main(with_encode(task=task))
    assert read_json(CLASSES)["task"] == written


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("regression", ["1", "cat", "dog"], "(as encode.task says), found 'cat' for 1.jpg"),
        ("regression", ["1", "2|3"], "found '2|3' for 1.jpg"),
        ("regression", ["1", "inf"], "found 'inf' for 1.jpg"),
        ("regression", ["1", ""], "found '' for 1.jpg"),
        ("regression", ["1", "1.0"], "expected at least two numbers, found '1'"),
        ("binary", ["a", "c", "b"], "expected two classes with task binary, found 3: a, b, c, so"),
        ("multiclass", ["a", "b"], "expected at least three classes with task multiclass, found 2"),
        ("binary", ["a", ""], "found none for 1.jpg"),
        ("auto", ["a", "b", ""], "(since there are 3 different labels), found none for 2.jpg"),
        ("multilabel", ["", "|"], "expected a label of at least one image"),
    ],
)
def test_labels_that_contradict_the_task_are_refused_with_the_first(task, labels, message):
    write_manifest(*labels)
    assert message in refusal(with_encode(task=task))


@pytest.mark.parametrize(
    ("labels", "encode", "training", "message"),
    [
        (
            ["a|b", "a"],
            {"encoder": "label"},
            {},
            "encode.encoder: expected auto or binarizer with task multilabel, received label "
            "(the task is multilabel since the label 'a|b' holds",
        ),
        (
            ["0.5", "1"],
            {},
            {"head": {"activation": "softmax"}},
            "training.head.activation: expected auto or linear with task regression, "
            "received softmax (the task is regression since all labels are numbers",
        ),
        (
            ["a", "b", "c"],
            {},
            {"loss": "mean_squared_error"},
            "training.loss: expected auto or sparse_categorical_crossentropy with task "
            "multiclass and encoder label, received mean_squared_error (the task is multiclass "
            "since there are 3 different labels)",
        ),
        (
            ["cat", "dog"],
            {},
            {"class_weight": {"cta": 2.0, "dog": 1.0}},
            "training.class_weight: unknown class 'cta', did you mean 'cat'?",
        ),
    ],
)
def test_params_that_do_not_fit_the_task_are_refused(labels, encode, training, message):
    write_manifest(*labels)
    assert refusal(with_encode(training, **encode)).startswith(message)


def test_the_log_names_twenty_classes_at_most(capsys):
    write_manifest(*(f"class {number:02}" for number in range(30)))
    main(with_encode())
    said = capsys.readouterr().out
    assert "class 19 1, and 10 more" in said
    assert "class 20" not in said
