"""Stage `embed`: what the frozen part of each network gives for each image, computed once."""

import hashlib
from pathlib import Path

from stages.common.errors import InputError
from stages.common.frozen import CannotExport
from stages.common.imports import code_digest
from stages.common.params import Features, Params
from stages.common.paths import AUGMENTED, BACKBONES, FEATURES, IMAGES
from stages.common.shards import Task, cache_folder, file_digest, map_shards, publish
from stages.common.stage import log, run
from stages.embed.embed_shard import embed_shard

ORIGINAL = "original"


def main(params: Params) -> None:
    """Embed all images and variants for every entry of `features` with a frozen part."""
    parts = sorted(path.name for path in IMAGES.glob("*.npy"))
    variants = sorted(path.name for path in AUGMENTED.iterdir() if path.is_dir())
    files = []
    for name, features in params.features.items():
        if features.strategy == "full":
            log(f"embed: {name} has no frozen part, it is trained on the images themselves")
            continue
        try:
            network, identity = _frozen_network(features)
        except InputError as error:
            raise InputError(f"features.{name}: {error}") from None
        shards = [
            {ORIGINAL: IMAGES / part, **{one: AUGMENTED / one / part for one in variants}}
            for part in parts
        ]
        tasks = [Task((shard, network), (identity, *shard.values())) for shard in shards]
        settings = {"rescale": params.augment.rescale}
        folders = map_shards(embed_shard, tasks, settings, f"embed {name}")
        files += [
            (folder / f"{variant}.npy", Path(name, variant, part))
            for part, folder in zip(parts, folders, strict=True)
            for variant in [ORIGINAL, *variants]
        ]
    publish(files, FEATURES)


def _frozen_network(features: Features) -> tuple[Path, str]:
    """A file of the frozen part in the local cache, and what it depends on, as a digest.

    The file itself cannot serve as its digest: an export to ONNX has other bytes each time.
    """
    path = BACKBONES / f"{features.backbone}.keras"
    facts = [file_digest(path), code_digest("stages.common.networks"), repr(features)]
    identity = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
    folder = cache_folder() / "networks"
    for kept in [folder / f"{identity}.onnx", folder / f"{identity}.keras"]:
        if kept.exists():
            return kept, identity
    return _export(path, features, folder / identity), identity


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
