"""`.keras` files of which the bytes depend on the model alone.

A `.keras` file is a zip of metadata.json (a date), config.json (the layers) and model.weights.h5.
Keras writes into them the time and the addresses of Python objects. (It also numbers layers that
have no name of their own by all that the process made before, so name them.)
"""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py

from stages.common.errors import InputError, one_line
from stages.common.quiet_tensorflow import keras

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold


def _objects(tree: Any) -> Iterator[dict]:
    """Yield every JSON object in a tree, outer ones first, in file order."""
    if isinstance(tree, dict):
        yield tree
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        yield from _objects(child)


def _stable_config(content: bytes) -> bytes:
    config = json.loads(content)
    for item in _objects(config):
        # The address of an object that was serialised twice: an initializer, a dtype policy. What
        # loads with it loads without it, and addresses of temporary objects repeat by chance.
        item.pop("shared_object_id", None)
    return json.dumps(config).encode()


def _stable_metadata(content: bytes) -> bytes:
    metadata = json.loads(content)
    metadata.pop("date_saved", None)
    return json.dumps(metadata, sort_keys=True).encode()


def _copy_group(source: h5py.Group, target: h5py.Group) -> None:
    for key, value in sorted(source.attrs.items()):
        if key != "name":  # of a layer or a seed generator; Keras writes it and never reads it
            target.attrs[key] = value
    for key in sorted(source):
        if isinstance(source[key], h5py.Group):
            _copy_group(source[key], target.create_group(key))
        else:
            copy = target.create_dataset(key, data=source[key][()], track_times=False)
            for attribute, value in sorted(source[key].attrs.items()):
                copy.attrs[attribute] = value


def _stable_weights(content: bytes) -> bytes:
    """Write the HDF5 file anew, since a name that is removed from one stays in its bytes."""
    stable = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(stable, "w") as target:
        _copy_group(source, target)
    return stable.getvalue()


_STABLE: dict[str, Callable[[bytes], bytes]] = {
    "config.json": _stable_config,
    "metadata.json": _stable_metadata,
    "model.weights.h5": _stable_weights,
}


def _write_stable(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            stable = _STABLE.get(name, bytes)(content)
            new.writestr(zipfile.ZipInfo(name, date_time=_EARLIEST), stable)


def save(model: keras.Model, path: str | os.PathLike) -> None:
    """Save a model so that equal models give equal bytes, at any time, in any process.

    The file appears whole or not at all. `keras.models.load_model` reads it like any other.
    The optimizer's state is part of a compiled model, and so of the file.

    Args:
        model: A built model.
        path: Where; ends in ".keras". Missing folders are made, an older file is replaced.

    Raises:
        ValueError: The path does not end in ".keras".
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"Expected a path ending in '.keras'. Received: path={str(path)!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that replacing moves within one file system.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        as_keras_writes, stable = Path(folder, "model.keras"), Path(folder, "stable.keras")
        model.save(as_keras_writes)
        _write_stable(as_keras_writes, stable)
        stable.replace(path)


def save_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Save the weights alone, with the same promises as `save`.

    Args:
        model: A built model.
        path: Where; ends in ".weights.h5". The folder exists.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        as_keras_writes, stable = Path(folder, "model.weights.h5"), Path(folder, "stable")
        model.save_weights(as_keras_writes)
        stable.write_bytes(_stable_weights(as_keras_writes.read_bytes()))
        stable.replace(path)


def load(path: str | os.PathLike) -> keras.Model:
    """Load a model, without running code that the file may contain.

    Args:
        path: Of a `.keras` file.

    Raises:
        InputError: The file is missing or unreadable, or holds code (a Lambda layer).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"Expected a .keras file. Received: path={str(path)!r}, which does not exist. Run the "
            "stage that writes it."
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zipfile, h5py, json and Keras raise many kinds
        raise InputError(
            f"Expected a model saved by Keras 3 as .keras. Received: path={str(path)!r}, which "
            f"cannot be read ({one_line(error)}). Make it again: run the stage that writes it."
        ) from error
