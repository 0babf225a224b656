"""Stage `encode`: the label of each image becomes the numbers that a network is trained on.

It also decides the task, and refuses params that do not fit it before any pixel is worked on.
"""

import numpy as np
import pandas as pd

from stages.common.encoding import encode, find_classes, infer_task, split_cell, to_number
from stages.common.errors import InputError
from stages.common.log import log
from stages.common.params import Encode, Params
from stages.common.paths import CLASSES, MANIFEST, TARGETS
from stages.common.stage import run
from stages.common.tables import read_table, write_json, write_table
from stages.common.tasks import TaskName

_SHOWN = 20


def main(params: Params) -> None:
    """Encode the labels of the manifest."""
    manifest = read_table(MANIFEST)
    labels, separator = manifest["label"].to_numpy(dtype=object), params.encode.separator
    task, reason = decide_task(labels, params.encode)
    classes = find_classes(labels, task, separator)
    _refuse_contradiction(manifest, task, reason, classes)
    encoder = _fitting_encoder(params, task, reason, classes)
    targets = encode(labels, classes, task, encoder, separator)
    one_column = encoder in ("label", "none") or (task == "binary" and targets.shape[1] == 1)
    names = ["target"] if one_column else [f"target_{name}" for name in classes]
    table = pd.DataFrame(targets, columns=names)
    table.insert(0, "id", manifest["id"])
    write_table(table, TARGETS)
    write_json({"task": task, "encoder": encoder, "classes": classes}, CLASSES)
    counts = _describe(labels, task, classes, separator)
    log(f"encode: {len(table)} images, task {task} ({reason}), encoder {encoder}; {counts}")


def decide_task(labels: np.ndarray, encode: Encode) -> tuple[TaskName, str]:
    """The task, and how it came about."""
    if encode.task != "auto":
        return encode.task, "as encode.task says"
    task = infer_task(labels, encode.separator)
    if task == "multilabel":
        several = next(label for label in labels if encode.separator in label)
        return task, f"since the label {several!r} holds encode.separator {encode.separator!r}"
    if task == "regression":
        fraction = next(label for label in labels if to_number(label) % 1)
        return task, f"since all labels are numbers, and {fraction!r} has a fraction"
    return task, f"since there are {len(set(labels))} different labels"


def _refuse_contradiction(
    manifest: pd.DataFrame, task: TaskName, reason: str, classes: list[str]
) -> None:
    """Refuse labels that the task has no use for, naming the first."""
    labels = manifest["label"]
    if task == "regression":
        bad = labels.map(to_number).isna()
        if bad.any():
            raise InputError(
                f"{MANIFEST}: expected a number for every image with task regression ({reason}), "
                f"found {labels[bad].iloc[0]!r} for {_first(manifest, bad)}; correct it, or set "
                "encode.task to another"
            )
        if labels.map(to_number).nunique() < 2:
            raise InputError(f"{MANIFEST}: expected at least two numbers, found {labels.iloc[0]!r}")
        return
    if task == "multilabel":
        if not classes:
            raise InputError(f"{MANIFEST}: expected a label of at least one image, found none")
        return
    empty = labels == ""
    if empty.any():
        raise InputError(
            f"{MANIFEST}: expected a label for every image with task {task} ({reason}), found none "
            f"for {_first(manifest, empty)}; write one, or set encode.task: multilabel if none is "
            "meant to apply"
        )
    if len(classes) < 2:
        raise InputError(
            f"{MANIFEST}: expected at least two classes, found {classes}; put the photos of each "
            "class into a folder of its own, or name them in a table of paths and labels"
        )
    if (task == "binary") != (len(classes) == 2):
        expected = "two classes" if task == "binary" else "at least three classes"
        extra = f", so {classes[2]!r} is one too many" if task == "binary" else ""
        raise InputError(
            f"encode.task: expected {expected} with task {task}, found {len(classes)}: "
            f"{_listed(classes)}{extra}; set encode.task: auto"
        )


def _first(manifest: pd.DataFrame, chosen: pd.Series) -> str:
    return manifest.loc[chosen, "source"].iloc[0]


def _fitting_encoder(params: Params, task: TaskName, reason: str, classes: list[str]) -> str:
    """The encoder, if all that params say of training fits the task and its classes."""
    try:
        params.check_task(task)
    except ValueError as error:
        raise InputError(f"{error} (the task is {task} {reason})") from None
    try:
        params.check_classes(classes)
    except ValueError as error:
        raise InputError(str(error)) from None
    return params.encoder(task)


def _describe(labels: np.ndarray, task: TaskName, classes: list[str], separator: str) -> str:
    """Images of each class, or the range of the numbers, for the log."""
    if task == "regression":
        numbers = [to_number(label) for label in labels]
        return f"values from {min(numbers):.6g} to {max(numbers):.6g}"
    # A cell of one class is not split: its name may hold the separator.
    cells = [split_cell(cell, separator) if task == "multilabel" else [cell] for cell in labels]
    counts = pd.Series([label for cell in cells for label in cell]).value_counts()
    without = [f"none {cells.count([])}"] if [] in cells else []
    return _listed([*without, *(f"{name} {counts[name]}" for name in classes)])


def _listed(texts: list[str]) -> str:
    more = [f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return ", ".join([*texts[:_SHOWN], *more])


if __name__ == "__main__":
    run(main)
