"""Stage `embed`: what the frozen part of each network gives for each image, computed once."""

import hashlib
from pathlib import Path

from stages.common.errors import InputError
from stages.common.features import ORIGINAL, variant_names
from stages.common.files import file_digest, publish
from stages.common.frozen import CannotExport
from stages.common.imports import code_digest
from stages.common.params import Features, Params
from stages.common.paths import AUGMENTED, BACKBONES, FEATURES, IMAGES
from stages.common.shard_map import Task, cache_folder, map_shards
from stages.common.stage import log, run
from stages.embed.embed_shard import embed_shard


def main(params: Params) -> None:
    """Embed all images and variants for every entry of `features` with a frozen part."""
    parts = sorted(path.name for path in IMAGES.glob("*.npy"))
    files = []
    for name, features in params.features.items():
        if features.strategy == "full":
            log(f"embed: {name} has no frozen part, it is trained on the images themselves")
            continue
        try:
            network, identity = _frozen_network(features)
        except InputError as error:
            raise InputError(f"features.{name}: {error}") from None
        for variant in [ORIGINAL, *variant_names()]:
            source = IMAGES if variant == ORIGINAL else AUGMENTED / variant
            rescale = None if variant == ORIGINAL else params.augment.rescale
            tasks = [Task((source / part, network), (source / part, identity)) for part in parts]
            settings = {"rescale": rescale}
            folders = map_shards(embed_shard, tasks, settings, f"embed {name} {variant}")
            files += [
                (folder / "features.npy", Path(name, variant, part))
                for folder, part in zip(folders, parts, strict=True)
            ]
    publish(files, FEATURES)


def _frozen_network(features: Features) -> tuple[Path, str]:
    """A file of the frozen part in the local cache, and a text that stands for what it gives.

    The file itself cannot serve as its digest: an export to ONNX has other bytes each time.
    """
    path = BACKBONES / f"{features.backbone}.keras"
    facts = [file_digest(path), code_digest("stages.embed"), features.model_dump_json()]
    identity = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
    folder = cache_folder() / "networks"
    for kept in [folder / f"{identity}.onnx", folder / f"{identity}.keras"]:
        if kept.exists():
            break
    else:
        kept = _export(path, features, folder / identity)
    return kept, kept.name  # with the suffix: the engines differ in the last bits


def _export(path: Path, features: Features, target: Path) -> Path:
    from stages.common.determinism import make_deterministic
    from stages.common.frozen import export
    from stages.common.keras_files import load, save
    from stages.common.networks import frozen_part

    # As `open_network` wants it, which a run with one worker calls in this same process.
    make_deterministic(threads=1, seed=0)
    frozen = frozen_part(load(path), features)
    try:
        export(frozen, target.with_suffix(".onnx"))
        return target.with_suffix(".onnx")
    except CannotExport as reason:
        log(f"embed: {reason}")
        save(frozen, target.with_suffix(".keras"))
        return target.with_suffix(".keras")


if __name__ == "__main__":
    run(main)
