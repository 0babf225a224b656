"""Stage `backbone`: pretrained networks become files of the project, so they are versioned too."""

import tempfile
from pathlib import Path

import numpy as np

from stages.common.backbones import build
from stages.common.determinism import make_deterministic
from stages.common.errors import InputError
from stages.common.files import publish
from stages.common.keras_files import load, save
from stages.common.log import log
from stages.common.params import Params
from stages.common.paths import BACKBONES
from stages.common.stage import run


def main(params: Params) -> None:
    """Build every entry of `backbones` for the size and colour of the images."""
    make_deterministic(params.tensorflow.threads, seed=0)
    shape = params.ingest.image_shape
    with tempfile.TemporaryDirectory() as folder:
        for name, backbone in params.backbones.items():
            try:
                model = build(backbone.network, backbone.weights, shape, seed=backbone.seed)
            except InputError as error:
                raise InputError(f"backbones.{name}: {error}") from None
            path = Path(folder, f"{name}.keras")
            save(model, path)
            _check(model, path)
            log(f"backbone: {name} is {backbone.network}, {model.count_params():,} parameters")
        publish([(path, Path(path.name)) for path in sorted(Path(folder).iterdir())], BACKBONES)


def _check(model, path: Path) -> None:
    """The saved network must say what the built one says, and say numbers."""
    image = np.random.default_rng(0).integers(0, 256, (1, *model.input_shape[1:]), np.uint8)
    expected, saved = model(image).numpy(), load(path)(image).numpy()
    if not (np.isfinite(expected).all() and np.array_equal(expected, saved)):
        raise InputError(
            f"backbones.{path.stem}: expected finite features that stay the same when saved, "
            "received others; the weights file is damaged or of another network"
        )


if __name__ == "__main__":
    run(main)
