"""What a candidate is trained on: which part of its network is frozen, and what that part gives."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from stages.common.dataset import Dataset
from stages.common.embedding import embed
from stages.common.errors import InputError
from stages.common.features import Shards, feature_shards, open_rows
from stages.common.files import file_digest
from stages.common.params import Augment, Features, Params
from stages.common.paths import BACKBONES, CLASSES, MANIFEST, SPLITS, TARGETS
from stages.common.strategy import choose_strategy, likeness
from stages.common.variants import image_shards


@dataclass(frozen=True)
class Plan:
    """Where a candidate's network is cut, and where the rows of its phases lie.

    Attributes:
        features: With a strategy of full, partial or head.
        why: The reason, if the strategy was `auto`.
        at_cut: What the part behind the cut is trained on.
        pooled: What the head is trained on first, or None.
        rescale: Factor on the values of `at_cut`, where these are images.
    """

    features: Features
    why: str | None
    at_cut: Shards
    pooled: Shards | None
    rescale: float | None

    def identity(self) -> str:
        """A text that stands for all that training depends on besides params and code."""
        files = [MANIFEST, TARGETS, SPLITS, CLASSES, *_files(self.at_cut), *_files(self.pooled)]
        if self.features.strategy != "head":
            files.append(BACKBONES / f"{self.features.backbone}.keras")
        facts = [self.features.model_dump(mode="json"), self.rescale, _digest(tuple(files))]
        return json.dumps(facts, sort_keys=True)


def make_plans(params: Params, dataset: Dataset) -> dict[str, Plan]:
    """The plan of every candidate; candidates that are trained on the same rows share one.

    Raises:
        InputError: As for `make_plan`.
    """
    plans, made = {}, {}
    for name in params.overrides:
        training = params.candidate(name)
        same = (training.features, training.augmented, training.head_first is None)
        if same not in made:
            made[same] = make_plan(params, name, dataset)
        plans[name] = made[same]
    return plans


def make_plan(params: Params, name: str, dataset: Dataset) -> Plan:
    """Plan the training of a candidate; what its frozen part gives is computed if it is missing.

    Raises:
        InputError: The entry of `features` does not fit its network.
    """
    training = params.candidate(name)
    entry, features = training.features, params.features[training.features]
    augmented, why = training.augmented, None
    if features.strategy == "auto":
        features, why = _resolve(entry, features, dataset)
    plan = Plan(features, why, [], None, None)
    if features.strategy == "head":
        return replace(plan, at_cut=feature_shards(entry, augmented))
    if training.head_first is not None:
        # All before the pooling is still frozen in that phase, so it too is computed once.
        pooled = features.model_copy(update={"strategy": "head", "cut": None})
        plan = replace(plan, pooled=_embed(f"{entry} pooled", pooled, params.augment, augmented))
    if features.strategy == "full":
        shards = list(image_shards(params.augment if augmented else None).values())
        return replace(plan, at_cut=shards, rescale=params.augment.rescale)
    if params.features[entry].strategy == "partial":
        return replace(plan, at_cut=feature_shards(entry, augmented))
    at_cut = _embed(f"{entry} {features.cut}", features, params.augment, augmented)
    return replace(plan, at_cut=at_cut)


def _embed(name: str, features: Features, augment: Augment, augmented: bool) -> Shards:
    images = image_shards(augment if augmented else None)
    return list(embed(name, features, images, augment.rescale).values())


def _resolve(entry: str, features: Features, dataset: Dataset) -> tuple[Features, str]:
    """What `auto` means for these data, by the images of the train side alone."""
    train = dataset.side("train")
    rows = open_rows(feature_shards(entry, augmented=False), dataset.manifest)
    groups = dataset.manifest["group"].to_numpy()[train]
    pooled = rows.take(train).reshape(len(train), -1)
    choice = choose_strategy(len(train), likeness(pooled, _columns(dataset)[train], groups))
    update = {"strategy": choice.strategy}
    if choice.strategy == "partial":
        update["cut"] = _cut_at(choice.depth, features)
    return features.model_copy(update=update), choice.why


def _columns(dataset: Dataset) -> np.ndarray:
    """A column for each class or label, 0 or 1, or one of values."""
    if dataset.task in ("binary", "multiclass"):
        return np.eye(len(dataset.classes))[dataset.truth]
    return dataset.truth.reshape(len(dataset.truth), -1)


def _cut_at(depth: float, features: Features) -> str:
    """The cut with that share of the network's cuts before it."""
    from stages.common.cuts import cuts
    from stages.common.keras_files import load
    from stages.common.networks import add_pooling

    network = add_pooling(load(BACKBONES / f"{features.backbone}.keras"), features)
    # The first is the image and the last the pooling: those are full and head.
    inner = cuts(network)[1:-1]
    if not inner:
        raise InputError(
            f"features: expected a network that can be cut for strategy auto, found none of its "
            f"layers of {features.backbone!r} alone on the way; set strategy: full or head"
        )
    return inner[int(depth * len(inner))]


def _files(shards: Shards | None) -> Iterable[Path]:
    return [path for of_variant in shards or [] for path in of_variant.values()]


@lru_cache
def _digest(files: tuple[Path, ...]) -> str:
    return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()
