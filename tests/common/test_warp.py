import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from scipy import ndimage

from stages.common.params import Augment
from stages.common.randomness import uniforms
from stages.common.warp import DRAWS, Transform, draw, vary, warp

# What SciPy calls the same fill modes.
SCIPY_MODES = {
    "nearest": "nearest",
    "constant": "grid-constant",
    "reflect": "reflect",
    "wrap": "grid-wrap",
}
pytestmark = pytest.mark.filterwarnings("ignore:Please import .affine_transform.")  # by Keras
ROUNDING = 0.51  # of a result to whole grey levels, and a little for float32
POSITION = 1 / 64 + 2**-16  # rounding of a position, pixels: to 1/32, and a little on the way

transforms = st.builds(
    Transform,
    rotation=st.floats(-3, 3),
    shift=st.tuples(st.floats(-15, 15), st.floats(-15, 15)),
    zoom=st.tuples(st.floats(0.5, 1.8), st.floats(0.5, 1.8)),
    flip=st.tuples(st.booleans(), st.booleans()),
)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def waves(height: int, width: int) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    heights = np.cos(2 * np.pi * rows / height) + np.cos(2 * np.pi * columns / width)
    return np.rint(100 + heights[..., None] * [20, 40, 50]).astype(np.uint8)


def tolerance(image: np.ndarray, fill_mode: str, cval: float = 0) -> float:
    """Grey levels by which the rounding of positions and results can change a value: on the
    steepest slope of the image, its surroundings included."""
    pad = {"nearest": "edge", "constant": "constant", "reflect": "symmetric", "wrap": "wrap"}
    options = {"constant_values": cval} if fill_mode == "constant" else {}
    around = np.pad(image.astype(float), ((1, 1), (1, 1), (0, 0)), pad[fill_mode], **options)
    slopes = [np.abs(np.diff(around, axis=axis)).max() for axis in (0, 1)]
    return ROUNDING + POSITION * sum(slopes)


@pytest.mark.parametrize("fill_mode", SCIPY_MODES)
@settings(max_examples=40)
@given(
    transform=transforms,
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    pattern=st.sampled_from([noise, waves]),
)
def test_a_warp_is_that_of_scipy(fill_mode, transform, height, width, pattern):
    image = pattern(height, width)
    matrix = transform.matrix(height, width)
    expected = [
        ndimage.affine_transform(
            image[..., channel].astype(float),
            matrix[:, :2],
            matrix[:, 2],
            order=1,
            mode=SCIPY_MODES[fill_mode],
            cval=90,
        )
        for channel in range(3)
    ]
    warped = warp(image, transform, fill_mode, cval=90)
    allowed = tolerance(image, fill_mode, cval=90)
    assert np.abs(warped - np.dstack(expected)).max() <= allowed


def warp_by_keras(image: np.ndarray, transform: Transform, fill_mode: str) -> np.ndarray:
    """The same by ImageDataGenerator, which swaps rows and columns: on a square image its result
    is that of the opposite rotation, with the shifts and the zooms exchanged."""
    return ImageDataGenerator(fill_mode=fill_mode).apply_transform(
        image.astype(np.float32),
        {
            "theta": -np.degrees(transform.rotation),
            "tx": transform.shift[1],
            "ty": transform.shift[0],
            "zx": transform.zoom[1],
            "zy": transform.zoom[0],
            "flip_vertical": transform.flip[0],
            "flip_horizontal": transform.flip[1],
        },
    )


@pytest.mark.parametrize("fill_mode", ["nearest", "reflect"])
@settings(max_examples=30)
@given(transform=transforms, size=st.integers(4, 40), pattern=st.sampled_from([noise, waves]))
def test_a_warp_is_that_of_keras(fill_mode, transform, size, pattern):
    image = pattern(size, size)
    difference = warp(image, transform, fill_mode) - warp_by_keras(image, transform, fill_mode)
    assert np.abs(difference).max() <= tolerance(image, fill_mode)


@pytest.mark.parametrize("pattern", [noise, waves])
@pytest.mark.parametrize("fill_mode", ["constant", "wrap"])
def test_a_warp_is_that_of_keras_within_the_image(fill_mode, pattern):
    """At the edge itself Keras takes SciPy's modes that do not interpolate."""
    transform = Transform(rotation=0.3, zoom=(0.6, 0.5), flip=(True, False))
    image = pattern(40, 40)
    difference = warp(image, transform, fill_mode) - warp_by_keras(image, transform, fill_mode)
    assert np.abs(difference).max() <= tolerance(image, "nearest")


def test_a_matrix_is_the_product_of_those_of_keras():
    transform = Transform(0.4, shift=(3, -5), zoom=(1.2, 0.7), flip=(True, False))
    sine, cosine = np.sin(0.4), np.cos(0.4)
    rotate = [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]
    shift = [[1, 0, 3], [0, 1, -5], [0, 0, 1]]
    center = np.array([[1, 0, 9.5], [0, 1, 14.5], [0, 0, 1]])
    product = center @ rotate @ shift @ np.diag([-1.2, 0.7, 1]) @ np.linalg.inv(center)
    assert transform.matrix(20, 30) == pytest.approx(product[:2])


@pytest.mark.parametrize("fill_mode", SCIPY_MODES)
def test_what_lies_farther_away_than_the_image_is_large(fill_mode):
    image = waves(10, 10)
    transform = Transform(rotation=0.5, shift=(70, -40), zoom=(6, 3))
    matrix = transform.matrix(10, 10)
    expected = ndimage.affine_transform(
        image[..., 0].astype(float),
        matrix[:, :2],
        matrix[:, 2],
        order=1,
        mode=SCIPY_MODES[fill_mode],
        cval=90,
    )
    warped = warp(image, transform, fill_mode, cval=90)[..., 0]
    assert np.abs(warped - expected).max() <= tolerance(image, fill_mode, cval=90)


def test_a_transformation_from_too_far_away_is_refused():
    with pytest.raises(ValueError, match=r"at most 32766 rows and columns. Received: .*40000"):
        warp(noise(8, 8), Transform(shift=(0, 40000)), "nearest")


def warped_bytes() -> list[bytes]:
    """Of images and transforms of every kind."""
    options = {"rotation_range": 180, "zoom_range": (0.3, 2), "width_shift_range": 0.3}
    images = [noise(height, 90, channels) for height in (37, 64) for channels in (1, 3)]
    return [
        vary(image, str(number), 1, Augment(**options, fill_mode=fill_mode, cval=90)).tobytes()
        for image in images
        for fill_mode in SCIPY_MODES
        for number in range(20)
    ]


def test_the_bytes_do_not_depend_on_what_the_processor_can():
    usual = warped_bytes()
    try:
        cv2.setUseOptimized(False)
        assert warped_bytes() == usual
    finally:
        cv2.setUseOptimized(True)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fill_mode", SCIPY_MODES)
def test_no_transform_changes_no_pixel(fill_mode, channels):
    image = noise(9, 14, channels)
    warped = warp(image, Transform(), fill_mode)
    assert warped.dtype == np.uint8
    assert np.array_equal(warped, image)


def test_one_channel_is_warped_as_each_of_three():
    transform = Transform(rotation=0.4, shift=(2.5, -3), zoom=(0.8, 1.2), flip=(False, True))
    image = noise(20, 30)
    each = [warp(image[..., [one]], transform, "constant", cval=9) for one in range(3)]
    assert np.array_equal(np.dstack(each), warp(image, transform, "constant", cval=9))


def test_a_quarter_turn_is_exact_and_clockwise():
    image = noise(11, 11)
    turned = warp(image, Transform(rotation=np.pi / 2), "constant")
    assert np.array_equal(turned, np.rot90(image, -1))


def test_flips_mirror_rows_and_columns():
    image = noise(8, 13)
    assert np.array_equal(warp(image, Transform(flip=(True, False)), "nearest"), image[::-1])
    assert np.array_equal(warp(image, Transform(flip=(False, True)), "nearest"), image[:, ::-1])


# The last four of (10, 20, 30, 40, 50) moved two places, after what lies beyond its left edge.
BEYOND = {
    "nearest": [10, 10],
    "constant": [7, 7],
    "reflect": [20, 10],
    "wrap": [40, 50],
}


@pytest.mark.parametrize("fill_mode", BEYOND)
def test_fill_modes_at_the_edge(fill_mode):
    ramp = np.tile(np.array([10, 20, 30, 40, 50], np.uint8), (3, 1))[..., None]
    moved = warp(ramp, Transform(shift=(0, -2)), fill_mode, cval=7)
    assert moved[1, :, 0].tolist() == [*BEYOND[fill_mode], 10, 20, 30]
    upright = warp(ramp.swapaxes(0, 1), Transform(shift=(-2, 0)), fill_mode, cval=7)
    assert np.array_equal(upright, moved.swapaxes(0, 1))


def test_zoom_above_1_shows_more_and_below_1_less():
    image = np.zeros((40, 40, 1), np.uint8)
    image[10:30, 10:30] = 255
    assert warp(image, Transform(zoom=(2, 2)), "nearest").mean() == pytest.approx(16, abs=4)
    assert warp(image, Transform(zoom=(0.4, 0.4)), "nearest").mean() == 255
    wide = warp(image, Transform(zoom=(1, 0.5)), "nearest")
    assert wide.any(axis=0).all()
    assert np.array_equal(wide.any(axis=1), image.any(axis=1))


def draws(
    options: Augment, count: int = 400, height: int = 50, width: int = 200
) -> list[Transform]:
    numbers = [uniforms(DRAWS, 0, "test", one) for one in range(count)]
    return [draw(one, height, width, options) for one in numbers]


def test_without_options_nothing_is_drawn():
    assert set(draws(Augment(), count=20)) == {Transform()}


def test_rotation_range_is_in_degrees_to_both_sides():
    angles = np.degrees([one.rotation for one in draws(Augment(rotation_range=30))])
    assert -30 <= angles.min() < -28
    assert 28 < angles.max() <= 30
    assert np.std(angles) == pytest.approx(60 / 12**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("option", "axis", "extent"), [("height_shift_range", 0, 50), ("width_shift_range", 1, 200)]
)
def test_a_shift_below_1_is_a_share_of_its_side_and_moves_no_other(option, axis, extent):
    shifts = np.array([one.shift for one in draws(Augment(**{option: 0.1}))])
    along, across = shifts[:, axis], shifts[:, 1 - axis]
    assert -0.1 * extent <= along.min() < -0.095 * extent
    assert 0.095 * extent < along.max() <= 0.1 * extent
    assert not across.any()


def test_a_width_shift_moves_columns_and_a_height_shift_rows():
    dot = np.zeros((9, 9, 1), np.uint8)
    dot[4, 4] = 255
    for transform in draws(Augment(width_shift_range=[2]), count=20):
        assert np.argwhere(warp(dot, transform, "constant"))[:, 0].tolist() == [4]
        assert np.argwhere(warp(dot, transform, "constant"))[0, 1] in {2, 6}
    for transform in draws(Augment(height_shift_range=[2]), count=20):
        assert np.argwhere(warp(dot, transform, "constant"))[:, 1].tolist() == [4]
        assert np.argwhere(warp(dot, transform, "constant"))[0, 0] in {2, 6}


@pytest.mark.parametrize(
    ("option", "shifts"),
    [
        (3, [-2, -1, 0, 1, 2]),  # whole pixels below 3
        (1, [0]),
        ([1], [-1, 1]),
        ([5, 20], [-20, -5, 5, 20]),  # pixels
        ([0.1, 0.25], [-50, -20, 20, 50]),  # shares of 200
    ],
)
def test_whole_numbers_and_lists_are_the_shifts_to_choose_from(option, shifts):
    drawn = {one.shift[1] for one in draws(Augment(width_shift_range=option))}
    assert sorted(drawn) == pytest.approx(shifts)


def test_a_fraction_from_1_on_is_pixels():
    drawn = [one.shift[1] for one in draws(Augment(width_shift_range=3.0))]
    assert -3 <= min(drawn) < -2.8
    assert 2.8 < max(drawn) <= 3
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("option", [0.2, (0.8, 1.2)])
def test_zoom_is_drawn_for_rows_and_columns_apart(option):
    zooms = np.array([one.zoom for one in draws(Augment(zoom_range=option))])
    assert (zooms.min(axis=0) >= 0.8).all()
    assert (zooms.min(axis=0) < 0.81).all()
    assert (zooms.max(axis=0) <= 1.2).all()
    assert (zooms.max(axis=0) > 1.19).all()
    assert abs(np.corrcoef(zooms.T)[0, 1]) < 0.15


def test_zoom_limits_need_not_lie_around_1():
    zooms = [one.zoom for one in draws(Augment(zoom_range=(1.5, 2)), count=100)]
    assert 1.5 <= np.min(zooms) < np.max(zooms) <= 2


@pytest.mark.parametrize(("option", "axis"), [("vertical_flip", 0), ("horizontal_flip", 1)])
def test_a_flip_mirrors_half_of_the_images_along_its_axis_alone(option, axis):
    flips = np.array([one.flip for one in draws(Augment(**{option: True}))])
    assert flips[:, axis].mean() == pytest.approx(0.5, abs=0.1)
    assert not flips[:, 1 - axis].any()


def test_one_option_leaves_the_draws_of_the_others():
    every = Augment(rotation_range=20, width_shift_range=0.1, zoom_range=0.2, horizontal_flip=True)
    for option in ["rotation_range", "width_shift_range", "zoom_range", "horizontal_flip"]:
        without = every.model_copy(update={option: Augment.model_fields[option].default})
        for full, less in zip(draws(every, 20), draws(without, 20), strict=True):
            kept = {
                "rotation_range": (full.shift == less.shift, full.zoom == less.zoom),
                "width_shift_range": (full.rotation == less.rotation, full.zoom == less.zoom),
                "zoom_range": (full.rotation == less.rotation, full.flip == less.flip),
                "horizontal_flip": (full.shift == less.shift, full.zoom == less.zoom),
            }
            assert all(kept[option])
