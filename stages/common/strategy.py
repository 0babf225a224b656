"""Strategy `auto`: which one of full, partial and head fits the data, and where to cut."""

from dataclasses import dataclass

import numpy as np

from stages.common.randomness import generator

MANY_IMAGES = 10_000
ALIKE = 0.5
_NEIGHBOURS = 5
_MOST_IMAGES = 4_000


@dataclass(frozen=True)
class Choice:
    """A strategy and the reason for it.

    Attributes:
        strategy: `full`, `partial` or `head`.
        depth: For `partial`, the share of the network's cuts that lie before the cut.
        why: In words.
    """

    strategy: str
    depth: float | None
    why: str


def choose_strategy(images: int, alike: float) -> Choice:
    """The classic rule (DESIGN: three strategies) for so many training images.

                 few images              many images
    alike        head                    partial, few layers train
    unlike       partial, many train     full

    Args:
        images: Training images.
        alike: Of `likeness`.
    """
    many, is_alike = images >= MANY_IMAGES, alike >= ALIKE
    strategy, depth = {
        (False, True): ("head", None),
        (True, True): ("partial", 0.75),
        (False, False): ("partial", 0.5),
        (True, False): ("full", None),
    }[many, is_alike]
    why = (
        f"{images:,} training images are {'many' if many else 'few'} (many: {MANY_IMAGES:,} or "
        f"more), and by the frozen features they are {'alike' if is_alike else 'unlike'} to the "
        f"pretraining data: likeness {alike:.2f} (alike: {ALIKE} or more)"
    )
    return Choice(strategy, depth, why)


def likeness(features: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> float:
    """How well frozen features of the training images tell their labels apart, 0 to 1.

    If the data are like those that the network was trained on, images that lie side by side in its
    features share their label. So each image is judged by its nearest neighbours of other groups,
    by cosine: 1 is always right, 0 no better than the commonest label or the mean value. (A measure
    of transferability without training, as LogME, You et al. 2021, only simpler to explain.)

    Args:
        features: (n, d) pooled features of the training images, one variant each.
        targets: (n, columns): one column for each class or label, 0 or 1; or one of values.
        groups: (n,) repeats of one photo share a group, and are no neighbours.
    """
    if len(features) > _MOST_IMAGES:
        chosen = np.sort(generator(0, "likeness").permutation(len(features))[:_MOST_IMAGES])
        features, targets, groups = features[chosen], targets[chosen], groups[chosen]
    standard = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    unit = standard / (np.linalg.norm(standard, axis=1, keepdims=True) + 1e-12)
    alike = unit @ unit.T
    alike[groups[:, None] == groups[None, :]] = -np.inf
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :_NEIGHBOURS]
    judged = targets[nearest].mean(axis=1)
    unexplained = np.sum((targets - judged) ** 2)
    spread = np.sum((targets - targets.mean(axis=0)) ** 2)
    return float(np.clip(1 - unexplained / max(spread, 1e-12), 0, 1))
