"""Predictions come batch by batch, for the images and the variant that were asked for."""

from pathlib import Path

import numpy as np
import pytest

from stages.common.features import Rows, predict


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Seven images and one variant of each; a value says which image, and a half the variant."""
    values = np.arange(7, dtype=np.float32)[:, None]
    shards = []
    for variant in (0, 1):
        path = tmp_path / f"{variant}.npy"
        np.save(path, values + variant / 2)
        shards.append({"one": path})
    return Rows(shards, np.array(["one"] * 7), np.arange(7))


def double(batch: np.ndarray) -> np.ndarray:
    return np.hstack([batch, 2 * batch])


def test_predictions_have_the_order_of_the_images(rows):
    images = np.array([4, 0, 6, 4, 1])
    assert predict(double, rows, images).tolist() == [[i, 2 * i] for i in (4, 0, 6, 4, 1)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 64])
def test_the_batch_size_is_a_limit_and_changes_nothing(rows, batch_size):
    sizes = []

    def network(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return double(batch)

    images = np.arange(7)
    found = predict(network, rows, images, batch_size=batch_size)
    np.testing.assert_array_equal(found, predict(double, rows, images))
    assert max(sizes) == min(batch_size, 7)
    assert sum(sizes) == 7
    assert len(sizes) == -(-7 // batch_size)


def test_the_variant_is_shown_that_was_asked_for(rows):
    assert predict(double, rows, np.array([2]), variant=1).tolist() == [[2.5, 5]]
