import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.sparse.csgraph import connected_components

from stages.ingest.duplicates import DEFAULT_THRESHOLD, find_groups, fingerprint, patterns
from stages.ingest.measures import shrink

SCENES = 40


def draw_scene(seed: int, height: int = 180, width: int = 240) -> np.ndarray:
    """A made-up photo: smooth colour noise, some ellipses, a little grain; RGB uint8."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(
        rng.uniform(40, 210, (5, 7, 3)), (width, height), interpolation=cv2.INTER_LINEAR
    )
    for _ in range(6):
        centre = rng.integers(0, [width, height]).tolist()
        axes = rng.integers(min(width, height) // 12, [width // 3, height // 3]).tolist()
        colour = rng.uniform(30, 215, 3).tolist()
        cv2.ellipse(image, centre, axes, rng.uniform(0, 180), 0, 360, colour, cv2.FILLED)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def fingerprint_of(image: np.ndarray) -> np.ndarray:
    return fingerprint(np.asarray(shrink(Image.fromarray(image))))


def encode(image: np.ndarray, extension: str, *flags: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(extension, image, flags)[1], cv2.IMREAD_COLOR)


def scale(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def brighten(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(image * factor, 0, 255).astype(np.uint8)


def group_images(images: list[np.ndarray], **options: float) -> list[int]:
    """The groups of images whose digests all differ, so only near duplicates join."""
    fingerprints = np.stack([fingerprint_of(image) for image in images])
    return find_groups(fingerprints, [str(i) for i in range(len(images))], **options).tolist()


COPIES = {
    "png": lambda image: encode(image, ".png"),
    "jpeg 95": lambda image: encode(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95),
    "jpeg 50": lambda image: encode(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 50),
    "halved": lambda image: scale(image, 0.5),
    "doubled": lambda image: scale(image, 2),
    "stretched": lambda image: cv2.resize(image, (200, 200)),
    "darkened": lambda image: brighten(image, 0.8),
    "brightened": lambda image: brighten(image, 1.15),
    "tinted": lambda image: (image * [1.0, 0.95, 0.9]).astype(np.uint8),
    "all": lambda image: encode(brighten(scale(image, 0.6), 0.85), ".jpg"),
}


@pytest.mark.parametrize("size", [(180, 240), (61, 30)], ids=["photo", "tiny"])
@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
def test_a_copy_joins_its_original_and_nothing_else(copy, size):
    originals = [draw_scene(seed, *size) for seed in range(SCENES)]
    groups = group_images([*originals, *map(copy, originals)])
    assert groups == [*range(SCENES), *range(SCENES)]


@pytest.mark.parametrize(
    "change",
    [lambda image: 255 - image, np.fliplr, np.flipud, lambda image: image[..., ::-1]],
    ids=["negative", "mirrored", "upside down", "red and blue swapped"],
)
def test_a_different_picture_of_the_same_brightness_stays_apart(change):
    scene = draw_scene(0)
    assert group_images([scene, np.ascontiguousarray(change(scene))]) == [0, 1]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (500, 2, 3), (8, 8, 3), (3000, 9, 3)])
def test_a_fingerprint_has_one_length_whatever_the_size_of_the_image(shape):
    result = fingerprint_of(np.full(shape, 7, np.uint8))
    assert result.tolist() == [7] * 192
    assert result.dtype == np.uint8


def test_a_narrow_image_is_averaged_along_its_long_side():
    stripes = np.zeros((800, 6, 3), np.uint8)
    stripes[::2] = 200
    assert fingerprint_of(stripes).tolist() == [100] * 192


def test_distance_is_that_of_correlation():
    scene, other = draw_scene(0), draw_scene(1)
    first, second, negative = patterns(
        np.stack([fingerprint_of(image) for image in (scene, other, 255 - scene)])
    )
    assert np.linalg.norm(first) == pytest.approx(1)
    assert np.linalg.norm(first - second) > 5 * DEFAULT_THRESHOLD
    assert np.linalg.norm(first - negative) == pytest.approx(2, abs=1e-2)


def test_equal_digests_join_across_everything_else():
    images = [draw_scene(0), draw_scene(1), brighten(draw_scene(0), 0.9), draw_scene(2)]
    fingerprints = np.stack([fingerprint_of(image) for image in images])
    assert find_groups(fingerprints, ["a", "b", "c", "d"]).tolist() == [0, 1, 0, 3]
    assert find_groups(fingerprints, ["a", "b", "c", "c"]).tolist() == [0, 1, 0, 0]


def test_threshold_zero_joins_equal_digests_only():
    fingerprints = np.stack([fingerprint_of(draw_scene(0))] * 3)
    assert find_groups(fingerprints, ["a", "b", "a"], threshold=0).tolist() == [0, 1, 0]


def test_blank_images_join_by_their_digest_only():
    shades = [0, 0, 128, 129, 255]
    grain = np.random.default_rng(0).integers(126, 131, (64, 64, 3), np.uint8)
    blanks = [np.full((64, 64, 3), shade, np.uint8) for shade in shades] + [grain, grain[::-1]]
    fingerprints = np.stack([fingerprint_of(image) for image in [*blanks, draw_scene(0)]])
    groups = find_groups(fingerprints, ["black", "black", "c", "d", "e", "f", "g", "h"])
    assert groups.tolist() == [0, 0, 2, 3, 4, 5, 6, 7]


def test_a_foggy_photo_is_still_recognised():
    foggy = (200 + draw_scene(0) / 12).astype(np.uint8)
    assert group_images([foggy, draw_scene(1), encode(foggy, ".jpg")]) == [0, 1, 0]


def test_a_slow_video_is_one_group_and_a_cut_ends_it():
    """Chaining is deliberate: neighbours would leak. It needs small steps all the way."""
    first, last, other = draw_scene(0), draw_scene(1), draw_scene(2)
    drift = [cv2.addWeighted(last, w, first, 1 - w, 0) for w in np.linspace(0, 1, 31)]
    assert group_images([drift[0], drift[-1]]) == [0, 1]
    assert group_images([*drift, other]) == [0] * 31 + [31]
    without_the_middle = drift[:13] + drift[18:]
    assert group_images(without_the_middle) == [0] * 13 + [13] * 13


def test_unrelated_images_form_no_chain():
    assert group_images([draw_scene(seed) for seed in range(500)]) == list(range(500))


def test_pairs_join_exactly_up_to_the_threshold():
    images = [draw_scene(0), brighten(draw_scene(0), 0.8)]
    rows = patterns(np.stack([fingerprint_of(image) for image in images]))
    distance = float(np.linalg.norm(rows[0] - rows[1]))
    assert group_images(images, threshold=distance * 1.001) == [0, 0]
    assert group_images(images, threshold=distance * 0.999) == [0, 1]


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0.05, 0.6))
def test_groups_are_the_components_of_all_pairs_in_any_order(seed, threshold):
    rng = np.random.default_rng(seed)
    scenes = rng.integers(0, 256, (8, 192))
    noise = rng.normal(0, rng.uniform(0, 30), (60, 192))
    fingerprints = np.clip(scenes[rng.integers(0, 8, 60)] + noise, 0, 255).astype(np.uint8)
    digests = rng.integers(0, 50, 60).astype(str)
    order = rng.permutation(60)

    groups = find_groups(fingerprints, digests, threshold)

    shuffled = find_groups(fingerprints[order], digests[order], threshold)
    together = groups[:, None] == groups
    assert np.array_equal(together[np.ix_(order, order)], shuffled[:, None] == shuffled)
    assert np.array_equal(together, reachable_by_brute_force(fingerprints, digests, threshold))
    assert all(groups[i] == np.flatnonzero(together[i])[0] for i in range(60))


def reachable_by_brute_force(fingerprints, digests, threshold) -> np.ndarray:
    rows = patterns(fingerprints)
    distance = np.linalg.norm(rows[:, None] - rows, axis=2)
    reachable = (distance <= threshold) | (digests[:, None] == digests)
    for middle in range(len(rows)):
        reachable |= reachable[:, [middle]] & reachable[middle]
    return reachable


def test_groups_of_many_images_are_the_components_of_all_pairs():
    """More than are compared at once, so pairs stand in one tile, in neighbours and far apart."""
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 256, (1500, 192))
    noise = rng.normal(0, 8, (6000, 192)) * rng.uniform(0, 1.6, (6000, 1))
    fingerprints = np.clip(scenes[rng.integers(0, 1500, 6000)] + noise, 0, 255).astype(np.uint8)
    rows = patterns(fingerprints).astype(np.float64)
    distance = np.sqrt(np.maximum(0, 2 - 2 * rows @ rows.T))
    within = np.sort(distance[distance < 0.5])
    middle = within[len(within) // 2 : len(within) // 2 + 500]
    widest = np.diff(middle).argmax()  # where rounding decides nothing
    threshold = float(middle[widest : widest + 2].mean())
    _, expected = connected_components(distance <= threshold)

    groups = find_groups(fingerprints, np.arange(6000), threshold)

    _, first, inverse = np.unique(expected, return_index=True, return_inverse=True)
    assert np.array_equal(groups, first[inverse])
    assert 1500 < len(first) < 5000


def test_twenty_thousand_different_images_stay_apart():
    fingerprints = np.random.default_rng(0).integers(0, 256, (20_000, 192), np.uint8)
    groups = find_groups(fingerprints, np.arange(20_000))
    assert np.array_equal(groups, np.arange(20_000))


def test_many_alike_images_need_no_list_of_all_their_pairs():
    """A static camera, a stuck file and a lens cap, 20,000 frames each: 600 million pairs."""
    rng = np.random.default_rng(0)
    scene = fingerprint_of(draw_scene(0)).astype(int)
    camera = np.clip(scene + rng.integers(-3, 4, (20_000, 192)), 0, 255).astype(np.uint8)
    stuck = np.repeat(fingerprint_of(draw_scene(1))[None], 20_000, axis=0)
    capped = rng.integers(0, 3, (20_000, 192), np.uint8)
    groups = find_groups(np.concatenate([camera, stuck, capped]), np.arange(60_000))
    assert set(groups[:20_000]) == {0}
    assert set(groups[20_000:40_000]) == {20_000}
    assert np.array_equal(groups[40_000:], np.arange(40_000, 60_000))


def test_no_images_give_no_groups():
    assert find_groups(np.empty((0, 192), np.uint8), []).shape == (0,)
