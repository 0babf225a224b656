"""Refusing an unknown name, with the nearest valid one."""

import difflib
from collections.abc import Iterable


def unknown_name(what: str, received: object, valid: Iterable[str]) -> str:
    """One line that refuses `received` and lists the names that are valid.

    Args:
        what: What the name stands for, e.g. "backbone".
        received: The name as the user wrote it.
        valid: Every name that would have been accepted.

    Example:
        >>> unknown_name("fill mode", "reflekt", ["constant", "reflect"])
        "unknown fill mode 'reflekt', did you mean 'reflect'? Expected one of: constant, reflect"
    """
    names = list(valid)
    by_lower_case = {name.lower(): name for name in names}
    nearest = difflib.get_close_matches(str(received).lower(), by_lower_case, n=1, cutoff=0.5)
    hint = f", did you mean {by_lower_case[nearest[0]]!r}?" if nearest else "."
    return f"unknown {what} {received!r}{hint} Expected one of: {', '.join(names)}"
