"""Stage `embed`: what the frozen part of each network gives for each image, computed once."""

from pathlib import Path

from stages.common.embedding import embed
from stages.common.errors import InputError
from stages.common.files import publish
from stages.common.log import log
from stages.common.params import Params
from stages.common.paths import FEATURES
from stages.common.stage import run
from stages.common.variants import image_shards


def main(params: Params) -> None:
    """Embed all images and variants for every entry of `features` with a frozen part.

    For strategy `auto` these are the pooled features, by which it chooses.
    """
    files = []
    for name, features in params.features.items():
        if features.strategy == "full":
            log(f"embed: {name} has no frozen part, it is trained on the images themselves")
            continue
        images = image_shards(params.augment)
        try:
            variants = embed(name, features, images, params.augment.rescale)
        except InputError as error:
            raise InputError(f"features.{name}: {error}") from None
        files += [
            (file, Path(name, variant, part))
            for variant, shards in variants.items()
            for part, file in shards.items()
        ]
    publish(files, FEATURES)


if __name__ == "__main__":
    run(main)
