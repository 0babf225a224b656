"""Stage `gradcam`: where the model looks, for test images of each class, right and wrong ones."""

import shutil

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common.determinism import make_deterministic
from stages.common.features import open_images
from stages.common.heatmaps import GradCam, last_convolution, peak
from stages.common.keras_files import load
from stages.common.log import log
from stages.common.overlays import overlay
from stages.common.params import Params
from stages.common.paths import CLASSES, MANIFEST, MODEL, PREDICTIONS, REPORTS
from stages.common.pictures import save_photo
from stages.common.stage import run
from stages.common.tables import read_json, read_table, write_table

FOLDER = REPORTS / "gradcam"
OVERLAYS = FOLDER / "overlays"
_BATCH = 32


def main(params: Params) -> None:
    """Draw heat maps of what was predicted and tabulate their peaks."""
    make_deterministic(params.tensorflow.threads, seed=0)
    classes = read_json(CLASSES)["classes"]
    manifest = read_table(MANIFEST)
    shown = choose(read_table(PREDICTIONS), params.gradcam.images)
    model = load(MODEL)
    layer = last_convolution(model) if params.gradcam.layer == "auto" else params.gradcam.layer
    grad_cam = GradCam(model, layer)
    images = open_images(manifest)
    positions = pd.Index(manifest["id"]).get_indexer(shown["id"])
    outputs = explained(shown, classes)
    shutil.rmtree(OVERLAYS, ignore_errors=True)
    rows = []
    for start in tqdm(range(0, len(shown), _BATCH), desc="gradcam", unit="batch"):
        batch = slice(start, start + _BATCH)
        photos = images.take(positions[batch])
        heats = grad_cam(photos, outputs[batch])
        for (_, image), photo, heat in zip(shown[batch].iterrows(), photos, heats, strict=True):
            rows.append(_explain(image, photo, heat, layer))
    summary = pd.DataFrame(rows).sort_values("id")
    write_table(summary, FOLDER / "summary.csv")
    log(f"gradcam: {len(summary)} maps of {layer}, {int(summary['zero'].sum())} of them zero")


def choose(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most `count` predictions: of classes and labels taken in turn from the right and the wrong
    ones of each, so that rare classes and rare errors are seen; of numbers the worst ones."""
    if "residual" in predictions:
        order = predictions["residual"].abs().to_numpy()
        return predictions.iloc[np.argsort(-order, kind="stable")[:count]]
    right = predictions["label"] == predictions["predicted"]
    turn = predictions.groupby([predictions["label"], right]).cumcount()
    return predictions.iloc[turn.argsort(kind="stable")[:count]]


def explained(predictions: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """The output to explain of each prediction, as `GradCam` wants it: the predicted class, the
    most probable label, or what raises the number."""
    if not classes:
        return np.ones(len(predictions), dtype=np.int64)
    return predictions[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)


def _explain(image: pd.Series, photo: np.ndarray, heat: np.ndarray, layer: str) -> dict:
    """Save one overlay and give its row of the summary."""
    file = OVERLAYS / f"{image['id']}.jpg"
    save_photo(overlay(photo, heat), file)
    peak_x, peak_y = peak(heat)
    names = ["id", "source", "label", "predicted", "residual"]
    return {
        **{name: image[name] for name in names if name in image},
        "layer": layer,
        "peak_x": peak_x,
        "peak_y": peak_y,
        "zero": bool(heat.max() == 0),
        "file": file.as_posix(),
    }


if __name__ == "__main__":
    run(main)
