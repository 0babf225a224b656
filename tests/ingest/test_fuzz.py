"""Damaged pictures and archives: none stops the work, hangs, or writes anywhere.

The files are made and worked on in a process of their own, because a decoder that crashes would end
the tests with it. `python tests/ingest/test_fuzz.py FOLDER SEED` does one of them again.
"""

import faulthandler
import io
import os
import random
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from stages.common.params import Limits
from stages.common.photos import image_id
from stages.ingest.develop_shard import develop_shard
from stages.ingest.find_sources import find_sources

ROOT = Path(__file__).resolve().parents[2]
CASES = 2000
SECONDS = 10
SETTINGS = {
    "size": (16, 16),
    "color": "rgb",
    "fit": "stretch",
    "background": (255, 255, 255),
    "min_side": 1,
    "megapixels": 150,
}

OUTSIDE = "../../outside/escaped.jpg"
TABLE = b"path,label\na.jpg,cat\nb.png,dog\n" + b"".join(b"%d.jpg,cat\n" % n for n in range(200))


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pictures() -> dict[str, bytes]:
    """A picture in every format and every kind of pixels that Pillow writes here."""
    Image.init()
    random_pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    photo = Image.fromarray(random_pixels).resize((48, 40), Image.Resampling.BICUBIC)
    found = {"jpeg-progressive": saved(photo, "JPEG", progressive=True)}
    for format in sorted(Image.SAVE):
        for mode in ("RGB", "L", "1", "P", "RGBA", "CMYK", "I;16"):
            image = Image.new("I;16", (48, 40), 999) if mode == "I;16" else photo.convert(mode)
            try:
                found[f"{format}-{mode}"] = saved(image, format)
            except Exception:  # most formats have few kinds of pixels, some need a program
                continue
    return found


def zipped(members: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], mode: str, format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=format) as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
        archive.addfile(link)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def archives(images: dict[str, bytes]) -> dict[str, bytes]:
    """Archives with three pictures and a table, some of which try to be written elsewhere."""
    members = {
        "cats/a.jpg": images["JPEG-RGB"],
        f"{'dögs/' * 30}b.png": images["PNG-RGB"],
        "labels.csv": TABLE,
        OUTSIDE: images["JPEG-RGB"],
        "link/escaped.jpg": images["BMP-RGB"],
    }
    return {
        "stored.zip": zipped(members, zipfile.ZIP_STORED),
        "deflated.zip": zipped(members, zipfile.ZIP_DEFLATED),
        "pax.tar": tarred(members, "w", tarfile.PAX_FORMAT),
        "gnu.tar": tarred(members, "w", tarfile.GNU_FORMAT),
        "pax.tar.gz": tarred(members, "w:gz", tarfile.PAX_FORMAT),
        "gnu.tgz": tarred(members, "w:gz", tarfile.GNU_FORMAT),
    }


def flip_bytes(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 1, 3, 20])):
        content[place(content, draw)] = draw.randrange(256)


def cut(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    del content[start : draw.choice([len(content), start + draw.randrange(1, 600)])]


def insert(content: bytearray, draw: random.Random) -> None:
    start = place(content, draw)
    content[start:start] = draw.choice([draw.randbytes(draw.randrange(1, 600)), bytes(512)])


def set_length(content: bytearray, draw: random.Random) -> None:
    """Some number becomes a very large, very small or negative one."""
    size = draw.choice([1, 2, 4, 8])
    value = draw.choice([0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), draw.randrange(2**size)])
    start = place(content, draw)
    content[start : start + size] = value.to_bytes(size, draw.choice(["little", "big"]))


def swap(content: bytearray, draw: random.Random) -> None:
    size = draw.choice([2, 4, 4, 8, 100])
    first, second = place(content, draw), place(content, draw)
    piece, other = content[first : first + size], content[second : second + size]
    content[first : first + size] = other
    content[second : second + size] = piece


def set_digits(content: bytearray, draw: random.Random) -> None:
    """Some digits of a number that is written as text, as in the headers of a tar, change."""
    digits = [at for at, byte in enumerate(content) if 48 <= byte <= 57] or [0]
    start = draw.choice(digits)
    length = draw.randrange(1, 12)
    content[start : start + length] = bytes(draw.choice(b"0123456789-") for _ in range(length))


def place(content: bytearray, draw: random.Random) -> int:
    """Mostly at the start or end, where headers and lists are."""
    size = max(len(content), 1)
    near = min(draw.choice([size, size, 64, 600]), size)
    return draw.choice([draw.randrange(near), size - 1 - draw.randrange(near)])


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(flip_bytes, cut, insert, set_length, swap, set_digits),
)


def damage(seed: int, images: dict[str, bytes], packed: dict[str, bytes]) -> tuple[str, bytes, str]:
    """A damaged file: its name, its bytes and what was done to it."""
    draw = random.Random(seed)
    name = draw.choice(sorted(draw.choice([images, packed])))
    content, done = bytearray((images | packed)[name]), []
    for mutation in draw.choices(MUTATIONS, k=draw.choice([1, 1, 2])):
        if content:
            mutation(content, draw)
            done.append(mutation.__name__)
    return name, bytes(content), f"seed {seed}: {name} with {' and '.join(done)}"


class Watch:
    """Notes whatever writes, starts a program or calls another machine while it is on.

    Python reports such events; they are noted and not refused, as a decoder may hide a refusal.
    """

    EVENTS = ("subprocess.", "socket.", "shutil.", "tempfile.", "ftplib.", "urllib.")
    CALLS = frozenset(
        f"os.{name}"
        for name in (
            *("chmod", "chown", "exec", "fork", "kill", "link", "mkdir", "posix_spawn", "remove"),
            *("rename", "rmdir", "setxattr", "spawn", "symlink", "system", "truncate", "utime"),
        )
    )

    def __init__(self) -> None:
        self.on = False
        self.noted: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in self.CALLS or event.startswith(self.EVENTS):
            self.noted.append(f"{event} {arguments}")


def work(raw: Path) -> None:
    """What the stage does with each file, after which nothing but OSError may be wrong."""
    readable, originals = [], []
    for source in find_sources(raw, Limits())[0]:
        try:
            content = source.read()
        except OSError:
            continue
        readable.append(source)
        originals.append(image_id(content).encode())
        with source.open() as stream:
            stream.seek(len(content) // 2)
            assert stream.read() == content[len(content) // 2 :]
    shard = develop_shard(readable, originals, **SETTINGS)
    assert len(shard["rejected"]) == len(readable)


def work_on_all(folder: Path, seeds: Iterable[int]) -> None:
    """Say what comes next, and do it; ends the process if it takes too long."""
    images = pictures()
    packed = archives(images)
    watch = Watch()
    for seed in seeds:
        name, content, what = damage(seed, images, packed)
        print(what, flush=True)
        raw = folder / str(seed)
        raw.mkdir()
        (raw / name).write_bytes(content)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        watch.on = True
        work(raw)
        watch.on = False
        faulthandler.cancel_dump_traceback_later()
        assert not watch.noted, watch.noted
        assert [file.name for file in raw.iterdir()] == [name]


def files(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_damaged_files_stop_nothing_and_write_nothing(tmp_path):
    outside, work_folder = tmp_path / "outside", tmp_path / "work"
    for name in ("escaped.jpg", "folder/canary"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_text("as it was")
    work_folder.mkdir()
    before = files(outside)
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(outside))
    done = subprocess.run(
        [sys.executable, "-B", __file__, str(work_folder), *map(str, range(CASES))],
        cwd=outside,
        env={**os.environ, **places, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    began = done.stdout.splitlines()
    assert done.returncode == 0, f"{began[-1:]}\n{done.stderr[-3000:]}"
    assert len(began) == CASES
    assert files(outside) == before


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    work_on_all(Path(sys.argv[1]), map(int, sys.argv[2:]))
