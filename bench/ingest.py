"""Images a second of the stage `ingest`, against a bare loop over Pillow's decode and resize.

python bench/ingest.py                                   # the sample photos, and drawn ones
python bench/ingest.py --data FOLDER --size 160          # a folder per class, at 160 x 160 px

Both are processes of their own with as many workers (bench/bare_loop.py is the loop). The stage
also gives each photo its id, its place upright, its digest and its fingerprint, finds repeats, and
writes arrays and tables, without any cache. What both take for a few photos, their start-up, is
measured too, and given apart.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pipeline
from drawn import draw_photos

from stages.common.machine import worker_count
from stages.common.params import load_params

ROUNDS = 3
DRAWN, DRAWN_SIZE, FEW = 10_000, 64, 300


def main() -> None:
    """Time both on photos and on drawn images; the last line is JSON."""
    arguments = pipeline.parse_arguments(__doc__)
    print("images                     ours   bare loop   ratio   ratio without start-up")
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        pipeline.set_up(photos, arguments.data, arguments.size)
        drawn = _drawn_project(Path(folder, "drawn"), DRAWN)
        few = _drawn_project(Path(folder, "few"), FEW)
        start = _measure(few)
        facts = {
            "photos": _compare("photos", photos, start),
            "drawn": _compare(f"drawn, {DRAWN_SIZE} px", drawn, start),
            "start_up": [round(seconds, 2) for seconds in start],
            "workers": worker_count(),
        }
    print(json.dumps(facts))


def _drawn_project(folder: Path, images: int) -> Path:
    photos = folder.with_suffix(".photos")
    draw_photos(photos, images, DRAWN_SIZE)
    pipeline.set_up(folder, photos, str(DRAWN_SIZE))
    return folder


def _compare(name: str, project: Path, start: tuple[float, float]) -> dict[str, float]:
    count = sum(file.is_file() for file in (project / "data/raw").rglob("*"))
    ours, bare = _measure(project)
    facts = {
        "ratio": round(bare / ours, 2),
        "ratio_without_start_up": round((bare - start[1]) / (ours - start[0]), 2),
        "images": count,
        "seconds": round(ours, 2),
        "bare_seconds": round(bare, 2),
    }
    print(
        f"{count:6,} {name:16}{count / ours:8.0f}{count / bare:12.0f}{facts['ratio']:8.2f}"
        f"{facts['ratio_without_start_up']:8.2f}",
        flush=True,
    )
    return facts


def _measure(project: Path) -> tuple[float, float]:
    """Seconds of the stage and of the bare loop: medians of rounds in turns."""
    height, width = load_params(project / "params.yaml").ingest.size
    script = str(Path(__file__).with_name("bare_loop.py"))
    loop = [sys.executable, script, "data/raw", str(height), str(width), str(worker_count())]
    ours, bare = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run(loop, cwd=project, check=True, stdout=subprocess.DEVNULL)
        bare.append(time.perf_counter() - start)
        for kept in (".cache", "data/images"):
            shutil.rmtree(project / kept, ignore_errors=True)
        start = time.perf_counter()
        pipeline.run(project, "ingest")
        ours.append(time.perf_counter() - start)
    return statistics.median(ours), statistics.median(bare)


if __name__ == "__main__":
    main()
