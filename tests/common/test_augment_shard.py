from pathlib import Path

import numpy as np
import pytest

from stages.common.augment_shard import augment_shard
from stages.common.pixels import unscaled

IDS = ["0123456789abcdef", "1123456789abcdef", "2123456789abcdef"]
OPTIONS = {
    "rotation_range": 20.0,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.2,
    "horizontal_flip": True,
}


def write_shard(path: Path, count: int = 3, channels: int = 3) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 24, channels), np.uint8)
    np.save(path, images)
    return images


def vary(shard: Path, ids: list[str], number: int = 1, **options: object) -> np.ndarray:
    return augment_shard(shard, ids, number, **options)["images"]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_variant_has_the_shape_of_the_shard(tmp_path, channels):
    images = write_shard(tmp_path / "part.npy", channels=channels)
    variants = [vary(tmp_path / "part.npy", IDS, number, **OPTIONS) for number in (1, 2)]
    for variant in variants:
        assert variant.shape == images.shape
        assert variant.dtype == np.uint8
        assert all(not np.array_equal(*pair) for pair in zip(variant, images, strict=True))
    assert not np.array_equal(*variants)


def test_a_variant_depends_on_seed_id_and_number_and_not_on_place_or_company(tmp_path):
    images = write_shard(tmp_path / "part.npy")
    variant = vary(tmp_path / "part.npy", IDS, seed=3, **OPTIONS)
    np.save(tmp_path / "alone.npy", images[[2]])
    np.save(tmp_path / "turned.npy", images[::-1])
    alone = vary(tmp_path / "alone.npy", IDS[2:], seed=3, **OPTIONS)
    turned = vary(tmp_path / "turned.npy", IDS[::-1], seed=3, **OPTIONS)
    assert np.array_equal(alone[0], variant[2])
    assert np.array_equal(turned[::-1], variant)
    reseeded = vary(tmp_path / "part.npy", IDS, seed=4, **OPTIONS)
    renamed = vary(tmp_path / "part.npy", IDS[::-1], seed=3, **OPTIONS)
    assert not np.array_equal(reseeded, variant)
    assert not np.array_equal(renamed, variant)


def test_rescale_gives_float32_and_is_undone_exactly(tmp_path):
    write_shard(tmp_path / "part.npy")
    plain = vary(tmp_path / "part.npy", IDS, **OPTIONS)
    scaled = vary(tmp_path / "part.npy", IDS, **OPTIONS, rescale=1 / 255)
    assert scaled.dtype == np.float32
    assert 0 <= scaled.min() < 0.1
    assert 0.9 < scaled.max() <= 1
    assert np.array_equal(unscaled(scaled, 1 / 255), plain)


def test_cval_is_the_grey_beyond_the_edge(tmp_path):
    np.save(tmp_path / "part.npy", np.full((3, 16, 24, 3), 200, np.uint8))
    options = {"width_shift_range": [6], "fill_mode": "constant", "cval": 50.0}
    variant = vary(tmp_path / "part.npy", IDS, **options)
    assert np.mean(variant == 50) == 6 / 24
    assert np.unique(variant).tolist() == [50, 200]
