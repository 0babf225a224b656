"""Pages made from templates, in which everything from the data is escaped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

# Behind such a mark the letters of a whole paragraph can run backwards, other names and all.
_DIRECTION_MARKS = dict.fromkeys(
    [*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\N{REPLACEMENT CHARACTER}"
)


def fill(template: Path, cell: Callable[[Any], str], **facts: Any) -> str:
    """A template with its facts; one that is missing is an error.

    Args:
        template: The file; it may use the filter `cell`.
        cell: From a value to how a table shows it.
        facts: What stands in the template.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=_without_direction_marks,
    )
    environment.filters["cell"] = cell
    return environment.get_template(template.name).render(**facts)


def _without_direction_marks(value: Any) -> Any:
    """What stands on the page for a value; Arabic and Hebrew run as they should without marks."""
    if isinstance(value, str):
        return type(value)(value.translate(_DIRECTION_MARKS))
    return value
