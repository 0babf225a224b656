"""Photos under their heat, on sheets and as files."""

import numpy as np
import pandas as pd
from PIL import Image

from stages.gradcam.pictures import ClassMeans, PairSheet, overlay_file, photo_file, save_overlays

GREY = np.full((40, 20, 3), 90, np.uint8)
TOP = np.array([[1.0], [0.0]], np.float32)


def test_a_photo_and_the_overlay_of_each_method_have_one_size(tmp_path):
    save_overlays(tmp_path, "0a", GREY, {"gradcam": TOP, "gradcam++": TOP[::-1]})
    files = [photo_file(tmp_path, "0a")]
    files += [overlay_file(tmp_path, method, "0a") for method in ("gradcam", "gradcam++")]
    photo, top, bottom = (np.asarray(Image.open(file)).astype(int) for file in files)
    assert photo.shape == top.shape == bottom.shape == (192, 96, 3)
    assert (abs(top - photo)[:30] > 60).any() and abs(top - photo)[-30:].max() < 6
    assert (abs(bottom - photo)[-30:] > 60).any() and abs(bottom - photo)[:30].max() < 6


def test_a_sheet_holds_forty_pairs_and_no_more():
    def sheet(count: int) -> Image.Image:
        drawn = PairSheet()
        for number in range(count):
            drawn.add(f"class {number} " * 9, GREY, TOP)
        return drawn.draw()

    assert sheet(1).width < 200
    assert sheet(100).tobytes() == sheet(40).tobytes() != sheet(39).tobytes()
    assert sheet(40).width <= 1000


def test_the_mean_photo_and_the_mean_map_of_each_class():
    classes = pd.Series(["a", "b", "b"])
    means = ClassMeans(classes)
    for name, value, heat in zip(classes, (40, 0, 200), (TOP, 9 * TOP, 0 * TOP), strict=True):
        means.add(name, np.full((40, 20, 3), value, np.uint8), heat)
    drawn = np.asarray(means.draw()).astype(int)
    # The caption, then the photo; beside it the photo under the map.
    assert (drawn[100, 20] == 40).all() and (drawn[26, 130] > drawn[210, 130] + 30).any()
    second = drawn[drawn.shape[0] // 2 :]
    assert (second[100, 20] == 100).all()


def test_of_many_classes_those_with_most_images_are_drawn():
    classes = pd.Series([f"{number:02}" for number in range(60)] + ["59"])
    means = ClassMeans(classes)
    for name in classes:
        means.add(name, GREY, TOP)
    drawn = means.draw()
    assert drawn.height < 41 * (192 + 30)
    one = ClassMeans(pd.Series(["a"]))
    one.add("other", GREY, TOP)
    one.add("a", GREY, TOP)
    assert one.draw().height < 250
