"""Arrays of images or features for training, read row by row from their shards."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.params import Features
from stages.common.paths import AUGMENTED, FEATURES, IMAGES
from stages.common.pixels import unscaled
from stages.common.shards import read_shard

ORIGINAL = "original"


def variant_names() -> list[str]:
    """The folders of `data/augmented`, sorted.

    Raises:
        FileNotFoundError: The stage `augment` has not run.
    """
    return sorted(path.name for path in AUGMENTED.iterdir() if path.is_dir())


class Rows:
    """What lies at the cut for each image, in the original and in each variant.

    Args:
        folders: The original first, then the variants; each holds the same shards.
        parts: (n,) shard of each image.
        rows: (n,) row of each image in its shard.
        rescale: Factor on the values of variants that are images, undone here.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        parts: np.ndarray,
        rows: np.ndarray,
        rescale: float | None = None,
    ):
        self.variants = len(folders)
        self._names, self._part_of = np.unique(parts, return_inverse=True)
        self._rows = np.asarray(rows)
        self._paths = [[folder / name for name in self._names] for folder in folders]
        # An open shard holds a file descriptor, of which a process may have about a thousand.
        self._open = lru_cache(maxsize=256)(read_shard)
        self._rescale = rescale

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image's array."""
        return self._open(self._paths[0][0]).shape[1:]

    def take(self, images: np.ndarray, variants: np.ndarray | int = 0) -> np.ndarray:
        """The arrays of some images.

        Args:
            images: (m,) positions in `parts`.
            variants: (m,) or one for all; 0 is the original.

        Returns:
            (m, *shape), uint8 for images, float32 for features.
        """
        variants = np.broadcast_to(variants, len(images))
        taken = [
            self._open(self._paths[variant][self._part_of[image]])[self._rows[image]]
            for image, variant in zip(images, variants, strict=True)
        ]
        return np.stack([unscaled(one, self._rescale) for one in taken])


def open_images(manifest: pd.DataFrame) -> Rows:
    """The images themselves, without variants, one row for each image of the manifest."""
    return Rows([IMAGES], manifest["part"].to_numpy(), manifest["row"].to_numpy())


def open_rows(
    name: str, features: Features, manifest: pd.DataFrame, augmented: bool, rescale: float | None
) -> Rows:
    """The rows of an entry of `features`, one for each image of the manifest.

    Args:
        name: Of the entry.
        features: The entry; strategy `full` has no frozen part and reads the images themselves.
        manifest: With `part` and `row`.
        augmented: Whether to read the variants too.
        rescale: `augment.rescale`.
    """
    variants = variant_names() if augmented else []
    if features.strategy == "full":
        folders = [IMAGES, *(AUGMENTED / variant for variant in variants)]
    else:
        folders = [FEATURES / name / variant for variant in [ORIGINAL, *variants]]
        rescale = None
    return Rows(folders, manifest["part"].to_numpy(), manifest["row"].to_numpy(), rescale)
