"""Stage `gradcam`: where the model looks, for test images of each class, right and wrong ones, and
how far to believe that."""

import shutil

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common.class_activation import METHODS
from stages.common.determinism import make_deterministic
from stages.common.heatmaps import HeatMaps, last_convolution
from stages.common.keras_files import load
from stages.common.log import log
from stages.common.params import Params
from stages.common.paths import MODEL, PREDICTIONS, REPORTS
from stages.common.pictures import save_photo
from stages.common.quiet_tensorflow import keras
from stages.common.stage import run
from stages.common.tables import read_table, write_json, write_table
from stages.gradcam.attention import SUSPICIOUS, attention, by_class, suspicion
from stages.gradcam.faithfulness import Faithfulness
from stages.gradcam.methods import compare, judgement
from stages.gradcam.pictures import ClassMeans, PairSheet, overlay_file, photo_file, save_overlays
from stages.gradcam.predictor import predictor
from stages.gradcam.randomised import correlations
from stages.gradcam.subject import Subject, choose_subject
from stages.gradcam.targets import score_of_classes, score_of_numbers

FOLDER = REPORTS / "gradcam"
_RANDOMISED = 32
"""Images on which maps of the trained and of random models are compared."""


def main(params: Params) -> None:
    """Draw heat maps, tabulate where their heat lies, and measure whether to believe them."""
    knobs = params.gradcam
    make_deterministic(params.tensorflow.threads, seed=0)
    predictions, model = read_table(PREDICTIONS), load(MODEL)
    outputs = model.get_layer("logits").output.shape[1]
    subject = choose_subject(predictions, outputs, params)
    layers = chosen_layers(model, knobs.layer)
    methods = list(dict.fromkeys([knobs.method, *knobs.compared]))
    maps = HeatMaps(model, layers, methods)
    map_size = maps(subject.take(slice(0, 1)), subject.weights[:1])[knobs.method].shape[1:]
    score = score_of_numbers(predictions) if "residual" in predictions else score_of_classes
    faithfulness = Faithfulness(predictor(model, params.tensorflow.threads), maps, score)
    shutil.rmtree(FOLDER, ignore_errors=True)
    places, measured = explain(subject, maps, faithfulness, knobs.measured)
    zero = places.groupby("method", sort=False)["zero"].sum().astype(int).to_dict()
    first = places[places["method"] == knobs.method].drop(columns=["id", "method"])
    first = first.reset_index(drop=True)
    summary = summarise(subject, first, predictions, "+".join(layers), knobs.method)
    write_table(places.sort_values("id", kind="stable"), FOLDER / "attention.csv")
    write_table(summary.sort_values("id"), FOLDER / "summary.csv")
    write_table(by_class(summary, subject.classes), FOLDER / "classes.csv")
    write_table(measured.sort_values("id", kind="stable"), FOLDER / "faithfulness.csv")
    few = places["id"].isin(measured["id"])
    compared = compare(measured, places[few].groupby("method")["zero"].sum().astype(int).to_dict())
    write_table(compared, FOLDER / "methods.csv")
    randomised = compare_with_random(subject, model, layers, methods)
    write_table(randomised, FOLDER / "randomised.csv")
    of_first = randomised[randomised["method"] == knobs.method]
    facts = {
        "method": knobs.method,
        "layer": "+".join(layers),
        "images": len(summary),
        "zero": zero,
        "target": knobs.target,
        "map_size": list(map_size),
        "beats_controls": judgement(compared),
        "randomised_correlation": float(of_first["correlation"].iloc[-1]),
        "suspicious": int((summary["suspicion"] > SUSPICIOUS).sum()),
    }
    write_json(facts, FOLDER / "summary.json")
    _log(facts)


def chosen_layers(model: keras.Model, layer: str | list[str]) -> list[str]:
    """The layers that params name, or the last convolution."""
    if layer == "auto":
        return [last_convolution(model)]
    return [layer] if isinstance(layer, str) else layer


def explain(
    subject: Subject, maps: HeatMaps, faithfulness: Faithfulness, measured: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw every map and measure those of the first images.

    Returns:
        `id`, `method` and where the heat of each map lies, as `attention` gives it, the method
        that is shown first in front; and what `faithfulness` measured.
    """
    sheet, means = PairSheet(), ClassMeans(subject.classes)
    places, rows = [], []
    for batch in tqdm(list(subject.batches()), desc="gradcam", unit="batch"):
        photos, weights = subject.take(batch), subject.weights[batch]
        heats = maps(photos, weights)
        for offset, image in enumerate(subject.images[batch].itertuples()):
            photo = photos[offset]
            of_image = {method: found[offset] for method, found in heats.items()}
            first = next(iter(of_image.values()))
            save_overlays(FOLDER, image.id, photo, of_image)
            sheet.add(_caption(image.label, image.predicted), photo, first)
            means.add(subject.classes[image.Index], photo, first)
            for method, heat in of_image.items():
                places.append({"id": image.id, "method": method, **attention(heat)})
            if image.Index < measured:
                rows += faithfulness(image.id, photo, weights[offset], of_image)
    save_photo(sheet.draw(), FOLDER / "overlays.jpg")
    save_photo(means.draw(), FOLDER / "classes.jpg")
    return pd.DataFrame(places), pd.DataFrame(rows)


def summarise(
    subject: Subject, places: pd.DataFrame, predictions: pd.DataFrame, layer: str, method: str
) -> pd.DataFrame:
    """One row for each image that is shown, in the order of `subject`."""
    names = ["id", "source", "label", "predicted", "residual", "confidence"]
    images = subject.images[[name for name in names if name in subject.images]]
    summary = pd.concat([images.assign(layer=layer, method=method), places], axis=1)
    residual = predictions.get("residual", pd.Series([0.0]))
    summary["suspicion"] = suspicion(summary, rmse=float(np.sqrt((residual**2).mean())))
    ids = summary["id"]
    summary["photo"] = [photo_file(FOLDER, one).as_posix() for one in ids]
    summary["file"] = [overlay_file(FOLDER, method, one).as_posix() for one in ids]
    return summary


def compare_with_random(
    subject: Subject, model: keras.Model, layers: list[str], methods: list[str]
) -> pd.DataFrame:
    """The maps of the first images against those of the model with random weights.

    Score-CAM takes as long as all else together, so it is compared only where it is shown first.
    """
    some = slice(0, _RANDOMISED)
    photos, weights = subject.take(some), subject.weights[some]
    maps = HeatMaps(model, layers, [one for one in methods if one in (methods[0], *METHODS)])
    return correlations(model, lambda: maps(photos, weights))


def _caption(label: str, predicted: str) -> str:
    return label if predicted == label else f"{label}, predicted {predicted or 'nothing'}"


def _log(facts: dict) -> None:
    beating = [name for name, beats in facts["beats_controls"].items() if beats]
    log(
        f"gradcam: {facts['images']} images explained by {facts['method']} of {facts['layer']}, "
        f"{facts['zero'][facts['method']]} maps zero, {facts['suspicious']} suspicious"
    )
    log(
        f"gradcam: better than both controls: {', '.join(beating) or 'none'}; correlation with "
        f"the maps of a random model {facts['randomised_correlation']:.2f}"
    )


if __name__ == "__main__":
    run(main)
