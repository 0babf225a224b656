"""What 1 % more images cost: `ingest`, `augment` and `embed` of 10,000 images, then of 100 more.

python bench/increment.py
python bench/increment.py --images 2000 --added 20       # a smaller one

The images are drawn, 64 x 64 px; the params are those of the repository but for the size. What is
added stands in a folder of its own. Imports and worker processes cost the same however few images
there are. So the same stages run on a project of a few images too, the first time and with some
more, and what these runs take is subtracted: from the first time with the network's export, which
is done once, and from the others without.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pipeline
import yaml
from drawn import CLASSES, draw_photos

SIZE = 64
STAGES = ["ingest", "augment", "embed"]
FEW = 60
LIMIT = 0.06
Seconds = dict[str, float]


def main() -> None:
    """Time the runs in turn and print their seconds; the last line is JSON with the ratio."""
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        few = _project(Path(folder, "few"), FEW)
        many = _project(Path(folder, "many"), arguments.images)
        runs = {
            "few images, first time": _run(few),
            "few images, some more": _add(few, "day-2", len(CLASSES)),
            "all, first time": _run(many),
            "some added": _add(many, "day-2", arguments.added),
            "some added again": _add(many, "day-3", arguments.added),
            "nothing changed": _run(many),
        }
    _report(runs, arguments)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000, help="how many at first")
    parser.add_argument("--added", type=int, default=100, help="how many are added each time")
    return parser.parse_args()


def _project(folder: Path, images: int) -> Path:
    photos = folder.with_suffix(".photos")
    draw_photos(photos / "day-1", images, SIZE, seed=1)
    pipeline.set_up(folder, photos, str(SIZE))
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["ingest"]["class_folder"] = "last"  # data/raw/<day>/<class>/
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    pipeline.run(folder, "backbone")
    return folder


def _add(project: Path, day: str, images: int) -> Seconds:
    draw_photos(project / "data/raw" / day, images, SIZE, seed=int(day.removeprefix("day-")))
    return _run(project)


def _run(project: Path) -> Seconds:
    environment = {**os.environ, "DARKROOM_CACHE": str(project / ".cache")}
    seconds = {}
    for stage in STAGES:
        start = time.perf_counter()
        command = [sys.executable, "-m", f"stages.{stage}"]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
        seconds[stage] = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"{stage} failed: {done.stderr[-2000:]}")
    return seconds


def _report(runs: dict[str, Seconds], arguments: argparse.Namespace) -> None:
    print(f"seconds{'':19}{''.join(f'{stage:>9}' for stage in STAGES)}  together")
    for name, seconds in runs.items():
        each = "".join(f"{seconds[stage]:9.2f}" for stage in STAGES)
        print(f"{name:26}{each}{sum(seconds.values()):10.2f}")
    start, again, first, added, further, unchanged = [sum(one.values()) for one in runs.values()]
    ratio = ((added + further) / 2 - again) / (first - start)
    print(
        f"\n({(added + further) / 2:.2f} - {again:.2f}) / ({first:.2f} - {start:.2f}) = {ratio:.3f}"
    )
    facts = {
        "ratio": round(ratio, 4),
        "within_limit": ratio <= LIMIT,
        "first": round(first, 2),
        "added": [round(added, 2), round(further, 2)],
        "unchanged": round(unchanged, 2),
        "start_up": [round(start, 2), round(again, 2)],
        "images": arguments.images,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
