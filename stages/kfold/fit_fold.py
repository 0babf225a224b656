"""The work of one fold of one candidate: trained on the rest, it predicts the fold."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.common.dataset import Dataset, read_dataset
from stages.common.params import Distribution, Params
from stages.common.plans import Plan

if TYPE_CHECKING:
    from stages.common.candidates import Candidate
    from stages.common.distribution import Replicas

# One thread, and as many fits side by side as there are cores: faster than many threads in the
# small operations of a head, and the same bytes on every machine.
_THREADS = 1


def fit_fold(
    params: Params, name: str, plan: Plan, repeat: int, fold: int, predict_test: bool
) -> dict[str, np.ndarray]:
    """Train a candidate on all folds but one and predict that one.

    Every epoch that params plan is trained unless a callback that watches the training images
    stops it: to stop by the images that are scored would flatter the candidates that stop.

    Args:
        params: All params.
        name: Of the candidate.
        plan: Of the candidate.
        repeat: Which division into folds.
        fold: The one to predict.
        predict_test: Whether to predict the test images too.

    Returns:
        `held_out` and `test`: predictions of the fold's and the test images in the order of their
        ids; `loss` of every epoch; `parameters`: how many were trained.
    """
    connect(params.training.distribution).share([name, repeat, fold])
    dataset, candidate, history = _fit(params, name, plan, repeat, fold)
    _, held_out = divide(dataset, repeat, fold)
    test = dataset.side("test") if predict_test else []
    return {
        "held_out": candidate.predict(held_out),
        "test": candidate.predict(test) if len(test) else np.empty(0),
        "loss": history["loss"].to_numpy(),
        "parameters": np.array(candidate.trained_parameters),
    }


def connect(distribution: Distribution) -> Replicas:
    """The replicas that train every fit of this process, TensorFlow set up for them."""
    # Only here, as below.
    from stages.common.determinism import make_deterministic
    from stages.common.distribution import distribute

    if distribution.strategy != "single" and not distribute.cache_info().currsize:
        make_deterministic(_THREADS, seed=0)
    return distribute(distribution)


def follow(params: Params, plans: Mapping[str, Plan], replicas: Replicas) -> None:
    """Take part in every fit of the chief, until it has no more."""
    while (job := replicas.share(None)) is not None:
        name, repeat, fold = job
        _fit(params, name, plans[name], repeat, fold)


def _fit(
    params: Params, name: str, plan: Plan, repeat: int, fold: int
) -> tuple[Dataset, Candidate, pd.DataFrame]:
    # As bytes, since params have no hash.
    dataset, candidate = _build(pickle.dumps((params, name, plan)))
    train, _ = divide(dataset, repeat, fold)
    return dataset, candidate, candidate.fit(train)


def divide(dataset: Dataset, repeat: int, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the images to train on and to predict; test images are neither."""
    fold_of = dataset.folds[:, repeat]
    return np.flatnonzero((fold_of >= 0) & (fold_of != fold)), np.flatnonzero(fold_of == fold)


@lru_cache(maxsize=1)
def _build(job: bytes) -> tuple[Dataset, Candidate]:
    """The images and the candidate, kept for the next fold: compiled once in each process."""
    # Only here: the process that hands out the folds starts without TensorFlow.
    from stages.common.candidates import Candidate
    from stages.common.determinism import make_deterministic

    params, name, plan = pickle.loads(job)
    make_deterministic(_THREADS, seed=0)
    dataset = read_dataset()
    return dataset, Candidate(params, name, dataset, plan, with_backbone=False)
