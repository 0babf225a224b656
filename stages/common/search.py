"""Candidates written as a grid or as a random search."""

import itertools
import math
from typing import Any

from stages.common.names import unknown_name
from stages.common.randomness import uniforms

_KEYS = ("n", "seed", "over")
_RANGE_KEYS = ("low", "high", "log")


def expand(name: str, entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The candidates that one entry of `candidates` stands for.

    Args:
        name: Of the entry.
        entry: Overrides of `training`. Beside them may stand `grid` (a list of values for each
            key, all combinations) and `random` (`n` draws from `over`: for each key a list of
            values, or a range `{low, high, log}`; `seed`). A key is written with dots.

    Returns:
        The overrides of each candidate. A plain entry keeps its name, others get a number.

    Raises:
        ValueError: A grid or search is wrong; names `candidates.<name>.<key>`.

    Example:
        >>> expand("net", {"epochs": 5, "grid": {"head.dropout": [0, 0.5]}})["net-2"]
        {'epochs': 5, 'head': {'dropout': 0.5}}
    """
    if not {"grid", "random"} & set(entry):
        return {name: entry}
    plain = {key: value for key, value in entry.items() if key not in ("grid", "random")}
    points = [
        grid | draw
        for grid in _grid(f"candidates.{name}.grid", entry.get("grid", {}))
        for draw in _draws(f"candidates.{name}.random", entry.get("random"), name)
    ]
    return {f"{name}-{i}": _with(plain, point) for i, point in enumerate(points, start=1)}


def _grid(key: str, grid: Any) -> list[dict[str, Any]]:
    if not isinstance(grid, dict) or not all(isinstance(v, list) and v for v in grid.values()):
        raise ValueError(f"{key}: expected a list of values for each key, received {grid!r}")
    return [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]


def _draws(key: str, search: Any, name: str) -> list[dict[str, Any]]:
    if search is None:
        return [{}]
    if not isinstance(search, dict):
        raise ValueError(f"{key}: expected {{n, over}} and perhaps seed, received {search!r}")
    for one in search:
        if one not in _KEYS:
            raise ValueError(f"{key}.{one}: {unknown_name('key', one, _KEYS)}")
    count, over = search.get("n"), search.get("over")
    if type(count) is not int or count < 1:
        raise ValueError(f"{key}.n: expected a whole number from 1, received {count!r}")
    if not isinstance(over, dict) or not over:
        raise ValueError(f"{key}.over: expected what to draw for each key, received {over!r}")
    seed = search.get("seed", 0)
    return [
        {
            knob: _draw(
                f"{key}.over.{knob}", choice, *uniforms(1, seed, "search", name, number, knob)
            )
            for knob, choice in over.items()
        }
        for number in range(count)
    ]


def _draw(key: str, choice: Any, place: float) -> Any:
    """One of a list, or a number of a range (whole if both ends are); `place` is in [0, 1)."""
    if isinstance(choice, list) and choice:
        return choice[int(place * len(choice))]
    if not isinstance(choice, dict) or not {"low", "high"} <= set(choice) <= set(_RANGE_KEYS):
        raise ValueError(f"{key}: expected a list, or {{low, high, log}}, received {choice!r}")
    low, high, logarithmic = choice["low"], choice["high"], choice.get("log", False)
    numbers = all(type(one) in (int, float) for one in (low, high)) and type(logarithmic) is bool
    if not numbers or not low < high or (logarithmic and low <= 0):
        raise ValueError(
            f"{key}: expected numbers low < high (above 0 with log: true), received {choice!r}"
        )
    if type(low) is int and type(high) is int:
        high += 1  # the highest whole number can be drawn too
    if logarithmic:
        value = math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
    else:
        value = low + place * (high - low)
    whole = type(low) is int and type(high) is int
    # Few digits, so that a candidate can be told and typed, and no processor's last bit shows.
    return math.floor(value) if whole else float(f"{value:.4g}")


def _with(entry: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """An entry with the values of a point put in; sections on the way are copied."""
    result = dict(entry)
    for key, value in point.items():
        place = result
        *sections, last = key.split(".")
        for section in sections:
            inner = place.get(section)
            place[section] = dict(inner) if isinstance(inner, dict) else {}
            place = place[section]
        place[last] = value
    return result
