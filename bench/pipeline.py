"""Time every stage from raw photos to the report, with the params of the repository.

python bench/pipeline.py                                 # the sample photos
python bench/pipeline.py --data FOLDER --size 160        # a folder per class, at 160 x 160 px
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


def main() -> None:
    """Run the stages in a fresh folder, without any cache, and print seconds and scores."""
    arguments = parse_arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        set_up(project, arguments.data, arguments.size)
        seconds = {stage: run(project, stage) for stage in STAGES}
        test = json.loads((project / "reports/metrics.json").read_text())["test"]
        print((project / "reports/kfold/summary.csv").read_text())
    for stage, taken in seconds.items():
        print(f"{stage:9} {taken:6.1f} s")
    total = sum(seconds.values())
    print(f"{'together':9} {total:6.1f} s")
    print(json.dumps({"seconds": round(total, 1), "stages": seconds, "test": test}))


def parse_arguments(description: str) -> argparse.Namespace:
    """The photos and their size, for every measurement that runs stages."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a folder per class; default: the sample")
    parser.add_argument("--size", help="height and width of the images, e.g. 160 or 128,64")
    return parser.parse_args()


def set_up(project: Path, data: Path | None, size: str | None) -> None:
    """Copy the project and the photos into an empty folder."""
    copy_project(project, size)
    if data:
        shutil.copytree(data, project / "data/raw")
    else:
        subprocess.run([sys.executable, "data/sample.py"], cwd=project, check=True)


def copy_project(project: Path, size: str | None) -> None:
    """Copy the project into an empty folder, without photos."""
    for name in ["stages", "models/weights", "data/sample.py"]:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, project / name)
    shutil.copyfile(ROOT / "requirements.lock", project / "requirements.lock")
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    if size:
        params = re.sub(
            r"^  size: \[[^]]*\]",
            f"  size: [{size}]" if "," in size else f"  size: {size}",
            params,
            flags=re.M,
        )
    (project / "params.yaml").write_text(params, encoding="utf-8")


def run(project: Path, stage: str) -> float:
    """Run one stage as DVC would; seconds."""
    environment = {**os.environ, "DARKROOM_CACHE": str(project / ".cache")}
    start = time.perf_counter()
    command = [sys.executable, "-m", f"stages.{stage}"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{stage} failed: {done.stderr[-2000:]}")
    return round(time.perf_counter() - start, 1)


if __name__ == "__main__":
    main()
