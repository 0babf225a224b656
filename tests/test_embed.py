"""The stage: which files it writes, and that either engine will do."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

from stages.common import keras_files
from stages.common.files import file_digest

ROOT = Path(__file__).parents[1]
PARAMS = """
ingest: {size: 8}
encode: {}
split: {}
augment: {variants: 1}
backbones: {odd: {network: MobileNetV2, weights: none}}
features:
  pooled: {backbone: odd}
  partial: {backbone: odd, strategy: partial, cut: conv}
  raw: {backbone: odd, strategy: full}
  undecided: {backbone: odd, strategy: auto}
training: {features: pooled}
candidates: {plain: {}}
kfold: {}
finetune: {}
evaluate: {}
gradcam: {}
tensorflow: {threads: 2}
"""


def backbone_that_onnx_does_not_know() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(x)
    x = keras.layers.Conv2D(4, 3, activation="tanh", name="conv")(x)
    x = keras.ops.erfinv(0.9 * x)  # tf2onnx has no Erfinv
    return keras.Model(image, keras.layers.ReLU(name="last")(x), name="odd")


def write_project(folder: Path, backbone: keras.Model) -> None:
    random = np.random.default_rng(0)
    digests = "variant,part,digest\n"
    for part in ("part-1.npy", "part-2.npy"):
        for images in (folder / "data/images", folder / "data/augmented/v1"):
            images.mkdir(parents=True, exist_ok=True)
            np.save(images / part, random.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8))
        digests += f"v1,{part},{file_digest(images / part)}\n"
    (folder / "data/augmented.csv").write_text(digests)
    keras_files.save(backbone, folder / "models/backbones/odd.keras")
    (folder / "params.yaml").write_text(PARAMS)


def run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python with one worker."""
    environment = {"PYTHONPATH": str(ROOT), "DARKROOM_WORKERS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | environment | {"DARKROOM_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )


def printed(folder: Path, script: str) -> list[str]:
    """The lines that a script prints; fails if it fails."""
    done = run_python(folder, "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_network_that_onnx_does_not_know_runs_in_tensorflow(tmp_path):
    backbone = backbone_that_onnx_does_not_know()
    write_project(tmp_path, backbone)
    done = run_python(tmp_path, "-m", "stages.embed")
    assert done.returncode == 0, done.stderr
    assert "'frozen' cannot be exported to ONNX" in done.stdout
    assert "raw has no frozen part" in done.stdout

    features = tmp_path / "data/features"
    written = sorted(path.relative_to(features) for path in features.rglob("*.npy"))
    assert [path.as_posix() for path in written] == [
        f"{name}/{variant}/part-{part}.npy"
        for name in ("partial", "pooled", "undecided")
        for variant in ("original", "v1")
        for part in (1, 2)
    ]
    images = np.load(tmp_path / "data/augmented/v1/part-2.npy")
    expected = np.asarray(backbone(images)).mean(axis=(1, 2))
    received = np.load(features / "pooled/v1/part-2.npy")
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-6)
    assert np.load(features / "partial/original/part-1.npy").shape == (5, 6, 6, 4)
    # Strategy auto chooses by the pooled features.
    np.testing.assert_array_equal(np.load(features / "undecided/v1/part-2.npy"), received)


def test_who_asks_for_features_may_train_with_other_threads(tmp_path):
    """As `finetune` does after a pull: the network must be exported, and then it trains."""
    image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(image)
    small = keras.Model(image, keras.layers.Conv2D(4, 3, name="conv")(x), name="odd")
    write_project(tmp_path, small)
    script = (
        "from stages.common.determinism import make_deterministic\n"
        "from stages.common.embedding import embed\n"
        "from stages.common.params import Features\n"
        "from stages.common.variants import image_shards\n"
        "found = embed('odd', Features(backbone='odd'), image_shards(None), None)\n"
        "make_deterministic(threads=2, seed=0)\n"
        "print(len(found['original']))\n"
    )
    assert printed(tmp_path, script)[-1] == "2"


def test_features_of_a_gpu_are_no_others_kept_under_the_same_name(tmp_path):
    write_project(tmp_path, backbone_that_onnx_does_not_know())
    script = (
        "from stages.common.embedding import _frozen_network\n"
        "from stages.common.params import Features\n"
        "for device in ('cpu', 'gpu', 'cpu'):\n"
        "    print(_frozen_network(Features(backbone='odd', device=device))[1])\n"
    )
    cpu, gpu, again = (line for line in printed(tmp_path, script) if line.endswith(".keras"))
    assert cpu == again != gpu
