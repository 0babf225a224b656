"""Rows from shards: the right image, the right variant, and the values that a network wants."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.common.features import (
    Rows,
    feature_shards,
    open_images,
    open_rows,
)
from stages.common.pixels import rescaled


def write_shards(folder: Path, **parts: np.ndarray) -> dict[str, Path]:
    folder.mkdir(parents=True)
    for name, array in parts.items():
        np.save(folder / f"{name}.npy", array)
    return {f"{name}.npy": folder / f"{name}.npy" for name in parts}


def manifest() -> pd.DataFrame:
    """Return five images in the order of their ids, which is not that of shards and rows."""
    return pd.DataFrame(
        {
            "id": list("abcde"),
            "part": ["two.npy", "one.npy", "two.npy", "one.npy", "one.npy"],
            "row": [1, 2, 0, 0, 1],
        }
    )


# What each of the five images holds, shard by shard.
ONE, TWO = np.array([3, 4, 1]), np.array([2, 0])


def numbered_rows(folder: Path, variants: int = 3) -> Rows:
    """Return rows whose values say which image (tens) and which variant (units) they are of."""
    shards = [
        write_shards(
            folder / str(variant),
            one=(10 * ONE + variant)[:, None].astype("float32"),
            two=(10 * TWO + variant)[:, None].astype("float32"),
        )
        for variant in range(variants)
    ]
    return open_rows(shards, manifest())


def test_rows_come_from_their_shard_row_and_variant(tmp_path):
    rows = numbered_rows(tmp_path)
    assert rows.variants == 3
    assert (rows.shape, rows.dtype) == ((1,), np.float32)
    assert rows.take(np.arange(5)).tolist() == [[0], [10], [20], [30], [40]]
    assert rows.take(np.array([4, 1, 1])).tolist() == [[40], [10], [10]]
    assert rows.take(np.array([0, 3]), 2).tolist() == [[2], [32]]
    mixed = rows.take(np.array([2, 0, 3, 0]), np.array([1, 0, 2, 2]))
    assert mixed.tolist() == [[21], [0], [32], [2]]
    assert mixed.dtype == np.float32


def test_no_images_are_no_rows(tmp_path):
    assert numbered_rows(tmp_path).take(np.array([], dtype=int)).shape == (0, 1)


def test_every_shard_of_every_variant_is_listed_once(tmp_path):
    files = numbered_rows(tmp_path, variants=2).files
    names = [path.relative_to(tmp_path).as_posix() for path in files]
    assert sorted(names) == ["0/one.npy", "0/two.npy", "1/one.npy", "1/two.npy"]


@pytest.mark.parametrize("rescale", [1 / 255, 0.01, 3.0, 1.0])
def test_a_factor_on_the_variants_is_undone_for_every_value(tmp_path, rescale):
    original = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    shards = [
        write_shards(tmp_path / "original", one=original),
        write_shards(tmp_path / "variant", one=rescaled(original[:, ::-1], rescale)),
    ]
    rows = Rows(shards, np.array(["one.npy"]), np.array([0]), rescale)

    taken = rows.take(np.array([0, 0]), np.array([0, 1]))
    assert taken.dtype == np.uint8
    np.testing.assert_array_equal(taken, np.concatenate([original, original[:, ::-1]]))


def test_images_alone_are_opened_without_variants(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shards(Path("data/images"), one=ONE[:, None], two=TWO[:, None])
    rows = open_images(manifest())
    assert rows.variants == 1
    assert rows.take(np.arange(5)).ravel().tolist() == [0, 1, 2, 3, 4]


def test_the_features_of_an_entry_are_its_originals_and_then_its_variants(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variant, offset in [("v2", 200.25), ("a", 100.25), ("original", 0.25)]:
        write_shards(
            Path("data/features/pooled", variant),
            one=(ONE[:, None] + offset).astype("float32"),
            two=(TWO[:, None] + offset).astype("float32"),
        )
    Path("data/features/pooled/README.md").write_text("not a variant")

    rows = open_rows(feature_shards("pooled", augmented=True), manifest())
    assert rows.variants == 3
    taken = rows.take(np.array([1, 1, 4]), np.array([0, 1, 2]))
    assert taken.ravel().tolist() == [1.25, 101.25, 204.25]

    plain = open_rows(feature_shards("pooled", augmented=False), manifest())
    assert plain.variants == 1
    assert plain.take(np.array([4])).ravel().tolist() == [4.25]
