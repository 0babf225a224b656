"""Stage `encode`: the class of each image becomes the numbers that a network is trained on."""

import pandas as pd

from stages.common.encoding import encode
from stages.common.errors import InputError
from stages.common.params import Params
from stages.common.paths import CLASSES, MANIFEST, TARGETS
from stages.common.stage import log, run
from stages.common.tables import read_table, write_json, write_table


def main(params: Params) -> None:
    """Encode the labels of the manifest."""
    manifest = read_table(MANIFEST)
    # Sorted text: the same classes have the same codes, whatever order the photos came in.
    classes = sorted(manifest["label"].unique())
    if len(classes) < 2:
        raise InputError(
            f"{MANIFEST}: expected at least two classes, found {classes}; "
            "put the photos of each class into a folder of its own"
        )
    encoder = params.encode.encoder
    targets = encode(manifest["label"].to_numpy(), classes, encoder)
    names = ["target"] if targets.shape[1] == 1 else [f"target_{name}" for name in classes]
    table = pd.DataFrame(targets, columns=names)
    table.insert(0, "id", manifest["id"])
    write_table(table, TARGETS)
    task = "binary" if len(classes) == 2 else "multiclass"
    write_json({"task": task, "encoder": encoder, "classes": classes}, CLASSES)
    log(f"encode: {len(table)} images, {len(classes)} classes ({encoder})")


if __name__ == "__main__":
    run(main)
