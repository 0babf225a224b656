"""Stage `gradcam`: where the model looks, for test images of each class, right and wrong ones."""

import shutil

import cv2
import numpy as np
import pandas as pd
from matplotlib import colormaps
from PIL import Image
from tqdm import tqdm

from stages.common.determinism import make_deterministic
from stages.common.features import open_images
from stages.common.keras_files import load
from stages.common.params import Params
from stages.common.paths import CLASSES, MANIFEST, MODEL, PREDICTIONS, REPORTS
from stages.common.pictures import save_photo, to_picture
from stages.common.stage import log, run
from stages.common.tables import read_json, read_table, write_table
from stages.gradcam.heatmaps import GradCam, last_convolution, peak

FOLDER = REPORTS / "gradcam"
OVERLAYS = FOLDER / "overlays"
_BATCH = 32
_PICTURE_HEIGHT = 192
_COLORS = (colormaps["inferno"](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)


def main(params: Params) -> None:
    """Draw heat maps of the predicted class and tabulate their peaks."""
    make_deterministic(params.tensorflow.threads, seed=0)
    classes = read_json(CLASSES)["classes"]
    manifest = read_table(MANIFEST)
    shown = choose(read_table(PREDICTIONS), params.gradcam.images)
    model = load(MODEL)
    layer = last_convolution(model) if params.gradcam.layer == "auto" else params.gradcam.layer
    grad_cam = GradCam(model, layer)
    images = open_images(manifest)
    positions = pd.Index(manifest["id"]).get_indexer(shown["id"])
    codes = np.array([classes.index(label) for label in shown["predicted"]])
    shutil.rmtree(OVERLAYS, ignore_errors=True)
    rows = []
    for start in tqdm(range(0, len(shown), _BATCH), desc="gradcam", unit="batch"):
        batch = slice(start, start + _BATCH)
        photos = images.take(positions[batch])
        heats = grad_cam(photos, codes[batch])
        for (_, image), photo, heat in zip(shown[batch].iterrows(), photos, heats, strict=True):
            rows.append(_explain(image, photo, heat, layer))
    summary = pd.DataFrame(rows).sort_values("id")
    write_table(summary, FOLDER / "summary.csv")
    log(f"gradcam: {len(summary)} maps of {layer}, {int(summary['zero'].sum())} of them zero")


def choose(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most `count` predictions, taken in turn from the right and the wrong ones of each class,
    so that rare classes and rare errors are seen."""
    right = predictions["label"] == predictions["predicted"]
    turn = predictions.groupby([predictions["label"], right]).cumcount()
    return predictions.iloc[turn.argsort(kind="stable")[:count]]


def _explain(image: pd.Series, photo: np.ndarray, heat: np.ndarray, layer: str) -> dict:
    """Save one overlay and give its row of the summary."""
    file = OVERLAYS / f"{image['id']}.jpg"
    save_photo(_overlay(photo, heat), file)
    peak_x, peak_y = peak(heat)
    return {
        **image[["id", "source", "label", "predicted"]],
        "layer": layer,
        "peak_x": peak_x,
        "peak_y": peak_y,
        "zero": bool(heat.max() == 0),
        "file": file.as_posix(),
    }


def _overlay(photo: np.ndarray, heat: np.ndarray) -> Image.Image:
    """The photo, and beside it the photo under its heat map."""
    picture = to_picture(photo, _PICTURE_HEIGHT)
    strength = heat / heat.max() if heat.max() > 0 else heat
    strength = cv2.resize(strength, picture.size, interpolation=cv2.INTER_LINEAR)[..., None]
    colors = _COLORS[(strength[..., 0] * 255).round().astype(int)]
    blended = np.asarray(picture) * (1 - 0.6 * strength) + colors * (0.6 * strength)
    pair = [np.asarray(picture), blended.round().astype(np.uint8)]
    return Image.fromarray(np.hstack(pair))


if __name__ == "__main__":
    run(main)
