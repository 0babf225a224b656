"""Time per image and memory per process at 20,000 and at 200,000 images: neither may grow.

python bench/scale.py
python bench/scale.py --images 2000 20000 --photos 100 300      # a smaller one

The images are drawn, 32 x 32 px, with one variant and a small network (the first blocks of the
default one) and about 256 images in a shard; the other params are those of the repository. The
memory is that of each process by itself, the largest of a stage: see peaks.py. The time is that of
the processors, which other work on the machine changes little; the seconds that passed stand beside
it.

Then the stages up to kfold run on two numbers of photos of 224 x 224 px, with the params of the
repository but for one variant. The difference tells what a further image costs in each stage, how
much of that is done by the main process and how much by workers, and how many bytes it takes. With
the exponent of the search for repeats, measured on the small images, this gives a table of hours
and bytes for millions of images on clusters. It assumes that all workers are as fast as those
measured, and that disks and networks keep up.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from drawn import draw_photos
from peaks import Peak, run_stage
from pipeline import ROOT, copy_project

sys.path.insert(0, str(ROOT))

from stages.ingest.duplicates import find_groups

SMALL, LARGE = 32, 224
# Of `backbone` no part depends on the images.
SPREAD = ["ingest", "augment", "embed"]
# What comes after learns from the features, for as many epochs as the params say.
COSTED = ["ingest", "encode", "split", "augment", "backbone", "embed", "kfold"]
TIME_LIMIT, MEMORY_LIMIT = 1.2, 1.3
CORES = 16
MILLIONS, NODES = [1, 10, 100], [1, 10, 100]


def main() -> None:
    """Print the tables; the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs=2, default=[20_000, 200_000], help="of 32 px")
    parser.add_argument("--photos", type=int, nargs=2, default=[1000, 3000], help="of 224 px")
    arguments = parser.parse_args()
    growth, search = _growth(*arguments.images)
    costs, sizes = _costs(*arguments.photos)
    hours = _print_table(costs, sizes, search)
    facts = {
        "images": arguments.images,
        "photos": arguments.photos,
        "growth": growth,
        "within_limits": all(
            one["cpu_ratio"] <= TIME_LIMIT and one["memory_ratio"] <= MEMORY_LIMIT
            for one in growth.values()
        ),
        "search": search,
        "milliseconds": costs,
        "bytes": sizes,
        "hours": hours,
    }
    print(json.dumps(facts))


def _growth(few: int, many: int) -> tuple[dict[str, dict], dict[str, float]]:
    """How time and memory of small images grow with their number, and the search for repeats."""
    small, large = (_run_small(images) for images in (few, many))
    print(f"\n{'':9}ms an image, processors     passed  MB of the largest process")
    print(f"{'':9}{few:>8,}{many:>9,} ratio {few:>8,}{many:>9,} {few:>8,}{many:>9,} ratio")
    growth = {}
    for stage in SPREAD:
        one, other = small[stage], large[stage]
        cpu = [1000 * sum(peak[-2:]) / count for peak, count in ((one, few), (other, many))]
        passed = [1000 * one.seconds / few, 1000 * other.seconds / many]
        cpu_ratio, memory_ratio = cpu[1] / cpu[0], other.largest / one.largest
        print(
            f"{stage:9}{cpu[0]:8.3f}{cpu[1]:9.3f}{cpu_ratio:6.2f} {passed[0]:8.3f}{passed[1]:9.3f} "
            f"{one.largest:8.0f}{other.largest:9.0f}{memory_ratio:6.2f}"
        )
        growth[stage] = {
            "cpu_milliseconds": [round(value, 3) for value in cpu],
            "milliseconds": [round(value, 3) for value in passed],
            "cpu_ratio": round(cpu_ratio, 3),
            "time_ratio": round(passed[1] / passed[0], 3),
            "megabytes": [round(one.largest), round(other.largest)],
            "memory_ratio": round(memory_ratio, 3),
        }
    seconds = [small["search"], large["search"]]
    exponent = math.log(seconds[1] / seconds[0]) / math.log(many / few)
    print(f"repeats among {few:,} and {many:,}: {seconds[0]:.2f} s, {seconds[1]:.2f} s")
    print(f"so they grow with the power {exponent:.2f} of the number of images")
    return growth, {"images": many, "seconds": round(seconds[1], 2), "exponent": round(exponent, 3)}


def _run_small(images: int) -> dict:
    """What each stage took, and the seconds of one core that the search for repeats took."""
    with tempfile.TemporaryDirectory() as folder:
        project = _project(Path(folder), images, SMALL, small=True)
        peaks = _run(project, ["ingest", "augment", "backbone", "embed"], images)
        return peaks | {"search": _search_seconds(project)}


def _search_seconds(project: Path) -> float:
    shards = (project / ".cache/develop_shard").glob("*/facts.npy")
    fingerprints = np.concatenate([np.load(shard)["fingerprint"] for shard in shards])
    start = time.process_time()  # of this process, whose BLAS keeps to one thread meanwhile
    find_groups(fingerprints, np.arange(len(fingerprints)))
    return time.process_time() - start


def _project(folder: Path, images: int, size: int, small: bool) -> Path:
    copy_project(folder, str(size))
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["augment"]["variants"] = 1
    if small:
        params["ingest"]["shard_images"] = 256
        params["features"] = {"whole": {"backbone": "lite0", "layers": ["block2b_add"]}}
        params["candidates"] = {"linear": {"head": {"layers": []}}}
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    draw_photos(folder / "data/raw", images, size)
    return folder


def _run(project: Path, stages: list[str], images: int) -> dict[str, Peak]:
    peaks = {}
    for stage in stages:
        peaks[stage] = peak = run_stage(project, stage)
        print(
            f"{images:8,} {stage:9}{peak.seconds:7.1f} s, processors {peak.main_cpu:6.1f} s and of "
            f"workers {peak.other_cpu:6.1f} s; {peak.main:5.0f} MB, the largest process "
            f"{peak.largest:.0f} MB",
            flush=True,
        )
    return peaks


def _costs(few: int, many: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """What a further photo costs: milliseconds of the main process and of workers; bytes."""
    seen, held = [], []
    for images in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            project = _project(Path(folder), images, LARGE, small=False)
            seen.append(_run(project, COSTED, images))
            raw = _bytes(project / "data/raw")
            written = _bytes(project / "data", project / ".cache") - raw
            held.append({"raw": raw, "written": written})
    more = many - few
    costs = {
        stage: [
            round(1000 * max(0, after - before) / more, 3)
            for before, after in zip(seen[0][stage][-2:], seen[1][stage][-2:], strict=True)
        ]
        for stage in COSTED
    }
    return costs, {part: round((held[1][part] - held[0][part]) / more) for part in held[0]}


def _bytes(*folders: Path) -> int:
    """Of all files; those of several names count once."""
    files = (file for folder in folders for file in folder.rglob("*"))
    facts = (file.stat() for file in files if file.is_file())
    return sum({one.st_ino: one.st_size for one in facts}.values())


def _print_table(
    costs: dict[str, list[float]], sizes: dict[str, int], search: dict[str, float]
) -> dict[str, dict[str, float]]:
    print(f"\nms of one core for a photo of {LARGE} px\n{'stage':9}{'main':>9}{'workers':>9}")
    for stage, (main_part, of_workers) in costs.items():
        print(f"{stage:9}{main_part:9.3f}{of_workers:9.3f}")
    print(f"bytes for a photo: {sizes['raw']:,} raw, {sizes['written']:,} written")
    nodes_said = "".join(f"{nodes:>9}" for nodes in NODES)
    print(f"\nhours on so many nodes of {CORES} cores\n  images{nodes_said}  repeats   TB written")
    hours: dict[str, dict[str, float]] = {}
    for millions in MILLIONS:
        images = millions * 1e6
        repeats = search["seconds"] * (images / search["images"]) ** search["exponent"] / 3600
        of_nodes = {
            str(nodes): sum(
                images * (main_part + of_workers / (nodes * CORES)) / 3.6e6
                for main_part, of_workers in (costs[stage] for stage in SPREAD)
            )
            + repeats
            for nodes in NODES
        }
        said = "".join(f"{of_nodes[str(nodes)]:9.1f}" for nodes in NODES)
        print(f"{millions:>7}M{said}{repeats:9.1f}{images * sizes['written'] / 1e12:13.2f}")
        hours[f"{millions}M"] = {name: round(value, 2) for name, value in of_nodes.items()}
    return hours


if __name__ == "__main__":
    main()
