import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from stages import encode
from stages.common.errors import InputError
from stages.common.faults import Fault
from stages.common.params import Params, Section, Training, load_params
from stages.common.paths import CLASSES, MANIFEST, TARGETS
from stages.common.stage import run
from stages.common.tables import write_table
from stages.common.tasks import LOSSES, OUTPUT_ACTIVATIONS, TASKS, Fit

ROOT = Path(__file__).parents[2]
COMMITTED = (ROOT / "params.yaml").read_text()

SMALLEST = """
ingest: {}
encode: {}
split: {}
augment: {}
backbones: {lite: {}}
features: {pooled: {backbone: lite}}
training: {features: pooled}
candidates: {plain: {}}
kfold: {}
finetune: {}
evaluate: {}
gradcam: {}
tensorflow: {}
"""


def write_with(path: Path, **changes: object) -> Path:
    """Write the smallest valid params with other values; `a__b` stands for key b of section a."""
    values = yaml.safe_load(SMALLEST)
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def load_with(tmp_path: Path, **changes: object) -> Params:
    return load_params(write_with(tmp_path / "params.yaml", **changes))


def refusal_of_text(tmp_path: Path, text: str) -> str:
    """What a user reads about wrong params, without the file's name in front."""
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        load_params(path)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def refusal(tmp_path: Path, **changes: object) -> str:
    return refusal_of_text(tmp_path, write_with(tmp_path / "wrong.yaml", **changes).read_text())


# The committed params


def put_in(text: str) -> str:
    """A params file with each `{...}` that stands as a comment below a null in the null's place."""
    return re.sub(r"null\n +# (\{[^}]*\})", lambda found: found[1].replace("#", " "), text)


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


def test_the_committed_params_name_every_knob():
    assert load_params(ROOT / "params.yaml").candidates
    assert unnamed(Params, [yaml.safe_load(put_in(COMMITTED))]) == []


def test_what_the_committed_params_show_as_a_comment_is_valid_and_the_default(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(put_in(COMMITTED))
    training = load_params(path).training
    for section in (training.reduce_on_plateau, training.checkpoint):
        assert section == type(section)()


def test_a_knob_that_the_file_does_not_name_would_be_found():
    values = yaml.safe_load(put_in(COMMITTED))
    del values["split"]["ratios"]["test"], values["augment"]["cval"]
    for layer in values["training"]["head"]["layers"]:
        del layer["units"]
    for backbone in values["backbones"].values():
        backbone.pop("seed", None)
    values["training"]["checkpoint"] = None
    found = unnamed(Params, [values])
    assert found[:4] == [
        "split.ratios.test",
        "augment.cval",
        "backbones.seed",
        "training.head.layers.units",
    ]
    assert "training.checkpoint.monitor" in found


def knobs(values: dict | list, prefix: str = "") -> Iterator[tuple[str, dict | list, str | int]]:
    """Every knob of a file: its key, and where in the file's values it stands."""
    for step, value in values.items() if isinstance(values, dict) else enumerate(values):
        if isinstance(value, dict) or (
            isinstance(value, list) and value and isinstance(value[0], dict)
        ):
            yield from knobs(value, f"{prefix}{step}.")
        else:
            yield prefix + str(step), values, step


def test_each_knob_of_a_wrong_type_is_refused_with_its_key(tmp_path):
    values = yaml.safe_load(put_in(COMMITTED))
    found = list(knobs(values))
    assert len(found) > 100
    for key, place, step in found:
        right, place[step] = place[step], {"nonsense": [None]}
        message = refusal_of_text(tmp_path, yaml.safe_dump(values))
        assert message.startswith(f"{key}: ") or message.startswith(f"{key}.nonsense: "), message
        place[step] = right


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


# What is wrong


WRONG = """
# Sections and keys
extra: {}
  extra: unknown key 'extra'. Expected one of: ingest, ...
ecnode: {}
  ecnode: unknown key 'ecnode', did you mean 'encode'? Expected one of: ingest, ...
encode: null
  encode: expected a section of the keys task, ..., received None; {} means the defaults
encode: [1]
  encode: expected a section of the keys task, ..., received [1]; {} means the defaults
split.ratios: '6:3:1'
  split.ratios: expected a section of the keys train, ..., received '6:3:1'; {} means the defaults
training.early_stopping: false
  training.early_stopping: expected null or a section of the keys monitor, ..., received False; {}
  means the defaults
ingest.siz: 8
  ingest.siz: unknown key 'siz', did you mean 'size'? Expected one of: source, ...
ingest: {8: 8}
  ingest.8: unknown key 8. Expected one of: source, ...
split.ratios: {valid: 3}
  split.ratios.valid: unknown key 'valid', did you mean 'validation'? Expected one of: train, ...
backbones.lite: {netwrk: VGG16}
  backbones.lite.netwrk: unknown key 'netwrk', did you mean 'network'? Expected one of: network,
  ...
training.head.layers: [{units: 1}, {unit: 1}]
  training.head.layers.1.unit: unknown key 'unit', did you mean 'units'? Expected one of: units,
  ...
training.early_stopping: {patiense: 3}
  training.early_stopping.patiense: unknown key 'patiense', did you mean 'patience'? Expected one
  of: monitor, ...
training: {optimizer.name: sgd}
  training.optimizer.name: unknown key 'optimizer.name', write optimizer: {name: ...}
features.pooled: {}
  features.pooled.backbone: expected this key, found none; add it
training.head.layers: [{}]
  training.head.layers.0.units: expected this key, found none; add it
training.head.layers: [256]
  training.head.layers.0: expected a section of the keys units, ..., received 256

# Types and ranges
ingest.max_rejected: 5%
  ingest.max_rejected: expected a number, received '5%'
tensorflow.threads: '2'
  tensorflow.threads: expected a whole number, received '2', which is a text in YAML; write 2
training.optimizer.learning_rate: 1e-3
  training.optimizer.learning_rate: expected a number, received '1e-3', which is a text in YAML;
  write 0.001
augment.rescale: 1./255
  augment.rescale: expected a number, received '1./255', which is a text in YAML; write
  0.00392156862745098
split.folds: 5.0
  split.folds: expected a whole number, received 5.0; write 5
split.folds: true
  split.folds: expected a whole number, received True
augment.cval: true
  augment.cval: expected a number, received True
split.stratify: 1
  split.stratify: expected true or false, received 1
split.stratify: 'yes'
  split.stratify: expected true or false, received 'yes'
gradcam.layer: 3
  gradcam.layer: expected auto, the name of a layer in quotes, or a list of such names, received 3
encode.separator: ''
  encode.separator: expected a text of at least 1 character, received ''
features.pooled.layers: [1]
  features.pooled.layers.0: expected a text, received 1; put it in quotes
training.head.layers: null
  training.head.layers: expected a list, received None
features.pooled.layers: []
  features.pooled.layers: expected at least 1 entry, received []
features.pooled.layers: [a, a]
  features.pooled.layers: expected each layer once, received ['a', 'a']
training.head.dropout: .nan
  training.head.dropout: expected a finite number, received nan
augment.rotation_range: .inf
  augment.rotation_range: expected a finite number, received inf
training.regularization.dense: {l2: -0.1}
  training.regularization.dense.l2: expected a number of at least 0, received -0.1
training.epochs: 0
  training.epochs: expected a number of at least 1, received 0
training.optimizer.learning_rate: 0
  training.optimizer.learning_rate: expected a number above 0, received 0
training.head.dropout: 1.0
  training.head.dropout: expected a number below 1, received 1.0
augment.cval: 256
  augment.cval: expected a number of at most 255, received 256
split.seed: -1
  split.seed: expected a number of at least 0, received -1
split.seed: 4294967296
  split.seed: expected a number of at most 4294967295, received 4294967296
split.folds: 1
  split.folds: expected a number of at least 2, received 1
split.ratios.test: 0
  split.ratios.test: expected a number above 0, received 0
ingest.size: big
  ingest.size: expected a whole number of pixels, or two of them: [height, width], received 'big'
ingest.size: [1, 2, 3]
  ingest.size: expected a whole number of pixels, or two of them: [height, width], received [1, 2,
  3]
ingest.size: 0
  ingest.size: expected a whole number of pixels, or two of them: [height, width], received 0
augment.width_shift_range: []
  augment.width_shift_range: expected a number, or a list of numbers, received []
augment.zoom_range: [0, 1]
  augment.zoom_range: expected a number of at least 0 and below 1, or two above 0: [lowest,
  highest], received [0, 1]
augment.zoom_range: 1.5
  augment.zoom_range: expected a number of at least 0 and below 1, or two above 0: [lowest,
  highest], received 1.5

# Names that do not exist
augment.fill_mode: reflekt
  augment.fill_mode: unknown value 'reflekt', did you mean 'reflect'? Expected one of: nearest,
  ...
ingest.color: RGB
  ingest.color: unknown value 'RGB', did you mean 'rgb'? Expected one of: rgb, grayscale
kfold.rule: false
  kfold.rule: unknown value False. Expected one of: best, one_standard_error
encode.task: multi
  encode.task: unknown value 'multi', did you mean 'multilabel'? Expected one of: auto, ...
encode.encoder: one-hot
  encode.encoder: unknown value 'one-hot', did you mean 'onehot'? Expected one of: auto, ...
split.kind: kfold
  split.kind: unknown value 'kfold', did you mean 'KFold'? Expected one of: KFold, ...
backbones.lite.network: xceptoin
  backbones.lite.network: unknown network 'xceptoin', did you mean 'Xception'? Expected one of:
  ConvNeXtBase, ...
features.pooled.backbone: light
  features.pooled.backbone: unknown name 'light', did you mean 'lite'? Expected one of: lite
features.pooled.strategy: heads
  features.pooled.strategy: unknown value 'heads', did you mean 'head'? Expected one of: full, ...
training.features: poled
  training.features: unknown name 'poled', did you mean 'pooled'? Expected one of: pooled
training.head.layers: [{units: 1, activation: ReLu}]
  training.head.layers.0.activation: unknown activation 'ReLu', did you mean 'relu'? Expected one
  of: celu, ...
training.head.initializer: xavier
  training.head.initializer: unknown initializer 'xavier'. Expected one of: glorot_normal, ...
training.head.activation: sofmax
  training.head.activation: unknown activation 'sofmax', did you mean 'softmax'? Expected one of:
  auto, ...
training.loss: crossentropy
  training.loss: unknown loss 'crossentropy', did you mean 'binary_crossentropy'? Expected one of:
  auto, ...
training.optimizer.name: adamm
  training.optimizer.name: unknown value 'adamm', did you mean 'adam'? Expected one of: sgd, ...
training.schedule.name: onecycle
  training.schedule.name: unknown value 'onecycle', did you mean 'one_cycle'? Expected one of:
  constant, ...
training.metrics: [acuracy]
  training.metrics: unknown metric 'acuracy', did you mean 'accuracy'? Expected one of: accuracy,
  ...
training.metrics: accuracy
  training.metrics: expected auto, or a list of some of accuracy, balanced_accuracy, exact_match,
  label_accuracy, log_loss, macro_f1, mae, micro_f1, r2, rmse, received 'accuracy'
training.metrics: []
  training.metrics: expected auto, or a list of some of accuracy, balanced_accuracy, exact_match,
  label_accuracy, log_loss, macro_f1, mae, micro_f1, r2, rmse, received []
kfold.metric: acc
  kfold.metric: unknown metric 'acc', did you mean 'accuracy'? Expected one of: auto, ...
finetune.candidate: plane
  finetune.candidate: unknown name 'plane', did you mean 'plain'? Expected one of: choice, plain

# Names of one's own
backbones: {my net: {}}
  backbones.my net: expected a name of letters, digits, dots, dashes and underscores, received 'my
  net'
backbones: {1: {}}
  backbones.1: expected a text, received 1; put it in quotes
backbones: {}
  backbones: expected at least 1 entry, received {}
features: {}
  features: expected at least 1 entry, received {}
candidates: {}
  candidates: expected at least 1 entry, received {}
candidates: [{}]
  candidates: expected keys with values, received [{}]
candidates.plain: null
  candidates.plain: expected keys with values, received None; write {} for none
candidates: {choice: {}}
  candidates.choice: expected another name, received 'choice', which finetune.candidate takes for
  the chosen one; rename it

# The cut
features.pooled.cut: block3
  features.pooled.cut: expected null with strategy head, received 'block3'; set strategy: partial
  to cut there
features.pooled.strategy: partial
  features.pooled.cut: expected the name of a layer with strategy partial, received None; name the
  last frozen layer, or set strategy: auto

# Optimizers
training.optimizer: {name: sgd, beta_1: 0.9}
  training.optimizer.beta_1: expected null with optimizer sgd, received 0.9; it is an option of
  adam, adamw
training.optimizer: {momentum: 0.9}
  training.optimizer.momentum: expected null with optimizer adam, received 0.9; it is an option of
  sgd, rmsprop
training.optimizer: {decay: 0.1}
  training.optimizer.decay: expected null with optimizer adam, received 0.1; it is an option of
  sgd
training.optimizer: {weight_decay: 0.1}
  training.optimizer.weight_decay: expected null with optimizer adam, received 0.1; it is an
  option of adamw
training.optimizer: {name: sgd, nesterov: true}
  training.optimizer.momentum: expected a number above 0 with nesterov: true, received None; set
  e.g. 0.9
training.optimizer: {clip_norm: 1.0, clip_value: 0.5}
  training.optimizer.clip_value: expected null with clip_norm, received 0.5; at most one of
  clip_norm, clip_value, global_clip_norm can be set

# Schedules and callbacks
training.optimizer: {name: sgd, decay: 0.1}, training.schedule: {name: cosine}
  training.optimizer.decay: expected null with a schedule or warm-up, received 0.1; only one of
  them can set the rate
training.reduce_on_plateau: {}, training.schedule: {name: cosine}
  training.reduce_on_plateau: expected null with a schedule, warm-up or decay, received one that
  would fight with it; only one of them can set the rate
training.reduce_on_plateau: {}, training.schedule: {warmup_epochs: 1}
  training.reduce_on_plateau: expected null with a schedule, warm-up or decay, received one that
  would fight with it; only one of them can set the rate
training.epochs: 5, training.schedule: {warmup_epochs: 5}
  training.schedule.warmup_epochs: expected fewer than epochs, 5, received 5; shorten the warm-up,
  or raise epochs
encode.task: binary, training.early_stopping: {monitor: val_macro_f1}
  training.early_stopping.monitor: expected loss or one of metrics, received val_macro_f1; add
  macro_f1 to metrics
encode.task: binary, training.checkpoint: {monitor: val_acc}
  training.checkpoint.monitor: unknown value 'val_acc', did you mean 'val_accuracy'? Expected one
  of: val_loss, ...
training.reduce_on_plateau: {mode: lower}
  training.reduce_on_plateau.mode: unknown value 'lower'. Expected one of: auto, ...
training.reduce_on_plateau: {factor: 1.0}
  training.reduce_on_plateau.factor: expected a number below 1, received 1.0
training.checkpoint: {save_freq: 0}
  training.checkpoint.save_freq: expected epoch, or a number of steps of at least 1, received 0
training.checkpoint: {save_freq: 5}
  training.checkpoint.save_freq: expected epoch with save_best_only: true, received 5; a value to
  compare is known after an epoch only

# Class weights, layers
training.class_weight: balance
  training.class_weight: expected none, balanced, or a number above 0 for each class (one like 1
  or no in quotes), received 'balance'
training.class_weight: {cat: 0}
  training.class_weight: expected none, balanced, or a number above 0 for each class (one like 1
  or no in quotes), received {'cat': 0}
training.class_weight: {false: 1.0}
  training.class_weight: expected none, balanced, or a number above 0 for each class (one like 1
  or no in quotes), received {False: 1.0}
training.head.layers: [{units: 3, activation: glu}]
  training.head.layers.0.units: expected an even number with activation glu, which gates one half
  by the other, received 3

# Task x encoder x loss x last activation x metrics
training.loss: mean_squared_error, training.head.activation: softmax
  training.loss: expected auto or sparse_categorical_crossentropy or binary_crossentropy with task
  binary and encoder label, received mean_squared_error; and no other task fits the params
encode.task: regression, training.head.activation: softmax
  training.head.activation: expected auto or linear with task regression, received softmax
encode.task: multiclass, training.loss: mean_squared_error
  training.loss: expected auto or sparse_categorical_crossentropy with task multiclass and encoder
  label, received mean_squared_error
encode.encoder: onehot, training.loss: sparse_categorical_crossentropy
  training.loss: expected auto or categorical_crossentropy with task binary and encoder onehot,
  received sparse_categorical_crossentropy; and no other task fits the params
encode.task: multiclass, training.head.activation: sigmoid
  training.head.activation: expected auto or softmax with task multiclass and encoder label,
  received sigmoid
encode.task: multilabel, training.head.activation: softmax
  training.head.activation: expected auto or sigmoid with task multilabel and encoder binarizer,
  received softmax
encode.task: binary, training.loss: binary_crossentropy, training.head.activation: softmax
  training.head.activation: expected auto or sigmoid with task binary and encoder label and loss
  binary_crossentropy, received softmax
encode.task: multilabel, encode.encoder: onehot
  encode.encoder: expected auto or binarizer with task multilabel, received onehot
encode.task: regression, encode.encoder: label
  encode.encoder: expected auto with task regression, received label
encode.task: regression, training.metrics: [accuracy]
  training.metrics: expected auto or rmse or mae or r2 with task regression, received accuracy
training.metrics: [accuracy, rmse]
  training.metrics: expected auto or accuracy or balanced_accuracy or macro_f1 or log_loss with
  task binary, received rmse; and no other task fits the params
encode.task: binary, kfold.metric: rmse
  kfold.metric: expected auto or accuracy or balanced_accuracy or macro_f1 or log_loss with task
  binary, received rmse
encode.task: regression, training.class_weight: balanced
  training.class_weight: expected none with task regression, received 'balanced'; it is for binary
  and multiclass
encode.task: multilabel, training.class_weight: {a: 2.0}
  training.class_weight: expected none with task multilabel, received {'a': 2.0}; it is for binary
  and multiclass
encode.task: multiclass, training.label_smoothing: 0.1
  training.label_smoothing: expected 0 with loss sparse_categorical_crossentropy, received 0.1;
  set encode.encoder: onehot
encode.task: regression, training.label_smoothing: 0.1
  training.label_smoothing: expected 0 with loss mean_squared_error, received 0.1
candidates: {a: {loss: mean_squared_error}, b: {loss: binary_crossentropy}}
  candidates.a.loss: expected auto or sparse_categorical_crossentropy or binary_crossentropy with
  task binary and encoder label, received mean_squared_error; and no other task fits the params

# Candidates
candidates.plain: {head: {layer: []}}
  candidates.plain.head.layer: unknown key 'layer', did you mean 'layers'? Expected one of:
  normalize, ...
candidates.plain: {head.dropout: 0.5}
  candidates.plain.head.dropout: unknown key 'head.dropout', write head: {dropout: ...}
candidates.plain: {optimizer: {learning_rate: fast}}
  candidates.plain.optimizer.learning_rate: expected a number, received 'fast'
candidates.plain: {head: 5}
  candidates.plain.head: expected a section of the keys normalize, ..., received 5; {} means the
  defaults
candidates.plain: {features: poled}
  candidates.plain.features: unknown name 'poled', did you mean 'pooled'? Expected one of: pooled
encode.task: binary, candidates: {a: {}, b: {loss: mean_squared_error}}
  candidates.b.loss: expected auto or sparse_categorical_crossentropy or binary_crossentropy with
  task binary and encoder label, received mean_squared_error
training.optimizer: {beta_1: 0.9}, candidates.plain: {optimizer: {name: sgd}}
  training.optimizer.beta_1: expected null with optimizer sgd, received 0.9; it is an option of
  adam, adamw (in candidate plain)

# Grids and random searches
candidates.net: {grid: {epochs: 5}}
  candidates.net.grid.epochs: expected a list of values, received 5
candidates.net: {grid: {}}
  candidates.net.grid: expected a list of values for each key, received {}
candidates.net: {grid: null}
  candidates.net.grid: expected a list of values for each key, received None
candidates.net: {grid: {1: [2]}}
  candidates.net.grid.1: expected a key of training, received 1
candidates.net: {grid: {head.droput: [0.5]}}
  candidates.net.grid.head.droput: unknown key 'droput', did you mean 'dropout'? Expected one of:
  normalize, ...
candidates.net: {grid: {epochs: [5, 0]}}
  candidates.net.grid.epochs: expected a number of at least 1, received 0
encode.task: multiclass, candidates.net: {grid: {loss: [auto, mean_squared_error]}}
  candidates.net.grid.loss: expected auto or sparse_categorical_crossentropy with task multiclass
  and encoder label, received mean_squared_error
candidates.net: {random: 5}
  candidates.net.random: expected {n, over} and perhaps seed, received 5
candidates.net: {random: {m: 2}}
  candidates.net.random.m: unknown key 'm'. Expected one of: n, ...
candidates.net: {random: {over: {epochs: [1]}}}
  candidates.net.random.n: expected a whole number of at least 1, received None
candidates.net: {random: {n: 0, over: {epochs: [1]}}}
  candidates.net.random.n: expected a whole number of at least 1, received 0
candidates.net: {random: {n: 1, seed: x, over: {epochs: [1]}}}
  candidates.net.random.seed: expected a whole number of at least 0, received 'x'
candidates.net: {random: {n: 1, over: {epochs: {low: 9, high: 1}}}}
  candidates.net.random.over.epochs: expected numbers low < high (above 0 with log: true),
  received {'low': 9, 'high': 1}
candidates.net: {random: {n: 1, over: {head.dropout: [2]}}}
  candidates.net.random.over.head.dropout: expected a number below 1, received 2
candidates.net: {grid: {seed: [1]}, random: {n: 1, over: {seed: [2]}}}
  candidates.net.random.over.seed: expected what grid does not vary, received seed
candidates: {net-1: {}, net: {grid: {epochs: [1]}}}
  candidates.net-1: expected each name once, received it of net too; rename it
"""


def cases(table: str) -> list:
    """The cases of a table: changes as YAML with dots, and below them what the user reads.

    `...` stands for any text.
    """
    found = []
    for case in re.findall(r"^[^#\s].*\n(?: +.*\n)+", table, re.MULTILINE):
        written, *message = case.splitlines()
        changes = yaml.safe_load(f"{{{written}}}")
        parts = " ".join(line.strip() for line in message).split("...")
        pattern = ".*".join(re.escape(part) for part in parts)
        changes = {key.replace(".", "__"): value for key, value in changes.items()}
        found.append(pytest.param(changes, pattern, id=written))
    return found


def test_no_case_of_the_table_is_lost():
    assert len(cases(WRONG)) == len(re.findall(r"^\w", WRONG, re.MULTILINE)) > 100


@pytest.mark.parametrize(("changes", "message"), cases(WRONG))
def test_a_wrong_knob_is_refused_in_one_line(tmp_path, changes, message):
    assert re.fullmatch(message, refusal(tmp_path, **changes))


@pytest.mark.parametrize("section", Params.model_fields)
def test_a_section_that_is_left_out_is_refused(tmp_path, section):
    values = yaml.safe_load(SMALLEST)
    del values[section]
    message = refusal_of_text(tmp_path, yaml.safe_dump(values))
    assert message == f"{section}: expected this key, found none; add it"


def test_a_long_value_is_cut(tmp_path):
    assert len(refusal(tmp_path, training__epochs=list(range(1000)))) < 200


# The file itself


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "at line 1: mapping values are not allowed here"),
        ("[1, 2", "at line 1: "),
        ("ingest:\n\t- 5", "at line 2: found character '\\t'"),
        ("- 1\nb", "at line 2: "),
        ("split: {seed: 2024-13-45}", "month must be in 1..12"),
        ("? [1]\n: 2", "at line 1: found unhashable key"),
        ("--- 1\n--- 2", "at line 2: but found another document"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_in_one_line(tmp_path, text, message):
    refused = refusal_of_text(tmp_path, text)
    assert refused.startswith("expected YAML, received something else")
    assert message in refused


def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"ingest: {color: \xe9}")
    with pytest.raises(InputError, match=r"^[^\n]*: expected YAML, received something else: 'utf"):
        load_params(path)


@pytest.mark.parametrize(("text", "received"), [("", "None"), ("[]", "[]"), ("5", "5")])
def test_a_file_without_sections_is_refused(tmp_path, text, received):
    message = refusal_of_text(tmp_path, text)
    assert message.startswith("expected a section of the keys ingest, encode, ")
    assert message.endswith(f"received {received}")


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"^[^\n]*run from the project's folder$"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("split: {}\nencode: {}\nsplit: {}", "split", "1 and 3"),
        ("training:\n  epochs: 3\n  head: {}\n  epochs: 4", "training.epochs", "2 and 4"),
        ("backbones:\n  a: {seed: 1, seed: 2}", "backbones.a.seed", "2 and 2"),
        ("l:\n  - {a: 1}\n  - {b: 1,\n     b: 2}", "l.1.b", "3 and 4"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path, text, key, lines):
    message = refusal_of_text(tmp_path, text)
    assert message == f"{key}: expected each key once, found it in lines {lines}; keep one"


def test_a_section_may_be_named_and_used_again(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(SMALLEST.replace("{plain: {}}", "{a: &it {epochs: 3}, b: *it}"))
    params = load_params(path)
    assert params.candidate("a") == params.candidate("b")


def test_a_section_that_holds_itself_is_refused(tmp_path):
    message = refusal_of_text(tmp_path, SMALLEST.replace("encode: {}", "encode: &it {task: *it}"))
    assert message.startswith("encode.task: ")


# Candidates


def test_a_candidate_is_the_training_section_with_its_overrides(tmp_path):
    params = load_with(
        tmp_path,
        features={"pooled": {"backbone": "lite"}, "flat": {"backbone": "lite"}},
        training={
            "features": "pooled",
            "epochs": 7,
            "head": {"dropout": 0.25, "layers": [{"units": 8}, {"units": 4}]},
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
    assert small.head.dropout == 0.25
    assert [layer.units for layer in small.head.layers] == [2]
    assert (flat.features, flat.early_stopping, flat.epochs) == ("flat", None, 7)
    assert params.candidate("plain") == params.training


def test_the_overrides_are_those_of_every_candidate_in_the_order_of_the_file(tmp_path):
    params = load_with(
        tmp_path,
        candidates={
            "plain": {},
            "net": {"epochs": 3, "grid": {"head.dropout": [0, 0.5]}},
            "last": {"seed": 1},
        },
    )
    assert list(params.overrides.items()) == [
        ("plain", {}),
        ("net-1", {"epochs": 3, "head": {"dropout": 0}}),
        ("net-2", {"epochs": 3, "head": {"dropout": 0.5}}),
        ("last", {"seed": 1}),
    ]
    assert (params.candidate("net-2").epochs, params.candidate("net-2").head.dropout) == (3, 0.5)


def test_a_candidate_of_a_grid_can_become_the_model(tmp_path):
    grid = {"net": {"grid": {"epochs": [1, 2]}}}
    params = load_with(tmp_path, candidates=grid, finetune__candidate="net-2")
    assert params.candidate(params.finetune.candidate).epochs == 2
    message = refusal(tmp_path, candidates=grid, finetune__candidate="net")
    assert "Expected one of: choice, net-1, net-2" in message


def test_a_candidate_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown candidate 'plane', did you mean 'plain'"):
        load_with(tmp_path).candidate("plane")


# What fits each other, as written at the top of stages/common/tasks.py

FITS = {
    ("binary", "label"): [
        Fit("sparse_categorical_crossentropy", "softmax"),
        Fit("binary_crossentropy", "sigmoid"),
    ],
    ("binary", "onehot"): [Fit("categorical_crossentropy", "softmax")],
    ("binary", "binarizer"): [Fit("binary_crossentropy", "sigmoid")],
    ("multiclass", "label"): [Fit("sparse_categorical_crossentropy", "softmax")],
    ("multiclass", "onehot"): [Fit("categorical_crossentropy", "softmax")],
    ("multiclass", "binarizer"): [Fit("categorical_crossentropy", "softmax")],
    ("multilabel", "binarizer"): [Fit("binary_crossentropy", "sigmoid")],
    ("regression", "none"): [
        Fit("mean_squared_error", "linear"),
        Fit("mean_absolute_error", "linear"),
    ],
}


@pytest.mark.parametrize("activation", ["auto", *OUTPUT_ACTIVATIONS])
@pytest.mark.parametrize("loss", ["auto", *LOSSES])
def test_only_what_fits_the_task_and_the_encoder_is_taken(loss, activation):
    training = Training(loss=loss, head={"activation": activation})
    for (task, encoder), fits in FITS.items():
        of_loss = [fit for fit in fits if loss in ("auto", fit.loss)]
        fitting = [fit for fit in of_loss if activation in ("auto", fit.activation)]
        if fitting:
            assert training.fit(task, encoder) == fitting[0]
            continue
        with pytest.raises(Fault) as refused:
            training.fit(task, encoder)
        wrong = ("head.activation", activation) if of_loss else ("loss", loss)
        assert refused.value.key == wrong[0]
        assert refused.value.message.endswith(f"received {wrong[1]}")


@pytest.mark.parametrize("encoder", ["auto", "label", "onehot", "binarizer"])
@pytest.mark.parametrize("task", TASKS)
def test_the_encoder_must_fit_the_task(tmp_path, task, encoder):
    known = [one for name, one in FITS if name == task]
    params = load_with(tmp_path, encode__encoder=encoder)
    if encoder in ("auto", *known):
        assert params.encoder(task) == (known[0] if encoder == "auto" else encoder)
    else:
        with pytest.raises(Fault, match=rf"^encode\.encoder: expected auto.*received {encoder}$"):
            params.encoder(task)


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("binary", "accuracy"),
        ("multiclass", "accuracy"),
        ("multilabel", "macro_f1"),
        ("regression", "rmse"),
    ],
)
def test_auto_shows_and_compares_by_the_first_metric_of_the_task(tmp_path, task, metric):
    params = load_with(tmp_path)
    assert params.training.metric_names(task) == [metric]
    assert params.metric(task) == metric


def test_metrics_are_shown_as_the_params_name_them(tmp_path):
    names = ["log_loss", "accuracy"]
    params = load_with(tmp_path, training__metrics=names, kfold__metric="log_loss")
    assert params.training.metric_names("binary") == names
    assert params.metric("binary") == "log_loss"


@pytest.mark.parametrize("monitor", ["val_macro_f1", "macro_f1", "loss", "val_loss"])
def test_a_callback_may_monitor_what_is_shown(tmp_path, monitor):
    callbacks = ("early_stopping", "reduce_on_plateau", "checkpoint")
    changes = {f"training__{name}": {"monitor": monitor} for name in callbacks}
    params = load_with(tmp_path, training__metrics=["macro_f1"], **changes)
    params.check_task("multiclass")
    params.check_task("multilabel")


def test_all_defaults_fit_every_task(tmp_path):
    params = load_with(tmp_path)
    for task in TASKS:
        params.check_task(task)


@pytest.mark.parametrize(
    ("fitting", "changes"),
    [
        (["binary"], {"training__head__activation": "sigmoid", "encode__encoder": "label"}),
        (["binary", "multilabel"], {"training__loss": "binary_crossentropy"}),
        (["binary", "multiclass"], {"training__class_weight": "balanced"}),
        (["binary", "multiclass"], {"encode__encoder": "onehot", "training__label_smoothing": 0.1}),
        (["multilabel"], {"training__label_smoothing": 0.1}),
        (["regression"], {"candidates__absolute": {"loss": "mean_absolute_error"}}),
        (["regression"], {"kfold__metric": "r2"}),
    ],
)
def test_with_task_auto_one_task_must_fit(tmp_path, fitting, changes):
    if "candidates__absolute" in changes:
        changes = {**changes, "training__loss": "mean_squared_error"}
    params = load_with(tmp_path, **changes)
    for task in TASKS:
        if task in fitting:
            params.check_task(task)
        else:
            with pytest.raises(Fault, match=r"^(training|candidates|encode|kfold)\.[^\n]*received"):
                params.check_task(task)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("balanced", None),
        ({"cat": 1.0, "dog": 2.0}, None),
        ({"cat": 1.0, "dgo": 2.0}, "class_weight: unknown class 'dgo', did you mean 'dog'?"),
        ({"cat": 1.0}, "class_weight: expected a number for each class, .*; add 'dog'"),
    ],
)
def test_class_weights_must_be_those_of_the_classes(tmp_path, weights, message):
    in_training = load_with(tmp_path, training__class_weight=weights)
    in_candidate = load_with(tmp_path, candidates__plain={"class_weight": weights})
    for params, place in [(in_training, "training"), (in_candidate, "candidates.plain")]:
        if message is None:
            params.check_classes(["cat", "dog"])
        else:
            with pytest.raises(Fault, match=rf"^{place}\.{message}"):
                params.check_classes(["cat", "dog"])


# What only the labels tell is refused by the stage that reads nothing but them


WRONG_FOR_LABELS = """
labels: [a, b, c], training.loss: mean_squared_error
  training.loss: expected auto or sparse_categorical_crossentropy with task multiclass and encoder
  label, received mean_squared_error (the task is multiclass since there are 3 different labels)
labels: [a, b, c], training.head.activation: sigmoid
  training.head.activation: expected auto or softmax with task multiclass and encoder label,
  received sigmoid (the task is multiclass since there are 3 different labels)
labels: [a, b, c], encode.encoder: label, candidates.b: {loss: binary_crossentropy}
  candidates.b.loss: expected auto or sparse_categorical_crossentropy with task multiclass and
  encoder label, received binary_crossentropy (the task is multiclass since there are 3 different
  labels)
labels: [a|b, a], encode.encoder: onehot
  encode.encoder: expected auto or binarizer with task multilabel, received onehot (the task is
  multilabel since the label 'a|b' holds encode.separator '|')
labels: ['0.5', '1'], training.metrics: [accuracy]
  training.metrics: expected auto or rmse or mae or r2 with task regression, received accuracy
  (the task is regression since all labels are numbers, and '0.5' has a fraction)
labels: [a, a, b], kfold.metric: rmse
  kfold.metric: expected auto or accuracy or balanced_accuracy or macro_f1 or log_loss with task
  binary, received rmse (the task is binary since there are 2 different labels)
labels: ['0.5', '1'], training.early_stopping: {monitor: val_accuracy}
  training.early_stopping.monitor: unknown value 'val_accuracy', did you mean 'val_r2'? Expected
  one of: val_loss, ... (the task is regression since all labels are numbers, and '0.5' has a
  fraction)
labels: [a|b, a], training.class_weight: balanced
  training.class_weight: expected none with task multilabel, received 'balanced'; it is for binary
  and multiclass (the task is multilabel since the label 'a|b' holds encode.separator '|')
labels: [a, b, c], training.label_smoothing: 0.1
  training.label_smoothing: expected 0 with loss sparse_categorical_crossentropy, received 0.1;
  set encode.encoder: onehot (the task is multiclass since there are 3 different labels)
"""


def write_project(labels: Iterable[str], **changes: object) -> None:
    """Write params and a manifest into the current folder."""
    write_with(Path("params.yaml"), **changes)
    table = pd.DataFrame({"label": list(labels)})
    ids = [f"{number:016x}" for number in table.index]
    write_table(table.assign(id=ids, source=[f"{one}.jpg" for one in ids]), MANIFEST)


@pytest.mark.parametrize(("changes", "message"), cases(WRONG_FOR_LABELS))
def test_what_does_not_fit_the_labels_is_refused_by_encode(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    write_project(**changes)
    with pytest.raises(SystemExit) as refused:
        run(encode.main)
    assert re.fullmatch(f"error: {message}", str(refused.value))
    assert not TARGETS.exists() and not CLASSES.exists()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"training__loss": "mean_squared_error"}, "error: training.loss: "),
        ({"training__los": "auto"}, "error: params.yaml: training.los: "),
    ],
)
def test_the_stage_prints_one_line_and_no_stack_trace(tmp_path, monkeypatch, changes, key):
    monkeypatch.chdir(tmp_path)
    write_project("abc", **changes)
    done = subprocess.run(
        [sys.executable, "-m", "stages.encode"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(key)
    assert done.stderr.count("\n") == 1


# Several devices


def test_without_a_word_one_device_trains_and_the_cpu_embeds(tmp_path):
    params = load_with(tmp_path)
    assert params.training.distribution.model_dump() == {"strategy": "single", "replicas": 1}
    assert params.features["pooled"].device == "cpu"


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ({"replicas": 2}, "training.distribution.replicas: expected 1 with strategy single"),
        ({"strategy": "mirrored"}, "training.distribution.replicas: expected at least 2"),
        ({"strategy": "multi_worker", "replicas": 1}, "expected at least 2 with strategy multi_"),
        ({"strategy": "mirrored", "replicas": 0}, "expected a number of at least 1"),
        ({"strategy": "mirrored", "replicas": 33}, "training.batch_size: expected at least"),
        ({"strategy": "horovod"}, "training.distribution.strategy: unknown value 'horovod'"),
    ],
)
def test_replicas_that_do_not_fit_are_refused(tmp_path, distribution, expected):
    assert expected in refusal(tmp_path, training__distribution=distribution)


def test_every_candidate_is_trained_on_the_same_devices(tmp_path):
    other = {"distribution": {"strategy": "mirrored", "replicas": 2}}
    message = refusal(tmp_path, candidates__plain=other)
    assert message.startswith("candidates.plain.distribution: expected that of training")
    same = load_with(
        tmp_path, candidates__plain=other, training__distribution=other["distribution"]
    )
    assert same.candidate("plain").distribution.replicas == 2
