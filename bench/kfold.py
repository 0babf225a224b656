"""Three candidates over five folds, against the plain Keras script that a user would write.

python bench/kfold.py                                    # the sample photos
python bench/kfold.py --data FOLDER --size 160           # a folder per class, at 160 x 160 px

Both get the same decoded photos and the same folds. The pipeline is timed from there to
reports/kfold/summary.csv: encode, split, augment, backbone, embed, kfold, without any cache, each
as a process of its own. The plain script (bench/plain_keras.py) is timed on one fit, which is
multiplied by candidates and folds. What a further candidate costs is measured by a second run with
more of them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pipeline
import yaml

FOLDS, EPOCHS, VARIANTS = 5, 10, 1
TIMED = ["encode", "split", "augment", "backbone", "embed", "kfold"]
CANDIDATES = {
    "linear": {"head": {"layers": []}, "optimizer": {"learning_rate": 0.001}},
    "hidden": {},
    "narrow": {"head": {"layers": [{"units": 64, "activation": "relu", "dropout": 0.3}]}},
}
FURTHER = {
    "tanh": {"head": {"layers": [{"units": 256, "activation": "tanh", "dropout": 0.5}]}},
    "faster": {"optimizer": {"learning_rate": 0.001}},
    "plain": {"head": {"layers": [], "dropout": 0}},
}


def main() -> None:
    """Time both, and print seconds, ratio and accuracies."""
    arguments = pipeline.parse_arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        pipeline.set_up(project, arguments.data, arguments.size)
        choose(project, CANDIDATES)
        print(f"ingest    {pipeline.run(project, 'ingest'):6.1f} s (not counted)")
        seconds = {stage: pipeline.run(project, stage) for stage in TIMED}
        for stage, taken in seconds.items():
            print(f"{stage:9} {taken:6.1f} s")
        summary = pd.read_csv(project / "reports/kfold/summary.csv")
        print(summary.to_string(index=False))
        each_further = time_further(project, seconds["kfold"])
        peer = run_peer(project)
    report(sum(seconds.values()), each_further, summary["mean"].mean(), peer)


def choose(project: Path, candidates: dict) -> None:
    """Set the candidates, and what must be the same on both sides."""
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["split"]["folds"], params["training"]["epochs"] = FOLDS, EPOCHS
    params["candidates"] = candidates
    # As in the plain script, the last layer alone; and fewer variants than the params have, since
    # ten epochs show each image only ten times.
    params["features"] = {"whole": {"backbone": "lite0", "pooling": "avg"}}
    params["augment"]["variants"] = VARIANTS
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def time_further(project: Path, before: float) -> float:
    """Seconds that each further candidate adds to `kfold`, from a run without kept fits."""
    choose(project, CANDIDATES | FURTHER)
    shutil.rmtree(project / ".cache/fit_fold")
    return (pipeline.run(project, "kfold") - before) / len(FURTHER)


def run_peer(project: Path) -> dict[str, float]:
    """One fit of the plain script, on the arrays and folds of the pipeline."""
    table = pd.read_csv(project / "data/manifest.csv", dtype=str).merge(
        pd.read_csv(project / "data/splits.csv", dtype={"id": str}), on="id"
    )
    shards = {part: np.load(project / "data/images" / part) for part in table["part"].unique()}
    images = [shards[part][int(row)] for part, row in zip(table["part"], table["row"], strict=True)]
    codes = table["label"].astype("category").cat.codes.to_numpy(dtype="int64")
    arrays = project / "arrays.npz"
    np.savez(arrays, images=np.stack(images), codes=codes, fold=table["fold"].to_numpy())
    script = [sys.executable, str(Path(__file__).with_name("plain_keras.py")), arrays, str(EPOCHS)]
    environment = {**os.environ, "PYTHONPATH": str(pipeline.ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    done = subprocess.run(script, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("the plain script failed")
    fit = json.loads(done.stdout.splitlines()[-1])
    print(f"one fit of the plain script {time.perf_counter() - start:.1f} s")
    return fit


def report(seconds: float, each_further: float, accuracy: float, peer: dict[str, float]) -> None:
    """Print the comparison; the last line is JSON."""
    peer_candidate = peer["seconds"] * FOLDS
    peer_seconds = peer_candidate * len(CANDIDATES)
    print(f"pipeline      {seconds:8.1f} s  mean accuracy {accuracy:.4f}")
    print(f"plain script  {peer_seconds:8.1f} s  accuracy {peer['accuracy']:.4f} (one fit)")
    print(f"a further candidate {each_further:.1f} s against {peer_candidate:.1f} s")
    facts = {
        "ratio": round(peer_seconds / seconds, 1),
        "seconds": round(seconds, 1),
        "peer_seconds": round(peer_seconds, 1),
        "accuracy": round(accuracy, 4),
        "peer_accuracy": round(peer["accuracy"], 4),
        "candidate_ratio": round(peer_candidate / max(each_further, 0.1), 1),
        "candidate_seconds": round(each_further, 2),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
