import typing
from pathlib import Path

import pytest
import yaml

from stages.common.errors import InputError
from stages.common.params import LOSSES, Params, Section, load_params

COMMITTED = Path(__file__).parents[2] / "params.yaml"

SMALLEST = """
ingest: {}
encode: {}
split: {}
augment: {}
backbones: {lite: {}}
features: {pooled: {backbone: lite}}
training: {features: pooled}
candidates: {plain: {}}
finetune: {}
evaluate: {}
gradcam: {}
tensorflow: {}
"""


def load_with(tmp_path: Path, **changes: object) -> Params:
    """The smallest valid params with other values; `a__b` stands for key b of section a."""
    values = yaml.safe_load(SMALLEST)
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_params(path)


def refusal(tmp_path: Path, **changes: object) -> str:
    """What a user reads about wrong params, without the file's name in front."""
    with pytest.raises(InputError) as refused:
        load_with(tmp_path, **changes)
    message = str(refused.value)
    assert "\n" not in message
    front = f"{tmp_path / 'params.yaml'}: "
    assert message.startswith(front)
    return message.removeprefix(front)


def sections_in(annotation: object) -> list[type[Section]]:
    """The section classes inside an annotation, e.g. of `dict[str, Backbone]` and `Head | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [one for part in typing.get_args(annotation) for one in sections_in(part)]


def unnamed(section: type[Section], entries: list[dict], prefix: str = "") -> list[str]:
    """The knobs of a section and of those in it that no entry of the file names."""
    missing = []
    for name, field in section.model_fields.items():
        values = [entry[name] for entry in entries if name in entry]
        if not values:
            missing.append(prefix + name)
        for inner in sections_in(field.annotation):
            if typing.get_origin(field.annotation) is dict:
                values = [one for value in values for one in value.values()]
            elif typing.get_origin(field.annotation) is list:
                values = [one for value in values for one in value]
            entries_inside = [value for value in values if value is not None]
            missing += unnamed(inner, entries_inside, f"{prefix}{name}.")
    return missing


def test_the_committed_params_are_valid():
    assert load_params(COMMITTED).candidates


def test_the_committed_params_name_every_knob():
    assert unnamed(Params, [yaml.safe_load(COMMITTED.read_text())]) == []


def test_a_knob_that_the_file_does_not_name_would_be_found():
    values = yaml.safe_load(COMMITTED.read_text())
    del values["split"]["ratios"]["test"], values["augment"]["cval"]
    for layer in values["training"]["head"]["layers"]:
        del layer["units"]
    for backbone in values["backbones"].values():
        backbone.pop("seed", None)
    found = unnamed(Params, [values])
    assert found == [
        "split.ratios.test",
        "augment.cval",
        "backbones.seed",
        "training.head.layers.units",
    ]


def test_what_is_left_out_has_a_default(tmp_path):
    params = load_with(tmp_path)
    ratios = params.split.ratios
    assert (ratios.train, ratios.validation, ratios.test) == (6, 3, 1)
    assert params.candidate("plain") == params.training


@pytest.mark.parametrize(
    ("size", "color", "shape"),
    [(64, "rgb", (64, 64, 3)), ([48, 32], "rgb", (48, 32, 3)), (8, "grayscale", (8, 8, 1))],
)
def test_a_size_is_height_and_width_or_one_number_for_both(tmp_path, size, color, shape):
    params = load_with(tmp_path, ingest={"size": size, "color": color})
    assert params.ingest.image_shape == shape


def test_params_cannot_be_changed_once_read(tmp_path):
    with pytest.raises(ValueError, match="frozen"):
        load_with(tmp_path).split.seed = 1


def test_a_candidate_is_the_training_section_with_its_overrides(tmp_path):
    params = load_with(
        tmp_path,
        features={"pooled": {"backbone": "lite"}, "flat": {"backbone": "lite"}},
        training={
            "features": "pooled",
            "epochs": 7,
            "head": {"l2": 0.25, "layers": [{"units": 8}, {"units": 4}]},
        },
        candidates={
            "plain": {},
            "small": {"head": {"layers": [{"units": 2}]}, "batch_size": 1},
            "flat": {"features": "flat", "early_stopping": None},
        },
    )
    small, flat = params.candidate("small"), params.candidate("flat")
    assert (small.epochs, small.batch_size, small.features) == (7, 1, "pooled")
    # A section is merged key by key, a list replaced whole.
    assert small.head.l2 == 0.25
    assert [layer.units for layer in small.head.layers] == [2]
    assert (flat.features, flat.early_stopping, flat.epochs) == ("flat", None, 7)
    assert params.candidate("plain") == params.training


WRONG = {
    # what is wrong: (key, value, the key in the message, what was received, a hint)
    "unknown section": ("extra", {}, "extra", "'extra'", "Expected one of: ingest, encode"),
    "mistyped section": ("ecnode", {}, "ecnode", "'ecnode'", "did you mean 'encode'?"),
    "no section": ("encode", None, "encode", "None", "expected"),
    "a list for a section": ("split__ratios", [6, 3], "split.ratios", "[6, 3]", "expected"),
    "unknown key": ("ingest__siz", 8, "ingest.siz", "'siz'", "did you mean 'size'?"),
    "unknown key, two deep": (
        *("split__ratios", {"valid": 3}, "split.ratios.valid", "'valid'"),
        "did you mean 'validation'?",
    ),
    "unknown key in a named entry": (
        *("backbones__lite", {"netwrk": "VGG16"}, "backbones.lite.netwrk", "'netwrk'"),
        "did you mean 'network'?",
    ),
    "unknown key in a list": (
        *("training__head", {"layers": [{"units": 1}, {"unit": 1}]}),
        *("training.head.layers.1.unit", "'unit'", "did you mean 'units'?"),
    ),
    "unknown key in an optional section": (
        *("training__early_stopping", {"patiense": 3}, "training.early_stopping.patiense"),
        *("'patiense'", "did you mean 'patience'?"),
    ),
    "unknown key in a candidate": (
        *("candidates__plain", {"head": {"layer": []}}, "candidates.plain.head.layer"),
        *("'layer'", "did you mean 'layers'?"),
    ),
    "missing key": ("features__pooled", {}, "features.pooled.backbone", "found none", "add the"),
    "text for a number": ("ingest__max_rejected", "5%", "ingest.max_rejected", "'5%'", "number"),
    "text for a list": ("ingest__size", "big", "ingest.size", "'big'", "a list"),
    "fraction for a whole number": ("split__folds", 5.0, "split.folds", "5.0", "integer"),
    "true for a number": ("split__folds", True, "split.folds", "True", "integer"),
    "number for a switch": ("split__stratify", 1, "split.stratify", "1", "boolean"),
    "formula for a number": ("augment__rescale", "1/255", "augment.rescale", "'1/255'", "number"),
    "list with a wrong type": ("features__pooled__layers", [1], "features.pooled.layers", "1", ""),
    "size of three": ("ingest__size", [1, 2, 3], "ingest.size", "[1, 2, 3]", "at most 2"),
    "size zero": ("ingest__size", [0, 8], "ingest.size.0", "received 0", "equal to 1"),
    "above the range": ("augment__cval", 256, "augment.cval", "256", "equal to 255"),
    "below the range": ("split__seed", -1, "split.seed", "-1", "equal to 0"),
    "one fold": ("split__folds", 1, "split.folds", "received 1", "equal to 2"),
    "empty side": ("split__ratios__test", 0, "split.ratios.test", "received 0", "greater than 0"),
    "no number": ("training__head__l2", float("nan"), "training.head.l2", "nan", "finite"),
    "endless": ("augment__rotation_range", float("inf"), "augment.rotation_range", "inf", "finite"),
    "nothing to choose from": (
        *("augment__width_shift_range", [], "augment.width_shift_range", "received []", "expected"),
    ),
    "zoom to nothing": ("augment__zoom_range", 1.5, "augment.zoom_range", "1.5", "less than 1"),
    "unknown choice": (
        *("augment__fill_mode", "reflekt", "augment.fill_mode", "'reflekt'"),
        "'nearest', 'constant', 'reflect' or 'wrap'",
    ),
    "choice in capitals": ("ingest__color", "RGB", "ingest.color", "'RGB'", "'rgb'"),
    "number in a candidate": (
        *("candidates__plain", {"optimizer": {"learning_rate": "fast"}}),
        *("candidates.plain.optimizer.learning_rate", "'fast'", "number"),
    ),
    "value for a section of a candidate": (
        *("candidates__plain", {"head": 5}, "candidates.plain.head", "received 5", "expected"),
    ),
    "nothing for a candidate": ("candidates__plain", None, "candidates.plain", "None", "expected"),
    "no candidates": ("candidates", {}, "candidates", "received none", "add `plain: {}`"),
    "name with a blank": ("backbones", {"my net": {}}, "backbones.my net", "'my net'", "pattern"),
    "unknown backbone": (
        *("features__pooled__backbone", "light", "features.pooled.backbone", "'light'"),
        "did you mean 'lite'?",
    ),
    "unknown features": (
        *("candidates__plain", {"features": "poled"}, "candidates.plain.features", "'poled'"),
        "did you mean 'pooled'?",
    ),
    "unknown candidate": (
        *("finetune__candidate", "plane", "finetune.candidate", "'plane'"),
        "did you mean 'plain'?",
    ),
    "unknown network": (
        *("backbones__lite__network", "xceptoin", "backbones.lite.network", "'xceptoin'"),
        "did you mean 'Xception'?",
    ),
    "unknown activation": (
        *("training__head", {"layers": [{"units": 1, "activation": "ReLu"}]}),
        *("training.head.layers.0.activation", "'ReLu'", "did you mean 'relu'?"),
    ),
    "a cut for strategy head": (
        *("features__pooled__cut", "block3", "features.pooled"),
        *("strategy=head, cut=block3", "the name of a layer with strategy"),
    ),
    "strategy partial without a cut": (
        *("features__pooled__strategy", "partial", "features.pooled"),
        *("strategy=partial, cut=None", "the name of a layer with strategy"),
    ),
}


@pytest.mark.parametrize(("name", "value", "key", "received", "hint"), WRONG.values(), ids=WRONG)
def test_a_wrong_knob_is_refused_in_one_line(tmp_path, name, value, key, received, hint):
    message = refusal(tmp_path, **{name: value})
    assert message.startswith(key)
    assert message[len(key)] in ":."
    assert received in message
    assert hint in message


@pytest.mark.parametrize("encoder", LOSSES)
@pytest.mark.parametrize("loss", sorted(set().union(*LOSSES.values())))
def test_a_loss_must_fit_the_encoder(tmp_path, encoder, loss):
    changes = {"encode__encoder": encoder, "candidates__plain": {"loss": loss}}
    if loss in LOSSES[encoder]:
        assert load_with(tmp_path, **changes).candidate("plain").loss == loss
    else:
        message = refusal(tmp_path, **changes)
        assert message.startswith("candidates.plain.loss: expected auto or ")
        assert message.endswith(f"with encode.encoder={encoder}, received {loss}")


def test_a_softmax_with_mean_squared_error_is_refused(tmp_path):
    message = refusal(tmp_path, training={"features": "pooled", "loss": "mean_squared_error"})
    assert "loss: expected auto or sparse_categorical_crossentropy" in message
    assert "received mean_squared_error" in message


@pytest.mark.parametrize("text", ["a: b: c", "[1, 2", "ingest: {size: 8", "- 1\nb"])
def test_a_file_that_is_no_yaml_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"^[^\n]*: expected YAML, received [^\n]* at line \d$"):
        load_params(path)


def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"ingest: {color: \xe9}")
    with pytest.raises(InputError, match=r"^[^\n]*: expected YAML, received something else$"):
        load_params(path)


@pytest.mark.parametrize("text", ["", "[]", "5"])
def test_a_file_without_sections_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"^[^\n]*expected [^\n]*dictionary[^\n]*$"):
        load_params(path)


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"^[^\n]*run from the project's folder$"):
        load_params(tmp_path / "params.yaml")
