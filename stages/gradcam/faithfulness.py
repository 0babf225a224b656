"""How far to believe a heat map: what the model says without the places that it calls hot."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from stages.common.heatmaps import HeatMaps
from stages.common.randomness import generator
from stages.gradcam.controls import CONTROLS
from stages.gradcam.imputation import impute
from stages.gradcam.targets import Score

MEASURES = ("deletion", "insertion", "road", "sensitivity")
_STEPS = 16
_ROAD_SHARES = [0.2, 0.4, 0.6, 0.8]
_NOISES = 4
_NOISE = 8
"""Largest change of a pixel, of 255."""


class Faithfulness:
    """Measures heat maps.

    `deletion` (lower is better) and `insertion` (higher is better): Petsiuk et al. 2018, "RISE:
    Randomized input sampling for explanation of black-box models". Pixels are replaced by the mean
    colour of the photo, or shown on a picture of that colour alone, from the hottest on, in 16
    steps; the area under the curve of the score. (The paper inserts on a blurred photo, but that
    still shows the colours of large things at their places, and can leave the model sure.)

    `road` (lower is better): the mean score without the hottest 20, 40, 60 and 80 %, see
    `imputation`. `sensitivity` (lower is better): Yeh et al. 2019, "On the (in)fidelity and
    sensitivity of explanations": the largest change of the map, relative to its norm, under 4
    random changes of the photo of at most 8 of 255 in each value.

    Args:
        network: From uint8 (n, h, w, c) to outputs (n, outputs).
        maps: Gives the maps; for `sensitivity`.
        score: What the outputs say of what is explained.
    """

    def __init__(
        self, network: Callable[[np.ndarray], np.ndarray], maps: HeatMaps, score: Score
    ) -> None:
        self._network, self._maps, self._score = network, maps, score

    def __call__(
        self, image_id: str, photo: np.ndarray, weights: np.ndarray, heats: Mapping[str, np.ndarray]
    ) -> list[dict[str, str | float]]:
        """A row of `id`, `method` and the measures for each map, and for each control.

        Args:
            image_id: Decides the random numbers.
            photo: uint8 (h, w, c).
            weights: float32 (outputs,), what the maps explain.
            heats: (map height, map width) of each method.
        """
        shape = next(iter(heats.values())).shape
        controls = {name: make(image_id, shape) for name, make in CONTROLS.items()}
        sensitivity = self._sensitivity(image_id, photo, weights, heats)
        blank = mean_colour(photo)
        whole, none = self._scores(np.stack([photo, blank]), weights)
        rows = []
        for name, heat in (dict(heats) | controls).items():
            ranks = hottest_first(heat, controls["random"], photo.shape[:2])
            deleted = replaced(photo, blank, ranks, _STEPS)
            inserted = replaced(blank, photo, ranks, _STEPS)
            imputed = impute(photo, -ranks, _ROAD_SHARES, image_id)
            scores = self._scores(np.concatenate([deleted, inserted, imputed]), weights)
            deletion, insertion, road = np.split(scores, [_STEPS - 1, 2 * _STEPS - 2])
            rows.append(
                {
                    "id": image_id,
                    "method": name,
                    "deletion": area([whole, *deletion, none]),
                    "insertion": area([none, *insertion, whole]),
                    "road": float(road.mean()),
                    "sensitivity": sensitivity.get(name, 0.0),  # a control looks at no photo
                }
            )
        return rows

    def _scores(self, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
        outputs = np.asarray(self._network(images), np.float64)
        return self._score(outputs, np.tile(weights, (len(images), 1)))

    def _sensitivity(
        self, image_id: str, photo: np.ndarray, weights: np.ndarray, heats: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        random = generator(0, "gradcam sensitivity", image_id)
        noise = random.integers(-_NOISE, _NOISE + 1, (_NOISES, *photo.shape))
        noisy = (photo + noise).clip(0, 255).astype(np.uint8)
        changed = self._maps(noisy, np.tile(weights, (_NOISES, 1)))
        return {name: largest_change(heat, changed[name]) for name, heat in heats.items()}


def mean_colour(photo: np.ndarray) -> np.ndarray:
    """A photo of which each pixel has the mean colour: uint8 (h, w, c)."""
    return np.broadcast_to(photo.mean(axis=(0, 1)).round().astype(np.uint8), photo.shape)


def hottest_first(heat: np.ndarray, tie_break: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The rank of each pixel, 0 for the hottest: int (h, w).

    Pixels of the same heat, as all are in a map that is zero everywhere, follow the order of
    another map: a map that says nothing is then measured as that one.

    Args:
        heat, tie_break: (map height, map width).
        size: Height and width of the photo.
    """
    keys = [cv2.resize(one, size[::-1]).ravel() for one in (tie_break, heat)]
    ranks = np.empty(size, np.int64)
    ranks.flat[np.lexsort(keys)[::-1]] = np.arange(ranks.size)
    return ranks


def replaced(old: np.ndarray, new: np.ndarray, ranks: np.ndarray, steps: int) -> np.ndarray:
    """What lies between two photos, as the pixels of one replace those of the other by rank.

    Returns:
        uint8 (steps - 1, h, w, c): after 1/steps of the pixels, after 2/steps, and so on.
    """
    limits = ranks.size * np.arange(1, steps) / steps
    return np.where(ranks[None, ..., None] < limits[:, None, None, None], new, old)


def area(scores: list[float]) -> float:
    """Under the curve through scores at equal distances from 0 to 1, by the trapezoidal rule."""
    return float(np.trapezoid(scores) / (len(scores) - 1))


def largest_change(heat: np.ndarray, changed: np.ndarray) -> float:
    """The largest distance of maps (n, height, width) from a map, relative to its norm; of a map
    that is zero everywhere 0 if the others are zero too, and else 1."""
    norm = float(np.linalg.norm(heat))
    distances = np.linalg.norm((changed - heat).reshape(len(changed), -1), axis=1)
    if norm == 0:
        return float(np.any(distances > 0))
    return float(distances.max() / norm)
