"""Pages made from templates, in which everything from the data is escaped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2


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
    )
    environment.filters["cell"] = cell
    return environment.get_template(template.name).render(**facts)
