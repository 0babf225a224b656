"""What a scheduler costs: two workers of a Dask cluster against two processes of this machine.

python bench/clusters.py                                 # 5,000 drawn photos of 224 px
python bench/clusters.py --data FOLDER --images 3000     # photos of your own

Stages `ingest`, `augment` (one variant) and `embed`, each with an empty cache, in turns; medians of
the rounds. The workers are warm in all rounds but the first, which does not count: each has
loaded what the stages need, as those of a cluster have that serves a team.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":  # as a script, Python looks for modules beside it alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from bench import pipeline
from bench.common import argument_parser, seconds_in_turns
from bench.drawn import draw_photos
from tests.clusters import dask_cluster

STAGES = ["ingest", "augment", "embed"]
ROUNDS = 3
LIMIT = 1.1


def main() -> None:
    """Time the stages on both engines and print the ratios; the last line is JSON."""
    parser = argument_parser(__doc__, images=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        _set_up(project, arguments)
        with dask_cluster(Path(folder, "dask"), [{}, {}]) as cluster:
            seconds = {stage: _seconds(project, stage, cluster.engine) for stage in STAGES}
    seconds["together"] = [sum(one) for one in zip(*seconds.values(), strict=True)]
    ratios = {stage: there / here for stage, (here, there) in seconds.items()}
    print("           2 processes   2 workers of Dask   ratio")
    for stage, (here, there) in seconds.items():
        print(f"{stage:9}{here:11.2f} s{there:17.2f} s{ratios[stage]:11.3f}")
    print(json.dumps({"ratios": ratios, "within_limit": ratios["together"] < LIMIT}))


def _set_up(project: Path, arguments) -> None:
    photos = arguments.data
    if photos is None:
        photos = project.parent / "photos"
        draw_photos(photos, arguments.images, 224)
    height, width = arguments.size
    pipeline.set_up(project, photos, f"{height},{width}")
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["augment"]["variants"] = 1
    params["features"] = {"whole": {"backbone": "lite0"}}
    params["candidates"] = {"linear": {"head": {"layers": []}}}
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    for stage in ["ingest", "encode", "split", "augment", "backbone", "embed"]:
        _run(project, stage, "local")


def _seconds(project: Path, stage: str, engine: str) -> list[float]:
    def work(engine: str) -> None:
        # All but the exported network, which one process makes, on whatever engine.
        for kept in (project / ".cache").glob("*_shard"):
            shutil.rmtree(kept)
        _run(project, stage, engine)

    return seconds_in_turns(lambda: work("local"), lambda: work(engine), rounds=ROUNDS)


def _run(project: Path, stage: str, engine: str) -> None:
    settings = {"DARKROOM_WORKERS": "2", "DARKROOM_ENGINE": engine}
    environment = {**os.environ, "DARKROOM_CACHE": str(project / ".cache"), **settings}
    command = [sys.executable, "-m", f"stages.{stage}"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{stage} failed: {done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
