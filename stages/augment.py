"""Stage `augment`: random variants of every image, computed once and kept."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.augment_shard import variant_name
from stages.common.params import Augment, Params
from stages.common.paths import AUGMENTED, DIGESTS, IMAGES, INDEX, REPORTS
from stages.common.pictures import contact_sheet, save_photo
from stages.common.pixels import unscaled
from stages.common.shard_map import file_digests
from stages.common.shards import read_shard
from stages.common.stage import run
from stages.common.tables import read_pieces, write_table
from stages.common.variants import compute_variants, keep_variants

_SHEET_IMAGES = 10


def main(params: Params) -> None:
    """Make the variants of all images, of test images too: those serve other uses than training."""
    parts = sorted(set().union(*(piece["part"] for piece in read_pieces(INDEX))))
    variants = [variant_name(number) for number in range(1, params.augment.variants + 1)]
    names = sorted(Path(variant, part) for variant in variants for part in parts)
    files = compute_variants(params.augment, names)
    keep_variants(files, among=names)
    digests = file_digests(list(files.values()), "augment: looking up")
    columns = {
        "variant": [name.parent.name for name in names],
        "part": [name.name for name in names],
        "digest": [digests[files[name]] for name in names],
    }
    write_table(pd.DataFrame(columns), DIGESTS)
    sheet = contact_sheet(list(_sheet_rows(parts, variants, params.augment)))
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
