"""Variants as the stage left them, or computed again: the right bytes, or none at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stages import augment as stage
from stages.common.errors import InputError
from stages.common.features import open_rows
from stages.common.params import Augment
from stages.common.shards import read_shard
from stages.common.tables import read_table
from stages.common.variants import image_shards, variant_shards

ROOT = Path(__file__).parents[2]
OPTIONS = {"variants": 2, "rotation_range": 20.0, "horizontal_flip": True}
ALL = ["variant-1/one.npy", "variant-1/two.npy", "variant-2/one.npy", "variant-2/two.npy"]


@pytest.fixture(autouse=True)
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write five images in two shards, as `ingest` does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_WORKERS", "1")
    Path("data/images").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 16, 3), np.uint8)
    np.save("data/images/one.npy", pixels[:3])
    np.save("data/images/two.npy", pixels[3:])
    index = {"id": list("abcde"), "part": ["one.npy"] * 3 + ["two.npy"] * 2, "row": [0, 1, 2, 0, 1]}
    pd.DataFrame(index).to_csv("data/images/index.csv", index=False)


def run_stage(**options: object) -> Augment:
    augment = Augment(**OPTIONS | options)
    stage.main(SimpleNamespace(augment=augment))
    return augment


def kept() -> dict[str, bytes]:
    """What lies in data/augmented."""
    folder = Path("data/augmented")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def rewrite(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def test_what_the_stage_left_is_used_as_it_is(capsys):
    augment = run_stage()
    assert list(kept()) == ALL
    shutil.rmtree(".cache")
    shutil.rmtree("data/images")  # nothing could be computed
    capsys.readouterr()
    shards = variant_shards(augment)
    assert [path.as_posix() for of_variant in shards.values() for path in of_variant.values()] == [
        f"data/augmented/{name}" for name in ALL
    ]
    assert read_shard(shards["variant-2"]["one.npy"]).shape == (3, 12, 16, 3)
    assert capsys.readouterr().out == ""


def remove_a_file() -> None:
    Path("data/augmented/variant-2/one.npy").unlink()


def remove_a_variant() -> None:
    shutil.rmtree("data/augmented/variant-2")


def remove_all() -> None:
    shutil.rmtree("data/augmented")


def cut_a_file_short() -> None:
    path = Path("data/augmented/variant-1/two.npy")
    rewrite(path, path.read_bytes()[:-1])


def exchange_two_files() -> None:
    folder = Path("data/augmented")
    (folder / "variant-1").rename(folder / "aside")
    (folder / "variant-2").rename(folder / "variant-1")
    (folder / "aside").rename(folder / "variant-2")


def change_the_pixels() -> None:
    path = Path("data/augmented/variant-1/one.npy")
    content = path.read_bytes()
    rewrite(path, content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("cache", ["with cache", "without cache"])
@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (remove_a_file, 1),
        (remove_a_variant, 2),
        (remove_all, 4),
        (cut_a_file_short, 1),
        (exchange_two_files, 4),
        (change_the_pixels, 1),
    ],
)
@pytest.mark.parametrize("rescale", [None, 1 / 255])
def test_what_is_missing_or_not_itself_is_put_back(damage, lost, rescale, cache, capsys):
    augment = run_stage(rescale=rescale)
    expected = kept()
    damage()
    assert kept() != expected
    if cache == "without cache":
        shutil.rmtree(".cache")
    capsys.readouterr()
    variant_shards(augment)
    assert kept() == expected
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    computed = sum(int(line[line.index("computed") + 1]) for line in lines)
    asked = sum(int(line[line.index("of") + 1]) for line in lines)
    assert (computed, asked) == (0 if cache == "with cache" else lost, lost)


def test_variants_of_another_revision_are_never_used():
    first = run_stage(variants=1, seed=1)
    table, expected = Path("data/augmented.csv").read_bytes(), kept()
    run_stage(variants=2, seed=2)
    assert set(kept()) == set(ALL)
    assert kept()["variant-1/one.npy"] != expected["variant-1/one.npy"]
    # As `git checkout` and `dvc checkout` leave it.
    Path("data/augmented.csv").write_bytes(table)
    variant_shards(first)
    assert kept() == expected


def test_the_stage_removes_what_is_no_variant_any_more():
    run_stage(variants=2)
    run_stage(variants=1)
    assert list(kept()) == ALL[:2]
    assert not Path("data/augmented/variant-2").exists()


def test_no_variants_are_none():
    run_stage(variants=2)
    augment = run_stage(variants=0)
    assert len(read_table(Path("data/augmented.csv"))) == 0
    assert kept() == {}
    assert list(image_shards(augment)) == ["original"]


def test_variants_that_cannot_be_those_of_the_table_are_refused():
    run_stage()
    for options in ({"seed": 7}, {"variants": 1}):
        shutil.rmtree("data/augmented/variant-2")
        with pytest.raises(InputError, match=r"^data/augmented.csv: .*variant-2/one.npy.*repro"):
            variant_shards(Augment(**OPTIONS | options))
        run_stage()
    np.save("data/images/two.npy", np.zeros((2, 12, 16, 3), np.uint8))
    shutil.rmtree("data/augmented")
    with pytest.raises(InputError, match=r"variant-1/two.npy") as raised:
        variant_shards(Augment(**OPTIONS))
    assert "\n" not in str(raised.value)
    assert kept() == {}


def test_without_a_table_the_stage_is_asked_for():
    with pytest.raises(InputError, match=r"data/augmented.csv: .* run dvc repro"):
        variant_shards(Augment(**OPTIONS))


def test_a_kept_file_is_that_of_the_local_cache_and_cannot_be_written_to():
    run_stage()
    files = [Path("data/augmented", name) for name in ALL]
    cached = {path.stat().st_ino for path in Path(".cache").rglob("images.npy")}
    assert {path.stat().st_ino for path in files} == cached
    assert all(path.stat().st_mode & 0o222 == 0 for path in files)


def test_where_files_cannot_be_linked_they_are_copied(monkeypatch):
    augment = run_stage()
    expected = kept()

    def refuse(source: Path, target: Path) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    shutil.rmtree("data/augmented")
    variant_shards(augment)
    assert kept() == expected
    assert all(path.stat().st_nlink == 1 for path in Path("data/augmented").rglob("*.npy"))


def test_two_processes_may_put_back_at_once():
    augment = run_stage()
    expected = kept()
    shutil.rmtree("data/augmented")
    shutil.rmtree(".cache")
    script = (
        "from stages.common.params import Augment\n"
        "from stages.common.variants import variant_shards\n"
        f"variant_shards(Augment(**{augment.model_dump()!r}))\n"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert kept() == expected


def test_images_and_variants_are_read_as_a_network_wants_them():
    # A shift by whole pixels, so what a variant holds is known.
    options = {"rotation_range": 0, "horizontal_flip": False, "rescale": 1 / 255}
    augment = run_stage(variants=1, width_shift_range=[4], **options)
    manifest = pd.DataFrame({"part": ["two.npy", "one.npy", "one.npy"], "row": [1, 2, 0]})
    rows = open_rows(list(image_shards(augment).values()), manifest, augment.rescale)
    taken = rows.take(np.array([0, 1, 1]), np.array([0, 1, 0]))
    assert (rows.variants, rows.shape, taken.dtype) == (2, (12, 16, 3), np.uint8)
    one, two = np.load("data/images/one.npy"), np.load("data/images/two.npy")
    assert np.array_equal(taken[0], two[1])
    assert np.array_equal(taken[2], one[2])
    left, right = taken[1][:, :12], taken[1][:, 4:]
    assert np.array_equal(left, one[2][:, 4:]) or np.array_equal(right, one[2][:, :12])
    alone = open_rows(list(image_shards(None).values()), manifest)
    assert alone.variants == 1
