"""What a person who watches a run is told."""

from stages.common.errors import printable


def log(message: str) -> None:
    """Say something to the person who watches the run, in one line."""
    print(printable(message), flush=True)
