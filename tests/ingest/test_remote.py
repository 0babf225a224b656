"""Photos in an S3 store: the same bytes as from disk, a line for what fails, runs as DVC has it."""

import gzip
import io
import itertools
import os
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import s3fs
from PIL import Image

from stages.common.errors import InputError
from stages.common.params import Limits
from stages.ingest import stores
from stages.ingest.find_sources import find_sources
from tests.archives import tarred, zipped
from tests.conftest import Project, draw_photo, empty_project
from tests.servers import S3_KEY, S3_SECRET, s3_server

BUCKETS = itertools.count()
OUTPUTS = ["data/images", "reports/ingest"]
# Not even the first shards in the process that asks: those of a store shall be read by others too.
INGEST = """
from stages.common import shard_map
from stages.common.stage import run
from stages.ingest.__main__ import main
shard_map._START_UP = 0
run(main)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(autouse=True)
def settings(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user sets who has a server of their own, and nothing of who runs the tests."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    stores._open_system.cache_clear()


@pytest.fixture
def bucket(server: str) -> "Bucket":
    return Bucket(server, f"bucket-{next(BUCKETS)}")


class Bucket:
    """A new bucket, and what a test does in it."""

    def __init__(self, server: str, name: str):
        self.name = name
        self.system = s3fs.S3FileSystem(
            key=S3_KEY, secret=S3_SECRET, endpoint_url=server, use_listings_cache=False
        )
        self.system.mkdir(name)

    def url(self, folder: str) -> str:
        return f"s3://{self.name}/{folder}"

    def write(self, name: str, content: bytes) -> None:
        self.system.pipe(f"{self.name}/{name}", content)

    def upload(self, folder: Path, name: str) -> None:
        self.system.put(f"{folder}/", f"{self.name}/{name}/", recursive=True)


def photo(seed: int) -> bytes:
    """A photo of noise, so that some fill more than what is read of a store at once."""
    pixels = np.random.default_rng(seed).integers(0, 256, (120, 160, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_all_kinds(raw: Path) -> None:
    """Photos in folders, in archives and below a table, and what cannot be used."""
    seeds = iter(range(1000))
    for name in ["cats", "dogs"]:
        for number in range(20):
            draw_photo(raw / f"{name}/{number}.png", "red", next(seeds))
    in_zip = {f"cats/zip-{number}.png": photo(next(seeds)) for number in range(30)}
    in_tar = {f"dogs/tar-{number}.png": photo(next(seeds)) for number in range(30)}
    files = {
        "a/photos.zip": zipped({**in_zip, "cats/broken.png": b"no photo"}),
        "b/photos.tar": tarred(in_tar),
        "c/photos.tar.gz": gzip.compress(tarred({"emus/1.png": photo(next(seeds))}), mtime=0),
        "d/cut.zip": zipped(in_zip)[:-10_000],
        "d/cut.tar.gz": gzip.compress(tarred(in_tar), mtime=0)[:-10_000],
        "d/old.rar": b"Rar!",
        "table/labels.csv": b"file,label,patient\n"
        b"one.png,cats,1\ntwo.png,emus,1\nthree.png,emus,2\n",
        "table/one.png": photo(next(seeds)),
        "table/two.png": photo(next(seeds)),
        "cats/broken.png": photo(next(seeds))[:1000],
        "cats/empty.png": b"",
        "cats/readme.txt": b"photos of cats",
        "cats/.hidden/1.png": photo(next(seeds)),
        "cats/Thumbs.db": b"thumbs",
        "other.csv": b"city,inhabitants\nUlm,126000\n",
        "pixels/digits.csv": pixel_table(12),
    }
    for name, content in files.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(content)


def pixel_table(rows: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (rows, 64))
    names = ["label", *(f"pixel{number}" for number in range(64))]
    lines = [["emus", *row] for row in pixels.tolist()]
    return "".join(",".join(map(str, line)) + "\n" for line in [names, *lines]).encode()


def ingested(project: Project) -> dict[str, bytes]:
    """What the stage makes of its source, computed anew by two workers."""
    project.set(ingest__max_rejected=0.5, ingest__class_folder="last", ingest__shard_images=8)
    done = project.run("python", "-c", INGEST)
    assert done.returncode == 0, done.stderr
    return {**project.files(*OUTPUTS), "manifest": project.path("data/manifest.csv").read_bytes()}


def test_a_store_gives_the_same_bytes_as_the_disk(tmp_path, bucket):
    on_disk, in_store = empty_project(tmp_path / "disk"), empty_project(tmp_path / "store")
    write_all_kinds(on_disk.path("data/raw"))
    bucket.upload(on_disk.path("data/raw"), "team/photos")
    in_store.set(ingest__source=bucket.url("team/photos"))

    expected = ingested(on_disk)

    assert ingested(in_store) == expected
    manifest = expected["manifest"].decode()
    for kind in [
        "dogs/1.png",
        "photos.zip/cats",
        "photos.tar/dogs",
        "photos.tar.gz/emus",
        "table/one.png",
        "digits.csv/",
    ]:
        assert kind in manifest
    rejected = expected["reports/ingest/rejected.csv"].decode()
    for one in [
        "cats/broken.png,truncated",
        "cats/empty.png,empty_file",
        "d/cut.zip,broken_archive",
        "d/cut.tar.gz,broken_archive",
        "d/old.rar,unsupported_archive",
        "other.csv,unrelated_table",
        "three.png,missing_file",
    ]:
        assert one in rejected
    assert not in_store.path("data/raw").exists()


@pytest.mark.parametrize("at_the_top", [False, True])
def test_names_that_are_no_paths_are_listed(bucket, at_the_top):
    """Also where the first level of folders has no name."""
    if at_the_top:
        bucket.write("raw//6.png", b"content")
    for name in ["cats/1.png", "cats//2.png", "../3.png", "cats/./4.png", "dogs/", "cats/.5.png"]:
        bucket.write(f"raw/{name}", b"content")
    sources, rejected = find_sources(bucket.url("raw"), Limits())
    assert [source.name for source in sources] == ["cats/1.png"]
    assert {one.source: one.reason for one in rejected} == {
        "../3.png": "unsafe_name",
        "cats/./4.png": "unsafe_name",
        "cats//2.png": "unsafe_name",
    } | ({"/6.png": "unsafe_name"} if at_the_top else {})


def test_a_large_file_is_refused_by_its_listed_size(bucket):
    bucket.write("raw/cats/1.png", bytes(2_000_000))
    sources, rejected = find_sources(bucket.url("raw"), Limits(file_megabytes=1))
    assert (list(sources), rejected[0].reason) == ([], "too_large")


def test_any_part_of_a_file_can_be_read(bucket, monkeypatch):
    monkeypatch.setattr(stores, "_PIECE", 1000)
    content = np.random.default_rng(0).bytes(4500)
    bucket.write("raw/a.csv", content)
    [source], _ = find_sources(bucket.url("raw"), Limits())
    with source.open() as stream:
        for position, size in [(0, 10), (990, 20), (4400, 500), (0, 4500), (1234, 2345), (4500, 1)]:
            stream.seek(position)
            assert stream.read(size) == content[position : position + size]


def test_another_content_of_an_archive_is_read_after_the_next_listing(bucket):
    for seed in (1, 2):
        bucket.write("raw/a.zip", zipped({"cats/1.png": photo(seed)}))
        [source], _ = find_sources(bucket.url("raw"), Limits())
        assert source.read() == photo(seed)


def test_what_vanishes_or_grows_after_the_listing_is_no_broken_photo(bucket):
    bucket.write("raw/cats/1.png", b"1")
    bucket.write("raw/cats/2.png", b"2")
    (gone, grown), _ = find_sources(bucket.url("raw"), Limits())
    bucket.system.rm(f"{bucket.name}/raw/cats/1.png")
    bucket.write("raw/cats/2.png", b"22")
    with pytest.raises(
        InputError, match=r"^s3://\S+/1\.png: .*FileNotFoundError.*; set ingest\.source"
    ):
        gone.read()
    with pytest.raises(OSError, match="expected 1 bytes, found 2 or more"):
        grown.read()


def test_an_archive_that_is_cut_during_the_run_is_no_broken_photo(bucket):
    whole = zipped({"cats/1.png": photo(1)})
    bucket.write("raw/a.zip", whole)
    [source], _ = find_sources(bucket.url("raw"), Limits())
    stores._piece.cache_clear()
    bucket.write("raw/a.zip", whole[:1000])
    with pytest.raises(InputError, match=r"a\.zip: expected \d+ bytes from 0, received 1000; let"):
        source.read()


# What is refused


@pytest.fixture
def strict(server: str) -> Iterator[None]:
    """A server that asks who comes, and knows nobody."""

    def answer_unasked(requests: bytes) -> None:
        address, header = f"{server}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(address, requests, header)).close()

    answer_unasked(b"0")
    yield
    answer_unasked(b"1000000")


def refusal(url: str) -> str:
    start = time.perf_counter()
    with pytest.raises(InputError) as refused:
        find_sources(url, Limits())
    assert time.perf_counter() - start < 60  # 24 if each of three tries has to be given up
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("url", "found", "remedy"),
    [
        ("s3://no-such-bucket/raw", "bucket does not exist", "set ingest.source to what is there"),
        ("s3://{bucket}/nothing", "FileNotFoundError", "set ingest.source to what is there"),
        ("s3://{bucket}/raw/cats/1.png", "received the file", "expected a folder"),
        ("s3://", "names no bucket", "ingest.source"),
        ("s4://{bucket}/raw", "Protocol not known: s4", "ingest.source"),
        ("https://example.org/photos", "whose files can be listed", "s3://"),
    ],
)
def test_what_is_no_folder_of_a_store_is_refused(bucket, url, found, remedy):
    bucket.write("raw/cats/1.png", b"content")
    message = refusal(url.format(bucket=bucket.name))
    assert found in message and remedy in message


def test_a_key_that_may_not_is_refused(bucket, strict):
    message = refusal(bucket.url("raw"))
    assert "PermissionError" in message and message.endswith(
        "(AWS_ACCESS_KEY_ID, AWS_PROFILE, ...)"
    )


def test_without_a_key_nothing_is_tried(bucket, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    message = refusal(bucket.url("raw"))
    assert "Unable to locate credentials" in message and "AWS_ACCESS_KEY_ID" in message


@pytest.mark.parametrize("listens", [False, True])
def test_a_server_that_does_not_answer_is_refused_soon(monkeypatch, listens):
    monkeypatch.setitem(stores._S3_SETTINGS, "read_timeout", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if not listens:
            silent.close()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        message = refusal("s3://photos/raw")
    assert f"127.0.0.1:{port}" in message and "AWS_ENDPOINT_URL" in message


# As DVC has it


def test_dvc_runs_again_when_the_store_changes_and_only_then(tmp_path, bucket):
    project = empty_project(tmp_path / "project")
    for color in ["red", "green"]:
        for number in range(10):
            draw_photo(tmp_path / f"photos/{color}/{number}.png", color, number)
    bucket.upload(tmp_path / "photos", "raw")
    project.set(ingest__source=bucket.url("raw"))

    def runs() -> bool:
        done = project.run("dvc", "repro", "ingest")
        assert done.returncode == 0, done.stdout + done.stderr
        return "Running stage 'ingest'" in done.stdout

    def images() -> int:
        return project.path("data/manifest.csv").read_text().count("\n") - 1

    assert runs() and images() == 20
    assert not runs()
    assert "up to date" in project.run("dvc", "status", "ingest").stdout
    bucket.write("raw/red/new.png", photo(1))
    assert runs() and images() == 21
    bucket.write("raw/red/new.png", photo(2))
    assert runs() and images() == 21
    bucket.system.rm(f"{bucket.name}/raw/red/new.png")
    assert runs() and images() == 20
    assert not runs()

    before = project.files("data", "reports")
    bucket.system.rm(f"{bucket.name}/raw", recursive=True)
    refused = project.run("dvc", "repro", "ingest")
    assert refused.returncode != 0 and f"'{bucket.url('raw')}' does not exist" in refused.stderr
    assert project.files("data", "reports") == before
