"""The state of a training after its last finished epoch, so that a killed run can go on."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

_FACTS = "facts"
History = list[dict[str, float]]


class Variable(Protocol):
    """What a snapshot needs of a variable of Keras."""

    def numpy(self) -> np.ndarray: ...
    def assign(self, value: np.ndarray) -> object: ...


class Resume:
    """The last finished epoch of one phase of a training.

    Args:
        path: The file that holds it; all phases of a training share one.
        finished: What each epoch of the phases before gave.
        variables: All that training moves: weights, statistics, random states, the optimizer's.
    """

    def __init__(self, path: Path, finished: Sequence[History], variables: Sequence[Variable]):
        self._path, self._finished, self._variables = path, list(finished), variables

    def save(self, history: History, best_weights: list[np.ndarray] | None) -> None:
        """Keep the state; the file appears whole or not at all."""
        arrays = {f"variable_{i}": one.numpy() for i, one in enumerate(self._variables)}
        arrays |= {f"best_{i}": one for i, one in enumerate(best_weights or [])}
        facts = {"histories": [*self._finished, history]}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with fresh.open("wb") as file:
            text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
            np.savez(file, **{_FACTS: text}, **arrays)
        fresh.replace(self._path)

    def load(self) -> tuple[History, list[np.ndarray] | None] | None:
        """Put the variables back to what was kept in this phase, if anything was.

        Returns:
            What each epoch of the phase gave, and the best weights so far if they were kept.
        """
        histories = finished_epochs(self._path)
        if len(histories) != len(self._finished) + 1:
            return None
        with np.load(self._path, allow_pickle=False) as file:
            for i, variable in enumerate(self._variables):
                variable.assign(file[f"variable_{i}"])
            count = sum(name.startswith("best_") for name in file.files)
            best = [file[f"best_{i}"] for i in range(count)] or None
        return histories[-1], best


def finished_epochs(path: Path) -> list[History]:
    """What each finished epoch of each phase gave, by a file of `Resume`; empty without one."""
    if not path.exists():
        return []
    with np.load(path, allow_pickle=False) as file:
        return json.loads(file[_FACTS].tobytes())["histories"]
