"""Predictions as text: results come in one by one, and text goes out as they come."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from stages.common.errors import printable


@dataclass(frozen=True)
class Result:
    """What the model says of one photo.

    Attributes:
        path: Of the photo.
        ranking: Classes with their probabilities, best first; of a regression the value alone.
        overlay: Path of its heat map, if one was drawn.
    """

    path: str
    ranking: Sequence[tuple[str, float]] | float
    overlay: str | None = None


def to_table(results: Iterable[Result], task: str, classes: Sequence[str]) -> Iterator[str]:
    """A block for each photo, or a line where there is one answer for each.

    Columns stand below each other in all blocks, since their widths follow from the classes.
    """
    from stages.common.encoding import APPLIES  # late, since scikit-learn takes long to import

    width = max((len(printable(name)) for name in classes), default=0)

    def line(name: str, probability: float) -> str:
        mark = ("* " if probability >= APPLIES else "  ") if task == "multilabel" else ""
        return f"{mark}{printable(name):<{width}}  {probability:6.1%}"

    for result in results:
        path = printable(result.path)
        if task == "regression":
            yield f"{result.ranking:>12.6g}  {path}\n"
        elif len(result.ranking) == 1:
            yield f"{line(*result.ranking[0])}  {path}\n"
        else:
            lines = [f"  {line(*one)}\n" for one in result.ranking]
            yield "".join([f"{path}\n", *lines, "\n"])


def to_csv(results: Iterable[Result], task: str, classes: Sequence[str]) -> Iterator[str]:
    """One row for each photo and class, best first."""
    yield (
        _csv_row("path", "value")
        if task == "regression"
        else _csv_row("path", "rank", "class", "confidence")
    )
    for result in results:
        if task == "regression":
            yield _csv_row(result.path, _rounded(result.ranking))
        else:
            for rank, (name, probability) in enumerate(result.ranking, start=1):
                yield _csv_row(result.path, rank, name, _rounded(probability))


def to_json(results: Iterable[Result], task: str, classes: Sequence[str]) -> Iterator[str]:
    """One array, with one object a line for each photo."""
    start = "[\n"
    for result in results:
        facts: dict = {"path": result.path}
        if task == "regression":
            facts["value"] = _rounded(result.ranking)
        else:
            facts["predictions"] = [
                {"class": name, "confidence": _rounded(probability)}
                for name, probability in result.ranking
            ]
        if result.overlay is not None:
            facts["overlay"] = result.overlay
        yield start + json.dumps(facts, ensure_ascii=False, allow_nan=False)
        start = ",\n"
    yield "[]\n" if start == "[\n" else "\n]\n"


FORMATS: dict[str, Callable[[Iterable[Result], str, Sequence[str]], Iterator[str]]] = {
    "table": to_table,
    "csv": to_csv,
    "json": to_json,
}


def _csv_row(*values: object) -> str:
    row = io.StringIO()
    # With minimal quotes, a carriage return in a name would end the row.
    csv.writer(row, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerow(values)
    return row.getvalue()


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")
