"""The knobs of the pipeline: `params.yaml`, checked whole before any stage works.

Each class below is one section of the file, each field one knob, with its default. An unknown
key, a wrong type or value, and a pair that cannot work are refused in one line.
"""

import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from stages.common.errors import InputError
from stages.common.keras_names import ACTIVATIONS, NETWORKS
from stages.common.names import unknown_name

Encoder = Literal["label", "onehot", "binarizer"]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


def _one_of(what: str, names: list[str]) -> AfterValidator:
    """A check that a text is one of some names; refuses it with the nearest."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(unknown_name(what, name, names))
        return name

    return AfterValidator(check)


class Section(BaseModel):
    """A section that refuses unknown keys and wrong types, and cannot be changed once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Ingest(Section):
    """How a photo becomes an array."""

    size: Annotated[tuple[Count, Count], Field(strict=False)] = (160, 160)
    """Height and width of every image, pixels; one number stands for a square."""
    color: Literal["rgb", "grayscale"] = "rgb"
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """stretch to the size, crop what stands over, or pad with black."""
    max_rejected: Fraction = 0.05
    """The run stops if a larger fraction of the files cannot be used."""
    near_duplicate: Annotated[float, Field(ge=0)] = 0.18
    """Images whose fingerprints lie at most this far apart are one group; 0: same pixels only."""

    @field_validator("size", mode="before")
    @classmethod
    def _square(cls, size: Any) -> Any:
        return (size, size) if type(size) is int else size

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image array."""
        return (*self.size, 3 if self.color == "rgb" else 1)


class Encode(Section):
    """How a class becomes numbers."""

    encoder: Encoder = "label"


class Ratios(Section):
    """How the images are shared out; only the proportions count."""

    train: Positive = 6
    validation: Positive = 3
    test: Positive = 1


class Split(Section):
    """Which image stands on which side and in which fold."""

    ratios: Ratios = Ratios()
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds over the train and validation images together."""
    stratify: bool = True
    """Keep the ratios within every class, not only over all images."""
    seed: Seed = 0


class Augment(Section):
    """The options of ImageDataGenerator, with its meaning of each."""

    variants: Annotated[int, Field(ge=0)] = 4
    """Augmented copies of each image."""
    rotation_range: Annotated[float, Field(ge=0)] = 0
    """Degrees, to both sides."""
    width_shift_range: int | float | Annotated[list[float], Field(min_length=1)] = 0.0
    """Below 1 a share of the width, else pixels; an integer: whole pixels; a list: one of it."""
    height_shift_range: int | float | Annotated[list[float], Field(min_length=1)] = 0.0
    zoom_range: (
        Annotated[float, Field(ge=0, lt=1)]
        | Annotated[tuple[Positive, Positive], Field(strict=False)]
    ) = 0.0
    """[lowest, highest] factor, or r for [1 - r, 1 + r]; above 1 shows more of the scene."""
    horizontal_flip: bool = False
    vertical_flip: bool = False
    rescale: Annotated[float, Field(ge=1e-6, le=1e6)] | None = None
    """Factor on the written values (then float32); undone before a network sees them, since
    each network brings its own preprocessing."""
    fill_mode: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"
    cval: Annotated[float, Field(ge=0, le=255)] = 0
    """Grey value outside the image for fill_mode constant."""
    seed: Seed = 0


class Backbone(Section):
    """A pretrained network."""

    network: Annotated[str, _one_of("network", NETWORKS)] = "EfficientNetLite0"
    """EfficientNetLite0 or any network function of keras.applications."""
    weights: str = "imagenet"
    """imagenet, none (random), or a file in the layout of keras.applications."""
    seed: Seed = 0
    """For random weights."""


class Features(Section):
    """Where a backbone is cut: what lies before the cut is frozen and computed once."""

    backbone: str
    layers: Annotated[list[str], Field(min_length=1)] | None = None
    """The layers of the backbone that are pooled, side by side; null: its last. Early layers see
    small places: they add detail, and alone they suffice for simple objects and show more
    exactly where these lie."""
    strategy: Literal["full", "partial", "head"] = "head"
    cut: str | None = None
    """The last frozen layer, for strategy partial."""
    pooling: Literal["avg", "max", "flatten"] = "avg"

    @model_validator(mode="after")
    def _layers_differ(self) -> "Features":
        if self.layers is not None and len(set(self.layers)) < len(self.layers):
            raise ValueError(f"expected layers: each once, received {self.layers}")
        return self

    @model_validator(mode="after")
    def _cut_fits_strategy(self) -> "Features":
        if (self.strategy == "partial") != (self.cut is not None):
            raise ValueError(
                "expected cut: the name of a layer with strategy: partial, and cut: null with "
                f"full and head, received strategy={self.strategy}, cut={self.cut}"
            )
        return self


class Dense(Section):
    """One hidden layer of the head."""

    units: Count
    activation: Annotated[str, _one_of("activation", ACTIVATIONS)] = "relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0


class Head(Section):
    """What is trained from scratch behind the backbone."""

    normalize: bool = True
    """Batch normalisation of the features in front of the head."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0
    """In front of the head."""
    layers: list[Dense] = []
    """Hidden layers; the output layer follows from the classes."""
    l2: Annotated[float, Field(ge=0)] = 0
    """Weight of the squared kernels in the loss, for every layer of the head."""


class Optimizer(Section):
    """How the weights are moved."""

    name: Literal["sgd", "adagrad", "rmsprop", "adam", "adamw"] = "adam"
    learning_rate: Positive = 0.001


class EarlyStopping(Section):
    """When to stop before the last epoch; the best weights are kept."""

    monitor: Literal["loss", "accuracy"] = "loss"
    """Of the validation images."""
    patience: Count = 5
    """Epochs without a better value."""


LOSSES = {
    "label": ["sparse_categorical_crossentropy"],
    "onehot": ["categorical_crossentropy"],
    "binarizer": ["binary_crossentropy", "categorical_crossentropy"],
}
"""The losses that fit each encoder; the binarizer gives one column for two classes."""


class Training(Section):
    """How a head (and what lies behind the cut) is trained: the default of every candidate."""

    features: str = "pooled"
    """Which entry of `features` it is trained on."""
    head: Head = Head()
    loss: Literal[
        "auto",
        "binary_crossentropy",
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
        "mean_squared_error",
        "mean_absolute_error",
    ] = "auto"
    """auto: what fits the encoder."""
    optimizer: Optimizer = Optimizer()
    batch_size: Count = 32
    epochs: Count = 30
    early_stopping: EarlyStopping | None = EarlyStopping()
    augmented: bool = True
    """Each epoch shows one of the original and the variants of every image."""
    seed: Seed = 0


class Finetune(Section):
    """Which candidate becomes the model."""

    candidate: str = "choice"
    """choice: what `kfold` chose; or the name of a candidate."""


class Evaluate(Section):
    """How the test figures are made."""

    calibration_bins: Count = 10


class GradCam(Section):
    """Which heat maps are drawn."""

    layer: str = "auto"
    """auto: the last convolution; or the name of a layer."""
    images: Count = 400
    """At most so many test images, right and wrong ones of each class in turn."""


class TensorFlow(Section):
    """What would change the last bits of a trained model, and so stands here."""

    threads: Count = 2
    """Threads in an operation: it decides the order of additions."""


class Params(Section):
    """All of `params.yaml`."""

    ingest: Ingest
    encode: Encode
    split: Split
    augment: Augment
    backbones: dict[Name, Backbone]
    features: dict[Name, Features]
    training: Training
    candidates: dict[Name, dict[str, Any]]
    finetune: Finetune
    evaluate: Evaluate
    gradcam: GradCam
    tensorflow: TensorFlow

    @model_validator(mode="after")
    def _names_exist(self) -> "Params":
        for name, features in self.features.items():
            _check_name(f"features.{name}.backbone", features.backbone, self.backbones)
        if not self.candidates:
            raise ValueError("candidates: expected at least one, received none; add `plain: {}`")
        for name in self.candidates:
            candidate, encoder = self.candidate(name), self.encode.encoder
            _check_name(f"candidates.{name}.features", candidate.features, self.features)
            fitting = ["auto", *LOSSES[encoder]]
            if candidate.loss not in fitting:
                raise ValueError(
                    f"candidates.{name}.loss: expected {' or '.join(fitting)} with "
                    f"encode.encoder={encoder}, received {candidate.loss}"
                )
        _check_name("finetune.candidate", self.finetune.candidate, ["choice", *self.candidates])
        return self

    def candidate(self, name: str) -> Training:
        """The training params of one candidate: the section `training` with its overrides.

        Raises:
            InputError: There is no such candidate.
        ValueError: An override is unknown or wrong; names `candidates.<name>.<key>`.
        """
        if name not in self.candidates:
            raise InputError(unknown_name("candidate", name, self.candidates))
        merged = _merge(self.training.model_dump(mode="json"), self.candidates[name])
        try:
            return Training.model_validate(merged)
        except ValidationError as error:
            raise ValueError(_first_fault(error, Training, f"candidates.{name}.")) from None


def load_params(path: str | Path) -> Params:
    """Read and check `params.yaml`.

    Raises:
        InputError: The file is missing or no YAML, or a knob is wrong; one line that names the
            key, what was expected, what was received and the nearest valid name.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected the params here, found none; run from the project's folder"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise InputError(f"{path}: expected YAML, received something else{line}") from None
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_fault(error, Params)}") from None


def _check_name(key: str, received: str, valid: Any) -> None:
    if received not in valid:
        raise ValueError(f"{key}: {unknown_name('name', received, valid)}")


def _merge(base: dict, overrides: dict) -> dict:
    """`base` with `overrides` put over it, sections merged key by key."""
    merged = dict(base)
    for key, value in overrides.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged


def _first_fault(error: ValidationError, model: type[Section], prefix: str = "") -> str:
    """The first fault of a pydantic error, in the words of this project."""
    faults = error.errors(include_url=False)
    # A mistyped key is also a missing key; the mistyped one tells the user more.
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    section, steps = _locate(model, fault["loc"])
    key = prefix + ".".join(str(step) for step in steps)
    if fault["type"] == "extra_forbidden":
        return f"{key}: {unknown_name('key', steps[-1], section.model_fields)}"
    if fault["type"] == "missing":
        return f"{key}: expected a value, found none; add the key"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{key}: {message}" if key and not key.endswith(".") else f"{key}{message}"
    expected = message.replace("Input should be ", "").replace("valid tuple", "list")
    return f"{key}: expected {expected}, received {fault['input']!r}"


def _locate(model: type[Section], location: tuple) -> tuple[type[Section], list]:
    """The section that a location of a pydantic error lies in, and the keys that lead there.

    What pydantic adds to the location (the tag of a union's branch) is left out.
    """
    section, annotation, steps = model, model, []
    for step in location:
        if section_here := _section_in(annotation):
            section = section_here
        if annotation is model or section_here or _is_container(annotation):
            steps.append(step)
        in_container = _is_container(annotation)
        if in_container:
            annotation = typing.get_args(annotation)[-1]
        else:
            field = section.model_fields.get(step)
            annotation = field.annotation if field else None
    return section, steps


def _is_container(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (dict, list, tuple)


def _section_in(annotation: Any) -> type[Section] | None:
    """The section class of an annotation `Section` or `Section | None`, if it is one."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if isinstance(annotation, types.UnionType):
        return next(filter(None, map(_section_in, typing.get_args(annotation))), None)
    return None
