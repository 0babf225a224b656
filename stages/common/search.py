"""Candidates written as a grid or as a random search."""

import itertools
import math
from typing import Any

from stages.common.faults import Fault, shown
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
        Fault: A grid or search is wrong; names `candidates.<name>.<key>`.

    Example:
        >>> expand("net", {"epochs": 5, "grid": {"head.dropout": [0, 0.5]}})["net-2"]
        {'epochs': 5, 'head': {'dropout': 0.5}}
    """
    if not {"grid", "random"} & set(entry):
        return {name: entry}
    plain = {key: value for key, value in entry.items() if key not in ("grid", "random")}
    grid = _grid(f"candidates.{name}.grid", entry["grid"]) if "grid" in entry else [{}]
    key = f"candidates.{name}.random"
    draws = _draws(key, entry["random"], name) if "random" in entry else [{}]
    for knob in draws[0]:
        if knob in grid[0]:
            raise Fault(f"{key}.over.{knob}", f"expected what grid does not vary, received {knob}")
    points = [point | draw for point in grid for draw in draws]
    return {f"{name}-{i}": _with(plain, point) for i, point in enumerate(points, start=1)}


def where_set(knob: str, name: str, entry: dict[str, Any]) -> str | None:
    """The full key under which an entry sets a knob of its candidates.

    Args:
        knob: As seen from `training`, with dots.
        name: Of the entry.
        entry: As for `expand`.

    Returns:
        None if it leaves the knob as it is in `training`.

    Example:
        >>> where_set("head.dropout", "net", {"epochs": 5, "grid": {"head.dropout": [0, 0.5]}})
        'candidates.net.grid.head.dropout'
    """
    varied = {"grid": entry.get("grid", {}), "random.over": entry.get("random", {}).get("over", {})}
    for where, keys in varied.items():
        for key in keys:
            if f"{knob}.".startswith(f"{key}."):
                return f"candidates.{name}.{where}.{key}"
    value = entry
    for step in [knob] if knob in entry else knob.split("."):
        if isinstance(value, dict) and step not in value:
            return None
        value = value[step] if isinstance(value, dict) else None
    return f"candidates.{name}.{knob}"


def _grid(key: str, grid: Any) -> list[dict[str, Any]]:
    if not isinstance(grid, dict) or not grid:
        raise Fault(key, f"expected a list of values for each key, received {shown(grid)}")
    _check_keys(key, grid)
    for knob, values in grid.items():
        if not isinstance(values, list) or not values:
            raise Fault(f"{key}.{knob}", f"expected a list of values, received {shown(values)}")
    return [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]


def _draws(key: str, search: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(search, dict):
        raise Fault(key, f"expected {{n, over}} and perhaps seed, received {shown(search)}")
    for one in search:
        if one not in _KEYS:
            raise Fault(f"{key}.{one}", unknown_name("key", one, _KEYS))
    count, seed, over = search.get("n"), search.get("seed", 0), search.get("over")
    if type(count) is not int or count < 1:
        raise Fault(f"{key}.n", f"expected a whole number of at least 1, received {shown(count)}")
    if type(seed) is not int or seed < 0:
        raise Fault(f"{key}.seed", f"expected a whole number of at least 0, received {shown(seed)}")
    if not isinstance(over, dict) or not over:
        raise Fault(f"{key}.over", f"expected what to draw for each key, received {shown(over)}")
    _check_keys(f"{key}.over", over)
    return [
        {
            knob: _draw(
                f"{key}.over.{knob}", choice, *uniforms(1, seed, "search", name, number, knob)
            )
            for knob, choice in over.items()
        }
        for number in range(count)
    ]


def _check_keys(key: str, knobs: dict) -> None:
    for knob in knobs:
        if not isinstance(knob, str):
            raise Fault(f"{key}.{knob}", f"expected a key of training, received {knob!r}")


def _draw(key: str, choice: Any, place: float) -> Any:
    """One of a list, or a number of a range (whole if both ends are); `place` is in [0, 1)."""
    if isinstance(choice, list) and choice:
        return choice[int(place * len(choice))]
    if not isinstance(choice, dict) or not {"low", "high"} <= set(choice) <= set(_RANGE_KEYS):
        raise Fault(key, f"expected a list, or {{low, high, log}}, received {shown(choice)}")
    low, high, logarithmic = choice["low"], choice["high"], choice.get("log", False)
    numbers = all(type(one) in (int, float) for one in (low, high)) and type(logarithmic) is bool
    if not numbers or not low < high or (logarithmic and low <= 0):
        raise Fault(
            key,
            f"expected numbers low < high (above 0 with log: true), received {shown(choice)}",
        )
    whole = type(low) is int and type(high) is int
    end = high + 1 if whole else high  # the highest whole number can be drawn too
    if logarithmic:
        value = math.exp(math.log(low) + place * (math.log(end) - math.log(low)))
    else:
        value = low + place * (end - low)
    # Few digits, so that a candidate can be told and typed, and no processor's last bit shows.
    value = math.floor(value) if whole else float(f"{value:.4g}")
    return type(value)(min(max(value, low), high))


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
