"""Arrays of images or features for training, read row by row from their shards."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.paths import FEATURES, IMAGES
from stages.common.pixels import unscaled
from stages.common.shards import read_shard

ORIGINAL = "original"


class Rows:
    """What lies at the cut for each image, in the original and in each variant.

    Args:
        shards: By name, of the originals first, then of each variant.
        parts: (n,) name of the shard of each image.
        rows: (n,) row of each image in its shard.
        rescale: Factor on the values of variants that are images, undone here.
    """

    def __init__(
        self,
        shards: Sequence[Mapping[str, Path]],
        parts: np.ndarray,
        rows: np.ndarray,
        rescale: float | None = None,
    ):
        self.variants = len(shards)
        names, self._part_of = np.unique(parts, return_inverse=True)
        self._rows = np.asarray(rows)
        self._paths = [[of_variant[name] for name in names] for of_variant in shards]
        # An open shard holds a file descriptor, of which a process may have about a thousand.
        self._open = lru_cache(maxsize=256)(read_shard)
        self._rescale = rescale

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image's array."""
        return self._open(self._paths[0][0]).shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """Of what `take` gives."""
        return self._open(self._paths[0][0]).dtype

    @property
    def files(self) -> list[Path]:
        """Every shard of every variant, each once."""
        return [path for of_variant in self._paths for path in of_variant]

    def take(self, images: np.ndarray, variants: np.ndarray | int = 0) -> np.ndarray:
        """The arrays of some images.

        Args:
            images: (m,) positions in `parts`.
            variants: (m,) or one for all; 0 is the original.

        Returns:
            (m, *shape), uint8 for images, float32 for features.
        """
        variants = np.broadcast_to(variants, len(images))
        taken = np.empty((len(images), *self.shape), self.dtype)
        # Shard by shard: one call to NumPy for many rows.
        shard_of = variants * len(self._paths[0]) + self._part_of[images]
        order = np.argsort(shard_of, kind="stable")
        starts = np.flatnonzero(np.diff(shard_of[order], prepend=-1))
        for places in np.split(order, starts)[1:]:
            variant, part = divmod(int(shard_of[places[0]]), len(self._paths[0]))
            found = self._open(self._paths[variant][part])[self._rows[images[places]]]
            taken[places] = unscaled(found, self._rescale)
        return taken


def predict(
    network: Callable[[np.ndarray], np.ndarray],
    rows: Rows,
    images: np.ndarray,
    variant: int = 0,
    batch_size: int = 64,
) -> np.ndarray:
    """What a network says of some images, a batch at a time.

    Args:
        network: From (batch, *rows.shape) to (batch, outputs), e.g. `model.predict_on_batch`.
        rows: The arrays of all images.
        images: (m,) positions in `rows`, at least one.
        variant: The one to show of each image; 0 is the original.
        batch_size: Images shown at once; the last batch may have fewer.

    Returns:
        (m, outputs), in the order of `images`.
    """
    starts = range(0, len(images), batch_size)
    batches = (rows.take(images[start : start + batch_size], variant) for start in starts)
    return np.concatenate([np.asarray(network(batch)) for batch in batches])


Shards = list[dict[str, Path]]
"""The shards by name: of the originals first, then of each variant."""


def shards_in(folder: Path) -> dict[str, Path]:
    """The shards of a folder by name, sorted."""
    return {path.name: path for path in sorted(folder.glob("*.npy"))}


def feature_shards(name: str, augmented: bool) -> Shards:
    """What `embed` wrote for an entry of `features`, with the variants if wanted.

    Raises:
        FileNotFoundError: There is none.
    """
    folders = sorted(path for path in (FEATURES / name).iterdir() if path.is_dir())
    variants = [folder for folder in folders if folder.name != ORIGINAL] if augmented else []
    return [shards_in(folder) for folder in [FEATURES / name / ORIGINAL, *variants]]


def open_rows(shards: Shards, manifest: pd.DataFrame, rescale: float | None = None) -> Rows:
    """One row for each image of the manifest, which has `part` and `row`.

    Args:
        shards: Where they lie.
        manifest: All images.
        rescale: `augment.rescale`, for variants that are images.
    """
    return Rows(shards, manifest["part"].to_numpy(), manifest["row"].to_numpy(), rescale)


def open_images(manifest: pd.DataFrame) -> Rows:
    """The images themselves, without variants, one row for each image of the manifest."""
    return open_rows([shards_in(IMAGES)], manifest)
