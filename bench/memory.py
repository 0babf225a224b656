"""The memory of each stage at 10,000 and at 40,000 images: it must not grow with their number.

python bench/memory.py
python bench/memory.py --images 1000 4000                # a smaller one

The images are drawn, 32 x 32 px, with one variant, one candidate, two folds and two epochs, and
every test image (a tenth of them, up to 5,000) is explained; the other params are those of the
repository. What is measured is the memory that a stage asked for itself, of all its processes
together, at its peak: see peaks.py.
"""

import argparse
import json
import tempfile
from pathlib import Path

import pipeline
import yaml
from drawn import draw_photos
from peaks import run_stage

SIZE = 32
LIMIT = 1.3


def main() -> None:
    """Run all stages on each number of images and print megabytes; the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs=2, default=[10_000, 40_000], help="how many")
    few, many = parser.parse_args().images
    peaks = {images: _peaks(images) for images in (few, many)}
    ratios = {stage: peaks[many][stage] / peaks[few][stage] for stage in pipeline.STAGES}
    print(f"\nmegabytes of {few:9,}{many:12,}   ratio")
    for stage, ratio in ratios.items():
        over = "" if ratio < LIMIT else f"   more than {LIMIT}"
        print(f"{stage:9}{peaks[few][stage]:13.0f}{peaks[many][stage]:12.0f}{ratio:8.2f}{over}")
    facts = {
        "ratios": {stage: round(ratio, 3) for stage, ratio in ratios.items()},
        "within_limit": max(ratios.values()) < LIMIT,
        "megabytes": {
            str(images): {k: round(v) for k, v in of.items()} for images, of in peaks.items()
        },
    }
    print(json.dumps(facts))


def _peaks(images: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        photos, project = Path(folder, "photos"), Path(folder, "project")
        draw_photos(photos, images, SIZE)
        pipeline.set_up(project, photos, str(SIZE))
        _make_short(project / "params.yaml")
        peaks = {}
        for stage in pipeline.STAGES:
            peak = run_stage(project, stage)
            peaks[stage] = peak.together
            print(f"{images:6} {stage:9}{peak.together:7.0f} MB {peak.seconds:6.1f} s", flush=True)
        return peaks


def _make_short(path: Path) -> None:
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["augment"]["variants"] = 1
    params["features"] = {"whole": {"backbone": "lite0"}}
    params["candidates"] = {"linear": {"head": {"layers": []}}}
    params["split"]["folds"] = params["training"]["epochs"] = 2
    params["gradcam"] |= {"images": 5000, "measured": 10}
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()
