"""What is wrong with `params.yaml`, as one line that names the key."""

import math
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stages.common.errors import InputError, one_line, shown
from stages.common.names import unknown_name

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt:.12g}",
    "greater_than_equal": "a number of at least {ge:.12g}",
    "less_than": "a number below {lt:.12g}",
    "less_than_equal": "a number of at most {le:.12g}",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_too_short": "a text of at least {min_length} character",
    "string_pattern_mismatch": "a name of letters, digits, dots, dashes and underscores",
    "list_type": "a list",
    "dict_type": "keys with values",
    "too_short": "at least {min_length} entry",
}
"""What is expected instead, for each type of a pydantic error."""


class Fault(ValueError):
    """One thing that is wrong with the params.

    Args:
        key: With dots; inside a section that is checked, as seen from that section.
        message: What was expected, what was received, and what to do.
    """

    def __init__(self, key: str, message: str):
        self.key, self.message = key, message
        super().__init__(one_line(f"{key}: {message}" if key else message, limit=2000))


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds.

    Raises:
        InputError: It is missing or no YAML, or a key stands twice in one section.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        repeated = _repeated_key(yaml.compose(text, yaml.SafeLoader))
        values = yaml.safe_load(text)
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected the params here, found none; run from the project's folder"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: no UTF-8, or no date
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f" at line {mark.line + 1}" if mark else ""
        why = one_line(problem or error)
        raise InputError(f"{path}: expected YAML, received something else{where}: {why}") from None
    if repeated:
        raise InputError(f"{path}: {repeated}")
    return values


def first_fault(error: ValidationError) -> Fault:
    """The first fault of a pydantic error, in the words of this project."""
    fault = error.errors(include_url=False)[0]
    steps = [str(step) for step in fault["loc"] if step != "[key]"]
    kind, received, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "value_error":
        reason = context["error"]
        if isinstance(reason, Fault):
            return Fault(".".join([*steps, *filter(None, [reason.key])]), reason.message)
        message = str(reason)
    elif kind == "missing":
        message = "expected this key, found none; add it"
    elif kind == "literal_error":
        message = unknown_name("value", received, re.findall(r"'([^']*)'", context["expected"]))
    else:
        words = (
            _EXPECTED[kind].format(**context)
            if kind in _EXPECTED
            else fault["msg"].removeprefix("Input should be ")
        )
        message = f"expected {words}, received {shown(received)}{_remedy(kind, received)}"
    return Fault(".".join(steps), message)


def _remedy(kind: str, received: object) -> str:
    """What to write instead, where the user took one type for another."""
    if kind == "string_type" and isinstance(received, bool | int | float):
        return "; put it in quotes"
    if kind == "dict_type" and received is None:
        return "; write {} for none"
    if kind not in ("int_type", "float_type") or type(received) not in (str, float):
        return ""
    # YAML takes 1e-3 and 1/255 for texts.
    above, _, below = str(received).partition("/")
    try:
        number = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        return ""
    if not math.isfinite(number) or (kind == "int_type" and number % 1):
        return ""
    text = ", which is a text in YAML" if isinstance(received, str) else ""
    return f"{text}; write {int(number) if kind == 'int_type' else number}"


def _repeated_key(root: yaml.Node | None) -> Fault | None:
    """The first key that stands twice in its section: YAML would take the last one silently."""
    pending, seen = [("", root)], set()
    for prefix, node in pending:
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += [(f"{prefix}{index}.", one) for index, one in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                name, line = prefix + str(key.value), key.start_mark.line + 1
                if name in lines:
                    found = f"lines {lines[name]} and {line}"
                    return Fault(name, f"expected each key once, found it in {found}; keep one")
                lines[name] = line
                pending.append((f"{name}.", value))
    return None
