"""What the frozen part of a network gives for each image and variant, computed once."""

import hashlib
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from stages.common.embed_shard import embed_shard
from stages.common.features import ORIGINAL
from stages.common.files import file_digest
from stages.common.frozen import CannotExport
from stages.common.imports import code_digest
from stages.common.log import log
from stages.common.machine import cache_folder
from stages.common.params import Features
from stages.common.paths import BACKBONES
from stages.common.shard_map import Task, map_shards


def embed(
    name: str,
    features: Features,
    images: Mapping[str, Mapping[str, Path]],
    rescale: float | None,
) -> dict[str, dict[str, Path]]:
    """Run the part of a network before its cut over all images and variants.

    Args:
        name: Of the entry of `features`, for progress.
        features: Where the network is cut; strategy `partial` or `head`.
        images: The shards by name of the original and of each variant that is wanted.
        rescale: `augment.rescale`.

    Returns:
        What stands for each shard of `images`, in the local cache.

    Raises:
        InputError: `features.layers` or `features.cut` do not fit the network, or there is no GPU.
    """
    network, identity = _frozen_network(features)
    found = {}
    for variant, shards in images.items():
        settings = {
            "rescale": None if variant == ORIGINAL else rescale,
            "device": features.device,
        }
        tasks = [Task((shard, network), (shard, identity)) for shard in shards.values()]
        # TensorFlow is set up once in a process, and the caller may train with it otherwise.
        where = "anywhere" if network.suffix == ".onnx" else "apart"
        folders = map_shards(embed_shard, tasks, settings, f"embed {name} {variant}", where=where)
        files = [folder / "features.npy" for folder in folders]
        found[variant] = dict(zip(shards, files, strict=True))
    return found


def _frozen_network(features: Features) -> tuple[Path, str]:
    """A file of the frozen part in the local cache, and a text that stands for what it gives.

    The file itself cannot serve as its digest: an export to ONNX has other bytes each time.
    """
    path = BACKBONES / f"{features.backbone}.keras"
    facts = [file_digest(path), code_digest("stages.common.embedding"), features.model_dump_json()]
    identity = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
    folder = cache_folder() / "networks"
    for kept in [folder / f"{identity}.onnx", folder / f"{identity}.keras"]:
        if kept.exists():
            break
    else:
        kept = _export(path, features, folder / identity)
    return kept, kept.name  # with the suffix: the engines differ in the last bits


def _export(path: Path, features: Features, target: Path) -> Path:
    """Export in a process of its own: `finetune` trains in this one, with threads of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as process:
        return process.submit(_export_here, path, features, target).result()


def _export_here(path: Path, features: Features, target: Path) -> Path:
    from stages.common.determinism import make_deterministic
    from stages.common.frozen import export
    from stages.common.keras_files import load, save
    from stages.common.networks import frozen_part

    make_deterministic(threads=1, seed=0)
    frozen = frozen_part(load(path), features)
    try:
        export(frozen, target.with_suffix(".onnx"))
        return target.with_suffix(".onnx")
    except CannotExport as reason:
        log(f"embed: {reason}")
        save(frozen, target.with_suffix(".keras"))
        return target.with_suffix(".keras")
