"""The knobs of the pipeline: `params.yaml`, checked whole before any stage works.

Each class below is one section of the file, each field one knob, with its default. An unknown
key, a wrong type or value, and a pair that cannot work are refused in one line.
"""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    field_validator,
    model_validator,
)

from stages.common.errors import InputError
from stages.common.faults import Fault, first_fault, read_yaml, shown
from stages.common.keras_names import ACTIVATIONS, INITIALIZERS, NETWORKS
from stages.common.names import unknown_name
from stages.common.search import expand, where_set
from stages.common.tasks import LOSSES, METRICS, OUTPUT_ACTIVATIONS, TASKS, Fit

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
NotNegativeCount = Annotated[int, Field(ge=0)]
Level = Annotated[int, Field(ge=0, le=255)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]

PARTS_OF_NAME = {"label", "group", "split"}
"""What `ingest.pattern` can find."""


def _one_of(what: str, names: list[str]) -> AfterValidator:
    """A check that a text is one of some names; refuses it with the nearest."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(unknown_name(what, name, names))
        return name

    return AfterValidator(check)


def _expects(words: str) -> WrapValidator:
    """Says in one sentence what a knob of more than one type may be."""

    def check(value: Any, validate: Callable[[Any], Any]) -> Any:
        try:
            return validate(value)
        except ValidationError:
            raise ValueError(f"expected {words}, received {shown(value)}") from None

    return WrapValidator(check)


class Section(BaseModel):
    """A section that refuses unknown keys and wrong types, and cannot be changed once read."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)
    _alternative: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _keys_exist(cls, values: Any) -> Any:
        keys = cls.model_fields
        if isinstance(values, cls):
            return values
        if not isinstance(values, dict):
            optional = not any(field.is_required() for field in keys.values())
            raise Fault(
                "",
                f"expected {cls._alternative}a section of the keys {', '.join(keys)}, received "
                f"{shown(values)}{'; {} means the defaults' if optional else ''}",
            )
        for key in values:
            section, _, inner = str(key).partition(".")
            if inner and section in keys:
                raise Fault(key, f"unknown key {key!r}, write {section}: {{{inner}: ...}}")
            if key not in keys:
                raise Fault(str(key), unknown_name("key", key, keys))
        return values


class Switchable(Section):
    """A section that null switches off."""

    _alternative: ClassVar[str] = "null or "


Columns = Annotated[
    str | Annotated[list[str], Field(min_length=1)],
    _expects("the name of a column, or a list of names"),
]


class Table(Section):
    """Which columns of a table hold what; null: those whose names say so."""

    path: str | None = None
    """The column of the photos' paths."""
    label: Columns | None = None
    """The column of labels; several: each is a label, and its cells (1, 0, true, no, ...) say
    whether it applies. In a table of pixels without a header: first or last."""
    split: str | None = None
    """The column that says which side an image stands on: train, validation, test."""
    group: Columns | None = None
    """The columns of what must not be divided: a patient, a video, a lesion."""
    pixels: str | None = None
    """The column of all pixels of an image as text. (One column for each pixel is found.)"""
    image_size: Annotated[tuple[Count, Count], Field(strict=False)] | None = None
    """Height and width of an image of pixels; null: a square."""


class Limits(Section):
    """What a file from strangers may ask for; what asks for more is listed and not opened."""

    megapixels: Positive = 150
    """Of one picture."""
    file_megabytes: Positive = 500
    """Of one file or member of an archive."""
    archive_members: Count = 1_000_000
    archive_gigabytes: Positive = 200
    """Of all members of an archive together, unpacked."""
    ratio: Annotated[float, Field(ge=1)] = 200
    """Of the unpacked to the packed size, of an archive or member of more than a megabyte."""


class Quality(Section):
    """Beyond which an image is reported, and used all the same."""

    dark: Fraction = 0.2
    """Even the brighter 5 % of its pixels have at most this luma (0 black, 1 white)."""
    bright: Fraction = 0.88
    """Even the darker 5 % of its pixels have at least this luma."""
    blur: NotNegative = 0.02
    """The variance of its Laplacian is at most this share of the variance of its luma."""
    information: Fraction = 0.25
    """The entropy of its grey levels is at most this share of the largest."""
    aspect_ratio: Annotated[float, Field(ge=1)] = 2
    """It is so many times wider or narrower for its height than the median image."""
    size: Annotated[float, Field(ge=1)] = 4
    """Its sides are so many times longer or shorter than those of the median image."""


class Ingest(Section):
    """How raw photos become labelled arrays."""

    source: Annotated[
        str, Field(min_length=1), AfterValidator(lambda source: source.rstrip("/") or source)
    ] = "data/raw"
    """The folder of the raw photos, or the URL of one that fsspec can list: s3://bucket/photos.
    `dvc.yaml` names it as a dependency, so the file has to say it."""
    layout: Literal["auto", "folders", "table", "pixels", "names"] = "auto"
    """What says the labels: folders, a table of paths, a table of pixels, or the files' names."""
    class_folder: Literal["auto", "first", "last"] = "auto"
    """Which of the folders around a photo is its class; auto: the only one that can be."""
    pattern: str | None = None
    """A regular expression that finds in a file's name (in its path, if it has a slash) what is
    called (?P<label>...), (?P<group>...) or (?P<split>...); a lone group is the label."""
    table: Table = Table()
    size: Annotated[
        tuple[Count, Count],
        Field(strict=False),
        BeforeValidator(lambda size: (size, size) if type(size) is int else size),
        _expects("a whole number of pixels, or two of them: [height, width]"),
    ] = (160, 160)
    """Height and width of every image, pixels; one number stands for a square."""
    color: Literal["rgb", "grayscale"] = "rgb"
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """stretch to the size, crop what stands over, or pad with black."""
    background: Annotated[
        tuple[Level, Level, Level],
        Field(strict=False),
        _expects("three whole numbers from 0 to 255: [red, green, blue]"),
    ] = (255, 255, 255)
    """What transparent pixels are laid over."""
    min_side: Count = 8
    """A photo with a shorter side is rejected, pixels."""
    max_rejected: Fraction = 0.05
    """The run stops if a larger fraction of the files cannot be used."""
    near_duplicate: Annotated[float, Field(ge=0)] = 0.18
    """Images whose fingerprints lie at most this far apart are one group; 0: same pixels only."""
    conflicts: Literal["reject", "keep", "majority"] = "reject"
    """What becomes of images with the same pixels and different labels; majority: all get the
    label of most of them, and without a majority they are rejected."""
    limits: Limits = Limits()
    quality: Quality = Quality()
    shard_images: Annotated[int, Field(ge=8)] = 32
    """Images in a file of arrays, about. Few: an added image costs little to compute and to push;
    many: fewer files, for data sets of millions."""

    @field_validator("pattern")
    @classmethod
    def _pattern_finds(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            found = re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"expected a regular expression, received {pattern!r}: {error}"
            ) from None
        named = set(found.groupindex)
        if not named <= PARTS_OF_NAME or (not named and found.groups != 1):
            raise ValueError(
                "expected (?P<label>...), (?P<group>...) or (?P<split>...), or one group in "
                f"parentheses, which is the label; received {pattern!r}"
            )
        return pattern

    @model_validator(mode="after")
    def _names_have_pattern(self) -> "Ingest":
        if self.layout == "names" and "label" not in self.pattern_parts:
            raise Fault(
                "pattern",
                "expected a regular expression that finds the label with layout names, received "
                f"{self.pattern!r}",
            )
        return self

    @property
    def pattern_parts(self) -> dict[str, int]:
        """What `pattern` finds, and the number of its group in the expression."""
        if self.pattern is None:
            return {}
        return dict(re.compile(self.pattern).groupindex) or {"label": 1}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image array."""
        return (*self.size, 3 if self.color == "rgb" else 1)


class Encode(Section):
    """How a label becomes numbers."""

    task: Literal["auto", "binary", "multiclass", "multilabel", "regression"] = "auto"
    """auto: as the labels say. Several in one cell: multilabel; all numbers, one of them with a
    fraction: regression; else two or more classes."""
    encoder: Literal["auto", "label", "onehot", "binarizer"] = "auto"
    """auto: label for classes, binarizer for multilabel. Regression takes auto alone."""
    separator: Annotated[str, Field(min_length=1)] = "|"
    """Between the labels of one image."""


class Ratios(Section):
    """How the images are shared out; only the proportions count."""

    train: Positive = 6
    validation: Positive = 3
    test: Positive = 1


class Split(Section):
    """Which image stands on which side and in which fold."""

    assignment: Literal["stratified", "stable"] = "stratified"
    """stratified: exact ratios in every class, and added images may move others; stable: by a hash
    of each group, so that no image moves as the data grow, and ratios hold on average."""
    given: Literal["keep", "ignore"] = "keep"
    """What becomes of the sides that folders or a table give."""
    leaks: Literal["train", "drop", "error"] = "train"
    """What becomes of a group that stands on two given sides: moved to train, left out, or an
    error."""
    ratios: Ratios = Ratios()
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds over the train and validation images together."""
    stratify: bool = True
    """Keep the ratios within every class (of numbers: every quantile), not only over all."""
    kind: Literal["KFold", "StratifiedKFold", "StratifiedGroupKFold"] = "StratifiedGroupKFold"
    """How the folds are made. Repeats of one photo stay in one fold with each of them."""
    repeats: Count = 1
    """How many times the pool is divided into folds, each time anew."""
    seed: Seed = 0


Shift = Annotated[
    int | float | Annotated[list[float], Field(min_length=1)],
    _expects("a number, or a list of numbers"),
]


class Augment(Section):
    """The options of ImageDataGenerator, with its meaning of each."""

    variants: Annotated[int, Field(ge=0)] = 4
    """Augmented copies of each image."""
    rotation_range: Annotated[float, Field(ge=0)] = 0
    """Degrees, to both sides."""
    width_shift_range: Shift = 0.0
    """Below 1 a share of the width, else pixels; an integer: whole pixels; a list: one of it."""
    height_shift_range: Shift = 0.0
    zoom_range: Annotated[
        Annotated[float, Field(ge=0, lt=1)]
        | Annotated[tuple[Positive, Positive], Field(strict=False)],
        _expects("a number of at least 0 and below 1, or two above 0: [lowest, highest]"),
    ] = 0.0
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
    strategy: Literal["full", "partial", "head", "auto"] = "head"
    """auto: chosen by the number of training images, and by how well the frozen features of the
    training images already tell their labels apart."""
    cut: str | None = None
    """The last frozen layer, for strategy partial."""
    pooling: Literal["avg", "max", "flatten"] = "avg"
    device: Literal["cpu", "gpu"] = "cpu"
    """What runs the frozen part. gpu: ONNX Runtime on an NVIDIA GPU, in other last bits."""

    @field_validator("layers")
    @classmethod
    def _layers_differ(cls, layers: list[str] | None) -> list[str] | None:
        if layers is not None and len(set(layers)) < len(layers):
            raise ValueError(f"expected each layer once, received {shown(layers)}")
        return layers

    @model_validator(mode="after")
    def _cut_fits_strategy(self) -> "Features":
        if self.strategy == "partial" and self.cut is None:
            raise Fault(
                "cut",
                "expected the name of a layer with strategy partial, received None; name the last "
                "frozen layer, or set strategy: auto",
            )
        if self.strategy != "partial" and self.cut is not None:
            raise Fault(
                "cut",
                f"expected null with strategy {self.strategy}, received {self.cut!r}; set "
                "strategy: partial to cut there",
            )
        return self


class Dense(Section):
    """One hidden layer of the head."""

    units: Count
    activation: Annotated[str, _one_of("activation", ACTIVATIONS)] = "relu"
    initializer: Annotated[str, _one_of("initializer", INITIALIZERS)] = "glorot_uniform"
    """How the kernel starts: glorot_ (Xavier), he_ or lecun_ with normal or uniform, ..."""
    batch_normalization: Literal["none", "before", "after"] = "none"
    """Before or after the activation."""
    dropout: Dropout = 0

    @model_validator(mode="after")
    def _halves(self) -> "Dense":
        if self.activation == "glu" and self.units % 2:
            raise Fault(
                "units",
                f"expected an even number with activation glu, which gates one half by the other, "
                f"received {self.units}",
            )
        return self


class Head(Section):
    """What is trained from scratch behind the backbone."""

    normalize: bool = True
    """Batch normalisation of the features in front of the head."""
    dropout: Dropout = 0
    """In front of the head."""
    layers: list[Dense] = []
    """Hidden layers; the output layer follows from the classes."""
    initializer: Annotated[str, _one_of("initializer", INITIALIZERS)] = "zeros"
    """Of the output layer. A random start would stay in the weights, where a heat map shows it as
    evidence."""
    activation: Annotated[str, _one_of("activation", ["auto", *OUTPUT_ACTIVATIONS])] = "auto"
    """Of the output layer; auto: what fits the task."""


class Penalty(Section):
    """Weights of the absolute (l1) and the squared (l2) kernel in the loss."""

    l1: NotNegative = 0
    l2: NotNegative = 0


class Regularization(Section):
    """The penalty of each kind of layer that is trained."""

    dense: Penalty = Penalty()
    """Every dense layer of the head, the output layer too."""
    convolution: Penalty = Penalty()
    """Every convolution behind the cut."""


class Optimizer(Section):
    """How the weights are moved; null leaves an option at Keras's default."""

    name: Literal["sgd", "adagrad", "rmsprop", "adam", "adamw"] = "adam"
    learning_rate: Positive = 0.001
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    nesterov: bool | None = None
    decay: NotNegative | None = None
    """The rate of step t is learning_rate / (1 + decay * t)."""
    rho: Annotated[float, Field(ge=0, lt=1)] | None = None
    beta_1: Annotated[float, Field(ge=0, lt=1)] | None = None
    beta_2: Annotated[float, Field(ge=0, lt=1)] | None = None
    epsilon: Positive | None = None
    weight_decay: NotNegative | None = None
    clip_norm: Positive | None = None
    """Longest gradient of one weight array."""
    clip_value: Positive | None = None
    """Largest element of a gradient."""
    global_clip_norm: Positive | None = None
    """Longest gradient of all weights together."""

    @model_validator(mode="after")
    def _options_fit(self) -> "Optimizer":
        for option in sorted({one for some in OPTIMIZER_OPTIONS.values() for one in some}):
            value = getattr(self, option)
            if value is not None and option not in OPTIMIZER_OPTIONS[self.name]:
                others = [name for name, some in OPTIMIZER_OPTIONS.items() if option in some]
                raise Fault(
                    option,
                    f"expected null with optimizer {self.name}, received {value}; it is an option "
                    f"of {', '.join(others)}",
                )
        if self.nesterov and not self.momentum:
            raise Fault(
                "momentum",
                f"expected a number above 0 with nesterov: true, received {self.momentum}; set "
                "e.g. 0.9",
            )
        clips = [name for name in CLIPS if getattr(self, name) is not None]
        if len(clips) > 1:
            raise Fault(
                clips[1],
                f"expected null with {clips[0]}, received {getattr(self, clips[1])}; at most one "
                f"of {', '.join(CLIPS)} can be set",
            )
        return self


OPTIMIZER_OPTIONS = {
    "sgd": ("momentum", "nesterov", "decay"),
    "adagrad": ("epsilon",),
    "rmsprop": ("rho", "momentum", "epsilon"),
    "adam": ("beta_1", "beta_2", "epsilon"),
    "adamw": ("beta_1", "beta_2", "epsilon", "weight_decay"),
}
"""What can be set for each optimizer, beside clipping."""
CLIPS = ("clip_norm", "clip_value", "global_clip_norm")


class Schedule(Section):
    """How the learning rate changes from step to step."""

    name: Literal["constant", "exponential", "cosine", "one_cycle"] = "constant"
    """exponential: times decay_rate for every epoch; cosine: along half a cosine to final_factor;
    one_cycle: up from a 25th and down to final_factor, each along half a cosine."""
    warmup_epochs: NotNegative = 0
    """The rate rises linearly from 0 so long; one_cycle: the rising part, 0: three tenths."""
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.9
    final_factor: Fraction = 0.0001
    """Of learning_rate."""


class EarlyStopping(Switchable):
    """When to stop before the last epoch, as in Keras."""

    monitor: str = "val_loss"
    """loss or one of `metrics`, of the validation images with val_ in front."""
    min_delta: NotNegative = 0
    patience: NotNegativeCount = 5
    """Epochs without a better value."""
    mode: Literal["auto", "min", "max"] = "auto"
    baseline: float | None = None
    restore_best_weights: bool = True
    start_from_epoch: NotNegativeCount = 0


class ReduceOnPlateau(Switchable):
    """When to lower the learning rate, as in Keras."""

    monitor: str = "val_loss"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: NotNegativeCount = 3
    mode: Literal["auto", "min", "max"] = "auto"
    min_delta: NotNegative = 0.0001
    cooldown: NotNegativeCount = 0
    min_lr: NotNegative = 0


class Checkpoint(Switchable):
    """Which epochs' models are kept in `models/checkpoints`, as in Keras."""

    monitor: str = "val_loss"
    save_best_only: bool = True
    """The best one alone, as best.keras; else epoch-<n>.keras."""
    save_weights_only: bool = False
    mode: Literal["auto", "min", "max"] = "auto"
    save_freq: Annotated[
        Literal["epoch"] | Count, _expects("epoch, or a number of steps of at least 1")
    ] = "epoch"
    """epoch, or every so many steps."""
    initial_value_threshold: float | None = None

    @model_validator(mode="after")
    def _known_when_saved(self) -> "Checkpoint":
        if self.save_best_only and self.save_freq != "epoch":
            raise Fault(
                "save_freq",
                f"expected epoch with save_best_only: true, received {self.save_freq}; a value to "
                "compare is known after an epoch only",
            )
        return self


class HeadFirst(Switchable):
    """Before anything behind the cut of a pretrained network moves, the head learns alone, on
    frozen features: the large gradients of a new head would spoil what the network knows."""

    epochs: Count = 5
    rate_factor: Positive = 0.1
    """Of the learning rate, once all is trained together."""


class Distribution(Section):
    """Which devices share the batches. It decides the order of additions, and so the last bits."""

    strategy: Literal["single", "mirrored", "multi_worker"] = "single"
    """mirrored: the first GPUs of this machine, or as many logical devices where it has none;
    multi_worker: one device in each of the processes that TF_CONFIG names (docs/scale.md)."""
    replicas: Count = 1
    """How many devices, of all processes together; each batch is divided over them."""

    @model_validator(mode="after")
    def _replicas_fit(self) -> "Distribution":
        if self.strategy == "single" and self.replicas > 1:
            raise Fault(
                "replicas",
                f"expected 1 with strategy single, received {self.replicas}; set strategy: "
                "mirrored for several devices, multi_worker for several machines",
            )
        if self.strategy != "single" and self.replicas == 1:
            raise Fault(
                "replicas",
                f"expected at least 2 with strategy {self.strategy}, received 1; for one device "
                "set strategy: single",
            )
        return self


class Training(Section):
    """How a head (and what lies behind the cut) is trained: the default of every candidate."""

    features: str = "pooled"
    """Which entry of `features` it is trained on."""
    head: Head = Head()
    loss: Annotated[str, _one_of("loss", ["auto", *LOSSES])] = "auto"
    """auto: what fits the task and the encoder. Numbers are scaled to mean 0 and deviation 1 for
    training, so their losses are in units of that."""
    metrics: Annotated[
        Literal["auto"] | Annotated[list[str], Field(min_length=1)],
        _expects(f"auto, or a list of some of {', '.join(METRICS)}"),
    ] = "auto"
    """Shown for every epoch; auto: the first that fits the task."""
    regularization: Regularization = Regularization()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    batch_size: Count = 32
    epochs: Count = 30
    head_first: HeadFirst | None = HeadFirst()
    """For strategies partial and full."""
    class_weight: Annotated[
        Literal["none", "balanced"] | dict[str, Positive],
        _expects("none, balanced, or a number above 0 for each class (one like 1 or no in quotes)"),
    ] = "none"
    """How much the images of each class count; balanced: all classes together the same."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0
    early_stopping: EarlyStopping | None = EarlyStopping()
    reduce_on_plateau: ReduceOnPlateau | None = None
    checkpoint: Checkpoint | None = None
    augmented: bool = True
    """Each epoch shows one of the original and the variants of every image."""
    seed: Seed = 0
    distribution: Distribution = Distribution()

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, metrics: str | list[str]) -> str | list[str]:
        for metric in metrics if isinstance(metrics, list) else []:
            if metric not in METRICS:
                raise ValueError(unknown_name("metric", metric, METRICS))
        return metrics

    @model_validator(mode="after")
    def _rates_fit(self) -> "Training":
        scheduled = self.schedule.name != "constant" or self.schedule.warmup_epochs > 0
        if scheduled and self.optimizer.decay:
            raise Fault(
                "optimizer.decay",
                f"expected null with a schedule or warm-up, received {self.optimizer.decay}; only "
                "one of them can set the rate",
            )
        if self.reduce_on_plateau and (scheduled or self.optimizer.decay):
            raise Fault(
                "reduce_on_plateau",
                "expected null with a schedule, warm-up or decay, received one that would fight "
                "with it; only one of them can set the rate",
            )
        if self.schedule.warmup_epochs >= self.epochs:
            raise Fault(
                "schedule.warmup_epochs",
                f"expected fewer than epochs, {self.epochs}, received "
                f"{self.schedule.warmup_epochs:g}; shorten the warm-up, or raise epochs",
            )
        return self

    @model_validator(mode="after")
    def _batches_divide(self) -> "Training":
        if self.batch_size < self.distribution.replicas:
            raise Fault(
                "batch_size",
                f"expected at least distribution.replicas, {self.distribution.replicas}, received "
                f"{self.batch_size}",
            )
        return self

    def fit(self, task: str, encoder: str) -> Fit:
        """The loss and last activation for a task and an encoder.

        Raises:
            Fault: Something does not fit the task; names its key and what would.
        """
        fits = TASKS[task].fits[encoder]
        where = f"task {task}" + (f" and encoder {encoder}" if encoder != "none" else "")
        of_loss = [fit for fit in fits if self.loss in ("auto", fit.loss)]
        if not of_loss:
            raise _misfit("loss", [fit.loss for fit in fits], where, self.loss)
        wanted = self.head.activation
        fitting = [fit for fit in of_loss if wanted in ("auto", fit.activation)]
        if not fitting:
            where += f" and loss {self.loss}" if self.loss != "auto" else ""
            activations = list(dict.fromkeys(fit.activation for fit in of_loss))
            raise _misfit("head.activation", activations, where, wanted)
        self._check_metrics(task)
        if self.class_weight != "none" and task in ("multilabel", "regression"):
            raise Fault(
                "class_weight",
                f"expected none with task {task}, received {shown(self.class_weight)}; it is for "
                "binary and multiclass",
            )
        if self.label_smoothing and fitting[0].loss in UNSMOOTHED:
            remedy = "" if task == "regression" else "; set encode.encoder: onehot"
            raise Fault(
                "label_smoothing",
                f"expected 0 with loss {fitting[0].loss}, received {self.label_smoothing}{remedy}",
            )
        return fitting[0]

    def check_classes(self, classes: list[str]) -> None:
        """Whether `class_weight`, where it holds numbers, has one for each class.

        Raises:
            Fault: It names a class that there is not, or leaves one out.
        """
        if not isinstance(self.class_weight, dict):
            return
        for name in self.class_weight:
            if name not in classes:
                raise Fault("class_weight", unknown_name("class", name, classes))
        for name in classes:
            if name not in self.class_weight:
                received = shown(self.class_weight)
                raise Fault(
                    "class_weight",
                    f"expected a number for each class, received {received}; add {name!r}",
                )

    def metric_names(self, task: str) -> list[str]:
        """The metrics that are shown for every epoch."""
        return [TASKS[task].metrics[0]] if self.metrics == "auto" else self.metrics

    def _check_metrics(self, task: str) -> None:
        known = TASKS[task].metrics
        for metric in self.metric_names(task):
            if metric not in known:
                raise _misfit("metrics", list(known), f"task {task}", metric)
        monitors = [prefix + name for prefix in ("val_", "") for name in ("loss", *known)]
        for name in CALLBACKS:
            if (callback := getattr(self, name)) is None:
                continue
            monitor, metric = callback.monitor, callback.monitor.removeprefix("val_")
            if monitor not in monitors:
                raise Fault(f"{name}.monitor", unknown_name("value", monitor, monitors))
            if metric not in ("loss", *self.metric_names(task)):
                raise Fault(
                    f"{name}.monitor",
                    f"expected loss or one of metrics, received {monitor}; add {metric} to metrics",
                )


HEAT_MAPS = ["cam", "gradcam", "gradcam++", "hirescam", "layercam", "scorecam"]
"""The methods of `stages/common/heatmaps.py`."""

CALLBACKS = ("early_stopping", "reduce_on_plateau", "checkpoint")
UNSMOOTHED = ("sparse_categorical_crossentropy", "mean_squared_error", "mean_absolute_error")
"""Losses without soft targets."""


def _misfit(key: str, valid: list[str], where: str, received: str) -> Fault:
    names = " or ".join(["auto", *valid])
    return Fault(key, f"expected {names} with {where}, received {received}")


class KFold(Section):
    """How candidates are compared over the folds."""

    metric: Annotated[str, _one_of("metric", ["auto", *METRICS])] = "auto"
    """auto: the first of the task: accuracy, macro_f1 (multilabel) or rmse (regression)."""
    rule: Literal["best", "one_standard_error"] = "best"
    """best: the best mean; one_standard_error: of those whose mean is at most one standard error
    of the best one's mean behind it, the one with the fewest trained parameters."""
    predict_test: bool = False
    """Also score the test images with the model of every fold: shown beside, choosing nothing."""


class Finetune(Section):
    """Which candidate becomes the model."""

    candidate: str = "choice"
    """choice: what `kfold` chose; or the name of a candidate."""
    with_validation: bool = False
    """Train on the validation images too. Then nothing is watched, so callbacks that watch them
    are left out: for candidates whose epochs or schedule end the training."""


class Evaluate(Section):
    """How the test figures are made."""

    calibration_bins: Count = 10
    test_time_augmentation: bool = False
    """Predict the mean over each image and its variants."""


class GradCam(Section):
    """Which heat maps are drawn, and how it is measured whether to believe them."""

    layer: Annotated[
        str | Annotated[list[str], Field(min_length=1)],
        _expects("auto, the name of a layer in quotes, or a list of such names"),
    ] = "auto"
    """auto: the last convolution; or the name of a layer, or of several that are combined."""
    method: Annotated[str, _one_of("method", HEAT_MAPS)] = "gradcam"
    """The one that is shown first."""
    compared: list[Annotated[str, _one_of("method", HEAT_MAPS)]] = ["gradcam++", "hirescam"]
    """Further methods that are drawn and measured beside it."""
    target: Annotated[
        str | Annotated[list[str], Field(min_length=2, max_length=2)],
        _expects("predicted, label, or one or two names of classes in quotes"),
    ] = "predicted"
    """What the maps explain: predicted, label (the true class), the name of a class, or two names:
    what tells the first from the second. Of numbers: what raises them."""
    images: Count = 400
    """At most so many test images, right and wrong ones of each class in turn."""
    measured: Count = 100
    """At most so many of these tell how far to believe each method."""


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
    backbones: Annotated[dict[Name, Backbone], Field(min_length=1)]
    features: Annotated[dict[Name, Features], Field(min_length=1)]
    training: Training
    candidates: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    kfold: KFold
    finetune: Finetune
    evaluate: Evaluate
    gradcam: GradCam
    tensorflow: TensorFlow

    @model_validator(mode="after")
    def _names_exist(self) -> "Params":
        for name, features in self.features.items():
            _check_name(f"features.{name}.backbone", features.backbone, self.backbones)
        for name in self.overrides:
            if name == "choice":
                raise Fault(
                    "candidates.choice",
                    "expected another name, received 'choice', which finetune.candidate takes for "
                    "the chosen one; rename it",
                )
            candidate = self.candidate(name)
            if candidate.features not in self.features:
                what = unknown_name("name", candidate.features, self.features)
                raise self.locate(name, Fault("features", what))
            if candidate.distribution != self.training.distribution:
                what = "expected that of training, received another; set training.distribution"
                raise self.locate(name, Fault("distribution", what))
        _check_name("finetune.candidate", self.finetune.candidate, ["choice", *self.overrides])
        return self

    @model_validator(mode="after")
    def _tasks_fit(self) -> "Params":
        """With task auto, some task must fit; which one it is, only the labels tell."""
        if self.encode.task != "auto":
            self.check_task(self.encode.task)
            return self
        encoder, faults = self.encode.encoder, []
        for task in TASKS:
            if encoder in ("auto", *TASKS[task].fits):
                try:
                    self.check_task(task)
                    return self
                except Fault as fault:
                    faults.append(fault)
        raise Fault(faults[0].key, f"{faults[0].message}; and no other task fits the params")

    @cached_property
    def overrides(self) -> dict[str, dict[str, Any]]:
        """The overrides of every candidate, each grid and random search written out.

        Raises:
            Fault: A grid or search is wrong; names `candidates.<name>.<key>`.
        """
        expanded = {}
        for name, entry in self.candidates.items():
            for one, overrides in expand(name, entry).items():
                if one in expanded:
                    message = f"expected each name once, received it of {name} too; rename it"
                    raise Fault(f"candidates.{one}", message)
                expanded[one] = overrides
        return expanded

    def encoder(self, task: str) -> str:
        """The encoder for a task.

        Raises:
            Fault: The one that params name does not fit it.
        """
        known = list(TASKS[task].fits)
        if self.encode.encoder == "auto":
            return known[0]
        if self.encode.encoder not in known:
            fitting = [one for one in known if one != "none"]
            raise _misfit("encode.encoder", fitting, f"task {task}", self.encode.encoder)
        return self.encode.encoder

    def metric(self, task: str) -> str:
        """The metric that candidates are compared by."""
        return TASKS[task].metrics[0] if self.kfold.metric == "auto" else self.kfold.metric

    def check_task(self, task: str) -> None:
        """Whether all that is set fits a task.

        Raises:
            Fault: Something does not; names its key and what would.
        """
        encoder = self.encoder(task)
        for name in self.overrides:
            training = self.candidate(name)
            try:
                training.fit(task, encoder)
            except Fault as fault:
                raise self.locate(name, fault) from None
        known = TASKS[task].metrics
        if self.metric(task) not in known:
            raise _misfit("kfold.metric", list(known), f"task {task}", self.kfold.metric)

    def check_classes(self, classes: list[str]) -> None:
        """Whether the class weights of every candidate fit the classes.

        Raises:
            Fault: They do not; names the key.
        """
        for name in self.overrides:
            try:
                self.candidate(name).check_classes(classes)
            except Fault as fault:
                raise self.locate(name, fault) from None

    def candidate(self, name: str) -> Training:
        """The training params of one candidate: the section `training` with its overrides.

        Raises:
            InputError: There is no such candidate.
            Fault: An override is unknown or wrong; names its key.
        """
        if name not in self.overrides:
            raise InputError(unknown_name("candidate", name, self.overrides))
        merged = _merge(self.training.model_dump(mode="json"), self.overrides[name])
        try:
            return Training.model_validate(merged)
        except ValidationError as error:
            raise self.locate(name, first_fault(error)) from None

    def locate(self, name: str, fault: Fault) -> Fault:
        """A fault of a candidate's training, with the key under which the file sets that knob."""
        for entry, written in self.candidates.items():
            key = where_set(fault.key, entry, written) if name in expand(entry, written) else None
            if key is not None:
                return Fault(key, fault.message)
        candidate = f" (in candidate {name})" if self.overrides[name] else ""
        return Fault(f"training.{fault.key}", fault.message + candidate)


def load_params(path: str | Path) -> Params:
    """Read and check `params.yaml`.

    Raises:
        InputError: The file is missing or no YAML, or a knob is wrong; one line that names the
            key, what was expected, what was received and the nearest valid name.
    """
    try:
        return Params.model_validate(read_yaml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from None


def _check_name(key: str, received: str, valid: Iterable[str]) -> None:
    if received not in valid:
        raise Fault(key, unknown_name("name", received, valid))


def _merge(base: dict, overrides: dict) -> dict:
    """`base` with `overrides` put over it, sections merged key by key."""
    merged = dict(base)
    for key, value in overrides.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged
