"""What becomes of images over twenty days on which people add, remove and relabel some."""

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.common.params import Split
from stages.split.assign import share_out
from stages.split.given import SIDES, allowed_sides, given_sides

CLASSES = 5
random_days = st.randoms(use_true_random=False)


class World:
    """Images of which some change each day, alone or in whole groups.

    Attributes:
        images: Group, class and given side of each image.
    """

    def __init__(self, random: Random, sides: list[str]):
        """Start with one image for each of the `sides` that people give, which stays."""
        self.random, self.sides, self.next = random, sides, 0
        self.images = {f"kept {side}": (f"of {side}", 0, side) for side in sides}
        self.a_day()

    def a_day(self) -> None:
        chance = self.random
        for name in [one for one in self.images if "kept" not in one and chance.random() < 0.2]:
            del self.images[name]
        for name, (group, _, side) in self.images.items():
            if chance.random() < 0.2:
                self.images[name] = (group, chance.randrange(CLASSES), side)
        for _ in range(chance.randrange(1, 15)):
            side = chance.choice(["", "", "", *self.sides])
            image = (f"{chance.randrange(40):016x}", chance.randrange(CLASSES), side)
            self.images[str(self.next)] = image
            self.next += 1

    def groups_and_strata(self) -> tuple[np.ndarray, np.ndarray]:
        groups, labels, _ = map(np.array, zip(*self.images.values(), strict=True))
        return groups, np.eye(CLASSES, dtype=int)[labels]

    def split(self, split: Split) -> dict[str, tuple]:
        """Of each image its group, the sides given to the group, its side, and its folds."""
        groups, strata = self.groups_and_strata()
        found = given_sides(groups, np.array([side for _, _, side in self.images.values()]))
        sides, folds = share_out(groups, strata, allowed_sides(found, split.leaks), split)
        columns = (groups.tolist(), found.tolist(), sides.tolist(), folds.tolist())
        return dict(zip(self.images, zip(*columns, strict=True), strict=True))


def moved(before: dict[str, tuple], after: dict[str, tuple]) -> list[str]:
    """The images whose group and given sides stayed, but not their side and folds."""
    return [
        name
        for name in before.keys() & after.keys()
        if before[name][:2] == after[name][:2] and before[name] != after[name]
    ]


def assert_no_group_is_divided(found: dict[str, tuple]) -> None:
    for group in {row[0] for row in found.values()}:
        assert len({str(row[1:]) for row in found.values() if row[0] == group}) == 1


@given(
    random_days, st.sampled_from([[], ["train", "test"], SIDES]), st.sampled_from(["train", "drop"])
)
def test_stable_never_moves_an_image_whose_group_stayed(random, sides, leaks):
    world = World(random, sides)
    split = Split(assignment="stable", leaks=leaks, repeats=2, folds=3)
    before = world.split(split)
    for _ in range(20):
        world.a_day()
        after = world.split(split)
        assert moved(before, after) == []
        assert_no_group_is_divided(after)
        before = after


def test_stratified_moves_images_on_such_days():
    """So the test above could fail."""
    world, split = World(Random(0), []), Split(folds=3)
    before = world.split(split)
    world.a_day()
    assert moved(before, world.split(split))


@given(random_days)
def test_stratified_keeps_the_ratios_of_each_class_within_the_largest_group(random):
    world, split = World(random, []), Split(folds=3)
    for _ in range(20):
        world.a_day()
        found = world.split(split)
        assert_no_group_is_divided(found)
        groups, strata = world.groups_and_strata()
        largest = np.unique(groups, return_counts=True)[1].max()
        sides = np.array([row[2] for row in found.values()])
        folds = np.array([row[3][0] for row in found.values()])
        assert deviation(sides, strata, np.array([6, 3, 1])) <= largest
        pool = folds >= 0
        assert deviation(folds[pool], strata[pool], np.ones(3)) <= largest


def deviation(places: np.ndarray, strata: np.ndarray, ratios: np.ndarray) -> float:
    """By how many images a place is off its share of a class, at most."""
    counts = np.array([strata[places == place].sum(axis=0) for place in range(len(ratios))])
    return np.abs(counts - np.outer(ratios / ratios.sum(), strata.sum(axis=0))).max()
