"""Stage `augment`: random variants of every image, computed once and kept."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.augment.augment_shard import augment_shard, variant_name
from stages.common.files import publish
from stages.common.params import Augment, Params
from stages.common.paths import AUGMENTED, IMAGES, INDEX, REPORTS
from stages.common.pictures import contact_sheet, save_photo
from stages.common.pixels import unscaled
from stages.common.shard_map import Task, map_shards
from stages.common.shards import read_shard
from stages.common.stage import run
from stages.common.tables import read_table

_SHEET_IMAGES = 10


def main(params: Params) -> None:
    """Make the variants of all images, of test images too: those serve other uses than training."""
    parts = read_table(INDEX).sort_values("row").groupby("part")["id"]
    tasks = [Task((IMAGES / part, tuple(ids)), (IMAGES / part, *ids)) for part, ids in parts]
    names = [part for part, _ in parts]
    # How many variants there are changes none of them.
    options = params.augment.model_dump(mode="json", exclude={"variants"})
    variants, files = [], []
    for number in range(1, params.augment.variants + 1):
        variant = variant_name(number)
        settings = {"number": number, **options}
        folders = map_shards(augment_shard, tasks, settings, f"augment {variant}")
        variants.append(variant)
        files += [
            (folder / "images.npy", Path(variant, name))
            for folder, name in zip(folders, names, strict=True)
        ]
    publish(files, AUGMENTED)
    sheet = contact_sheet(list(_sheet_rows(names, variants, params.augment)))
    save_photo(sheet, REPORTS / "augment" / "variants.jpg")


def _sheet_rows(
    parts: list[str], variants: list[str], augment: Augment
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The original and the variants of an image from each of some parts."""
    for part in parts[:: max(1, len(parts) // _SHEET_IMAGES)][:_SHEET_IMAGES]:
        original = read_shard(IMAGES / part)[0]
        varied = [read_shard(AUGMENTED / variant / part)[0] for variant in variants]
        yield (
            "original and variants",
            [original, *(unscaled(one, augment.rescale) for one in varied)],
        )


if __name__ == "__main__":
    run(main)
