"""Strategy `auto`: how alike the data are, and what follows."""

import numpy as np
import pytest

from stages.common import strategy
from stages.common.strategy import ALIKE, MANY_IMAGES, choose_strategy, likeness


def clusters(
    images: int = 90, classes: int = 3, spread: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Return features that lie close around a direction of each class, and the one-hot classes."""
    random = np.random.default_rng(0)
    codes = np.arange(images) % classes
    centres = random.normal(0, 10, (classes, 8))
    return centres[codes] + random.normal(0, spread, (images, 8)), np.eye(classes)[codes]


def one_each(images: int) -> np.ndarray:
    return np.arange(images)


# Likeness


def test_separated_clusters_are_alike():
    features, targets = clusters()
    assert likeness(features, targets, one_each(90)) == pytest.approx(1)


def test_labels_without_a_pattern_are_unlike():
    random = np.random.default_rng(1)
    features, codes = random.normal(size=(600, 8)), random.integers(0, 3, 600)
    assert likeness(features, np.eye(3)[codes], one_each(600)) == pytest.approx(0, abs=0.05)


def test_likeness_falls_as_the_clusters_spread():
    found = [
        likeness(*clusters(300, spread=spread), one_each(300)) for spread in (0.1, 7, 10, 15, 100)
    ]
    assert found == sorted(found, reverse=True)
    assert 0.1 < found[2] < 0.9


def test_the_direction_of_features_counts_and_not_their_unit():
    features, targets = clusters(spread=4)
    units = np.array([1e-3, 1, 1e3, 1, 1, 1, 50, 1])
    scaled = likeness(features * units, targets, one_each(90))
    assert scaled == pytest.approx(likeness(features, targets, one_each(90)), abs=0.01)


def test_values_that_follow_from_the_features_are_alike():
    random = np.random.default_rng(2)
    angle = random.uniform(0, 2 * np.pi, 400)
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    values = 1000 * np.cos(angle)[:, None]
    assert likeness(features, values, one_each(400)) > 0.99
    assert likeness(features, random.permutation(values), one_each(400)) < 0.05


def test_several_labels_each_count():
    features, targets = clusters()
    noise = np.random.default_rng(3).integers(0, 2, (90, 1))
    both = likeness(features, np.hstack([targets, noise]), one_each(90))
    assert 0.4 < both < 0.9


def test_repeats_of_one_photo_are_no_neighbours():
    random = np.random.default_rng(4)
    photos, codes = random.normal(size=(100, 8)), random.integers(0, 2, 100)
    groups = np.repeat(np.arange(100), 6)
    features = photos[groups] + random.normal(0, 1e-3, (600, 8))
    targets = np.eye(2)[codes[groups]]
    assert likeness(features, targets, one_each(600)) == pytest.approx(1)
    assert likeness(features, targets, groups) < 0.2


def test_a_single_group_tells_nothing():
    features, targets = clusters(12)
    assert likeness(features, targets, np.zeros(12)) == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_handful_of_images_gives_a_number(images):
    features, targets = clusters(images)
    assert 0 <= likeness(features, targets, one_each(images)) <= 1


@pytest.mark.filterwarnings("error")
def test_features_and_labels_that_are_all_the_same_give_a_number():
    assert 0 <= likeness(np.ones((9, 4)), np.ones((9, 1)), one_each(9)) <= 1


def test_of_very_many_images_the_same_sample_is_judged_each_time(monkeypatch):
    monkeypatch.setattr(strategy, "_MOST_IMAGES", 60)
    features, targets = clusters(300, spread=6)
    found = likeness(features, targets, one_each(300))
    np.random.default_rng().random()
    assert likeness(features, targets, one_each(300)) == found
    assert found != likeness(features[:60], targets[:60], one_each(60))


# The choice


@pytest.mark.parametrize(
    ("images", "alike", "strategy_name", "depth"),
    [
        (MANY_IMAGES - 1, ALIKE, "head", None),
        (MANY_IMAGES, ALIKE, "partial", 0.75),
        (MANY_IMAGES - 1, ALIKE - 0.01, "partial", 0.5),
        (MANY_IMAGES, ALIKE - 0.01, "full", None),
    ],
)
def test_the_four_choices(images, alike, strategy_name, depth):
    choice = choose_strategy(images, alike)
    assert (choice.strategy, choice.depth) == (strategy_name, depth)


def test_the_reason_names_the_figures():
    why = choose_strategy(1484, 0.873).why
    assert "1,484 training images are few" in why
    assert "are alike" in why
    assert "likeness 0.87" in why
    assert "unlike" in choose_strategy(20_000, 0.2).why
