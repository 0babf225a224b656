import io
import itertools
import os
import pickle
import random
import socket
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.params import Limits
from stages.common.photos import content_digest
from stages.ingest import places
from stages.ingest.find_sources import find_sources
from stages.ingest.sources import Source, image_ids

LIMITS = Limits()
MEGABYTE = 1_000_000


def write_files(root: Path, *names: str) -> None:
    """Files whose content is their own name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def zipped(*names: str, **contents: bytes) -> bytes:
    """A zip whose members hold their own name, but for those whose content is given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, name)
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(
    *names: str,
    members: list[tarfile.TarInfo] | None = None,
    mode: str = "w",
    format: int = tarfile.PAX_FORMAT,
    **contents: bytes,
) -> bytes:
    """A tar like the zip above; members without content come first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=format) as archive:
        for info in members or []:
            archive.addfile(info)
        for name, content in [
            *((name, name.encode(errors="replace")) for name in names),
            *contents.items(),
        ]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def gzipped_tar(*names: str, **contents: bytes) -> bytes:
    return tarred(*names, mode="w:gz", **contents)


PACKERS: dict[str, Callable[..., bytes]] = {
    ".zip": zipped,
    ".ZIP": zipped,
    ".tar": tarred,
    ".tar.gz": gzipped_tar,
    ".Tgz": gzipped_tar,
}
every_archive = pytest.mark.parametrize("suffix", PACKERS)


def write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def names(root: Path, limits: Limits = LIMITS) -> list[str]:
    return [source.name for source in find_sources(root, limits)[0]]


def contents(root: Path, limits: Limits = LIMITS) -> dict[str, bytes]:
    return {source.name: source.read() for source in find_sources(root, limits)[0]}


def reasons(root: Path, limits: Limits = LIMITS) -> dict[str, str]:
    return {one.source: one.reason for one in find_sources(root, limits)[1]}


def details(root: Path, limits: Limits = LIMITS) -> str:
    return "\n".join(one.detail for one in find_sources(root, limits)[1])


def only_source(root: Path) -> Source:
    [source] = find_sources(root, LIMITS)[0]
    return source


# In folders.


def test_files_come_in_the_order_of_their_names(tmp_path):
    write_files(tmp_path, "b/1.jpg", "a/2.jpg", "a/10.jpg", "a b/1.jpg", "B/1.jpg", "0.jpg")
    write(tmp_path / "a" / "3.zip", zipped("z.jpg", "y.jpg"))
    assert names(tmp_path) == [
        *("0.jpg", "B/1.jpg", "a b/1.jpg", "a/10.jpg", "a/2.jpg"),
        *("a/3.zip/y.jpg", "a/3.zip/z.jpg", "b/1.jpg"),
    ]


def test_the_bytes_are_those_of_the_file(tmp_path):
    write_files(tmp_path, "cats/a.jpg", "dogs/deep/down/b")
    assert contents(tmp_path) == {
        "cats/a.jpg": b"cats/a.jpg",
        "dogs/deep/down/b": b"dogs/deep/down/b",
    }


def test_litter_is_neither_used_nor_listed(tmp_path):
    write_files(tmp_path, "cats/a.jpg", "cats/Thumbs.db", "cats/desktop.ini", "cats/.DS_Store")
    write_files(tmp_path, ".gitignore", ".cache/cats/b.jpg")
    for suffix in (".zip", ".tar"):
        packed = PACKERS[suffix]("b.jpg", "__MACOSX/._b.jpg", ".hidden/c.jpg")
        write(tmp_path / f"dogs{suffix}", packed)
    assert names(tmp_path) == ["cats/a.jpg", "dogs.tar/b.jpg", "dogs.zip/b.jpg"]
    assert reasons(tmp_path) == {}


def test_a_name_that_is_no_text_is_listed(tmp_path):
    write_files(tmp_path, "cats/a.jpg")
    Path(os.fsdecode(bytes(tmp_path) + b"/cats/\xe9.jpg")).write_text("latin-1")
    assert names(tmp_path) == ["cats/a.jpg"]
    assert reasons(tmp_path) == {"cats/\N{REPLACEMENT CHARACTER}.jpg": "unsafe_name"}


def test_links_to_files_are_used_and_links_to_folders_are_not_entered(tmp_path):
    """A data set of DVC is often links into its cache; a link to a folder may lead in circles."""
    write_files(tmp_path, "cache/1", "raw/cats/a.jpg")
    write(tmp_path / "cache/2", zipped("c.jpg"))
    raw = tmp_path / "raw"
    (raw / "cats/b.jpg").symlink_to("a.jpg")
    (raw / "cats/outside.jpg").symlink_to(tmp_path / "cache/1")
    (raw / "dogs.zip").symlink_to(tmp_path / "cache/2")
    (raw / "circle").symlink_to(raw)
    (raw / "dead").symlink_to("nowhere")
    assert contents(raw) == {
        "cats/a.jpg": b"raw/cats/a.jpg",
        "cats/b.jpg": b"raw/cats/a.jpg",
        "cats/outside.jpg": b"cache/1",
        "dogs.zip/c.jpg": b"c.jpg",
    }
    assert reasons(raw) == {"circle": "link", "dead": "link"}


def test_a_pipe_and_a_socket_are_listed_and_never_opened(tmp_path):
    """Opening a pipe that nobody writes to would wait for ever."""
    write_files(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    here = Path.cwd()
    os.chdir(tmp_path)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
    os.chdir(here)
    assert names(tmp_path) == ["a.jpg"]
    special = ["device.jpg", "pipe.jpg", "pipe.zip", "socket.jpg"]
    assert reasons(tmp_path) == dict.fromkeys(special, "special_file")


def test_a_file_above_the_limit_is_listed_unless_it_is_a_table(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.csv", "d.XLSX"):
        write(tmp_path / name, b"x" * (2001 if name != "b.jpg" else 2000))
    limits = Limits(file_megabytes=0.002)
    assert names(tmp_path, limits) == ["b.jpg", "c.csv", "d.XLSX"]
    assert reasons(tmp_path, limits) == {"a.jpg": "too_large"}
    assert "ingest.limits.file_megabytes" in details(tmp_path, limits)


def test_a_file_that_grows_while_it_is_used_is_not_read_beyond_its_size(tmp_path):
    write_files(tmp_path, "a.jpg")
    source = only_source(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"x" * 1000)
    with pytest.raises(OSError, match="expected 5 bytes"):
        source.read()


# In archives.


@every_archive
def test_an_archive_is_read_as_a_folder_of_its_name(tmp_path, suffix):
    write(tmp_path / f"emus/photos{suffix}", PACKERS[suffix]("cats/a.jpg", "./all/b.jpg", "c"))
    assert contents(tmp_path) == {
        f"emus/photos{suffix}/all/b.jpg": b"./all/b.jpg",
        f"emus/photos{suffix}/c": b"c",
        f"emus/photos{suffix}/cats/a.jpg": b"cats/a.jpg",
    }


@every_archive
def test_a_member_reads_the_same_in_another_process(tmp_path, suffix):
    write(tmp_path / f"photos{suffix}", PACKERS[suffix]("cats/a.jpg"))
    sent = pickle.dumps(only_source(tmp_path))
    places._kept_inflated.cache_clear()
    assert pickle.loads(sent).read() == b"cats/a.jpg"


@every_archive
def test_any_part_of_a_member_can_be_read(tmp_path, suffix):
    content = random.Random(0).randbytes(300_000) + bytes(300_000)
    write(tmp_path / f"tables{suffix}", PACKERS[suffix]("a", "b", **{"train.csv": content}))
    table = find_sources(tmp_path, LIMITS)[0][-1]
    with table.open() as stream, table.open() as other:
        for start in (500_000, 0, 299_990, 599_990, 7):
            assert stream.seek(start) == start
            assert stream.read(100) == content[start : start + 100]
            assert other.read(1) == content[other.tell() - 1 : other.tell()]
        assert stream.seek(-5, io.SEEK_END) == len(content) - 5
        assert stream.read() == content[-5:]
        assert stream.read() == b""


def test_a_tar_is_unpacked_if_its_bytes_say_so(tmp_path):
    write(tmp_path / "a.tar", gzipped_tar("x"))
    write(tmp_path / "b.tgz", tarred("y"))
    assert contents(tmp_path) == {"a.tar/x": b"x", "b.tgz/y": b"y"}


def test_folders_of_old_windows_zips_are_folders(tmp_path):
    write(tmp_path / "a.zip", zipped("cats\\a.jpg", "dogs\\"))
    assert contents(tmp_path) == {"a.zip/cats/a.jpg": b"cats\\a.jpg"}


@pytest.mark.parametrize(
    "name", ["a\nb", 'a"b', "<script>alert(1)", "=1+1", "\x1b[2J", "日本", "'; --", " a "]
)
def test_a_strange_name_is_kept_as_it_is(tmp_path, name):
    write_files(tmp_path, name)
    write(tmp_path / "x.tar", tarred(name))
    write(tmp_path / "x.zip", zipped(name))
    assert set(names(tmp_path)) == {name, f"x.tar/{name}", f"x.zip/{name}"}


def test_a_name_in_utf8_that_does_not_say_so(tmp_path):
    """So macOS writes them; others mean code page 437."""
    packed = zipped("caf**.jpg", "caf*.png")
    packed = packed.replace(b"caf**", "café".encode()).replace(b"caf*.", "café.".encode("cp437"))
    write(tmp_path / "a.zip", packed)
    assert names(tmp_path) == ["a.zip/café.jpg", "a.zip/café.png"]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_those_beyond_ascii(tmp_path, format):
    long = f"{'päth/' * 60}{'n' * 200}.jpg"
    write(tmp_path / "a.tar", tarred(long, "short", format=format))
    assert contents(tmp_path) == {f"a.tar/{long}": long.encode(), "a.tar/short": b"short"}


def test_a_size_in_an_extended_header_counts(tmp_path):
    info = tarfile.TarInfo("a")
    info.pax_headers = {"size": "5"}
    whole = bytearray(tarred("b", members=[info]))
    at = whole.index(b"b" + bytes(99))  # the header of b; before it come five bytes of a
    whole[at:at] = b"12345".ljust(512, b"\0")
    write(tmp_path / "a.tar", bytes(whole))
    assert contents(tmp_path) == {"a.tar/a": b"12345", "a.tar/b": b"b"}


def test_zip64_comments_and_sizes_that_follow_the_data(tmp_path):
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        tell = seek

    buffer = Pipe()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.jpg", "w", force_zip64=True) as member:
            member.write(b"first")
        archive.writestr("b.jpg", "second")
        archive.comment = b"comment " * 1000
    write(tmp_path / "a.zip", b"a program in front" + buffer.getvalue())
    assert contents(tmp_path) == {"a.zip/a.jpg": b"first", "a.zip/b.jpg": b"second"}


# A packed tar in any order.


@pytest.fixture
def small_steps(monkeypatch):
    """Checkpoints so near to each other that a small file has too many."""
    monkeypatch.setattr(places, "PACKED_STEP", 512)
    monkeypatch.setattr(places, "_FIRST_SPACING", 1024)
    monkeypatch.setattr(places, "_MAX_CHECKPOINTS", 16)


def test_a_packed_tar_of_several_streams_is_read_in_any_order(tmp_path, small_steps):
    draw = random.Random(0)
    content = {f"{number:03}": draw.randbytes(draw.randrange(3000)) for number in range(300)}
    whole = tarred(**content)
    cuts = [0, 1, *sorted(draw.randrange(len(whole)) for _ in range(9)), len(whole)]
    streams = [zlib.compress(whole[start:end], wbits=31) for start, end in itertools.pairwise(cuts)]
    write(tmp_path / "a.tgz", b"".join(streams))
    sources = list(find_sources(tmp_path, LIMITS)[0])
    draw.shuffle(sources)
    read = {source.name.removeprefix("a.tgz/"): source.read() for source in sources}
    assert read == content


def test_reading_in_any_order_unpacks_little_more_than_what_is_read(tmp_path, small_steps):
    """A pass over the whole for each member would take 300 times the steps of one pass."""
    draw = random.Random(0)
    write(tmp_path / "a.tgz", gzipped_tar(**{f"{n}": draw.randbytes(2000) for n in range(300)}))
    sources = list(find_sources(tmp_path, LIMITS)[0])
    draw.shuffle(sources)
    whole = places.inflated_whole(str(tmp_path / "a.tgz"))
    steps = 0
    step = whole._step

    def counted_step() -> None:
        nonlocal steps
        steps += 1
        step()

    whole._step = counted_step
    for source in sources:
        source.read()
    one_pass = (tmp_path / "a.tgz").stat().st_size / 512
    assert one_pass < steps < 20 * one_pass
    assert len(whole._checkpoints) <= 16


# Broken and foreign archives.


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


NOISE = random.Random(0).randbytes(5000)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        *((f"x{suffix}", b"", "broken_archive") for suffix in PACKERS),
        *((f"x{suffix}", b"no archive", "broken_archive") for suffix in PACKERS),
        *((f"x{suffix}", pack(), "empty_archive") for suffix, pack in PACKERS.items()),
        *(
            (f"x{suffix}", pack("__MACOSX/._a"), "empty_archive")
            for suffix, pack in PACKERS.items()
        ),
        ("x.zip", zipped("cats/"), "empty_archive"),
        ("x.zip", zipped("a")[:-10], "broken_archive"),
        ("x.tar", tarred("a", b=NOISE)[:3000], "broken_archive"),
        ("x.tar", tarred("a", "b")[:1100], "broken_archive"),
        ("x.tar", flipped(tarred("a", "b"), 1024), "broken_archive"),
        ("x.tar.gz", gzipped_tar("a", b=NOISE)[:3000], "broken_archive"),
        ("x.tar.gz", gzipped_tar("a", b=NOISE)[:-8], "broken_archive"),
        ("x.tar.gz", flipped(gzipped_tar("a", b=NOISE), 3000), "broken_archive"),
        ("x.tar.gz", flipped(gzipped_tar("a"), -5), "broken_archive"),
    ],
    # Not the bytes, which hold the time: all processes of a test run have to find the same tests.
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_an_archive_without_usable_files_is_listed_and_stops_nothing(
    tmp_path, name, content, reason
):
    write_files(tmp_path, "cats/a.jpg")
    write(tmp_path / name, content)
    assert names(tmp_path) == ["cats/a.jpg"]
    assert reasons(tmp_path) == {name: reason}
    assert "\n" not in details(tmp_path)


def test_a_tar_may_lack_the_empty_blocks_at_its_end(tmp_path):
    write(tmp_path / "a.tar", tarred("a", "b")[:2048])
    assert names(tmp_path) == ["a.tar/a", "a.tar/b"]


def test_no_damage_to_a_zip_stops_the_search(tmp_path):
    """Among others, a version of the future and a name in no encoding."""
    draw = random.Random(0)
    for number in range(500):
        content = bytearray(zipped("cats/a.jpg", "dogs/é.jpg"))
        content[draw.randrange(len(content))] = draw.randrange(256)
        (tmp_path / f"{number}.zip").write_bytes(content)
    assert list(reasons(tmp_path).values()).count("broken_archive") > 30


@pytest.mark.parametrize(
    "name", ["a.7z", "a.RAR", "a.tar.bz2", "a.tar.xz", "a.bz2", "a.xz", "a.zst", "a.csv.gz"]
)
def test_another_archive_is_listed_with_what_to_do(tmp_path, name):
    write_files(tmp_path, name, "b.jpg")
    assert names(tmp_path) == ["b.jpg"]
    assert reasons(tmp_path) == {name: "unsupported_archive"}
    assert "expected .zip, .tar or .tar.gz" in details(tmp_path)


@every_archive
@pytest.mark.parametrize("inner", ["x.zip", "cats/x.TAR.GZ", "x.7z"])
def test_an_archive_in_an_archive_is_not_opened(tmp_path, suffix, inner):
    write(tmp_path / f"a{suffix}", PACKERS[suffix](inner, "b.jpg"))
    assert names(tmp_path) == [f"a{suffix}/b.jpg"]
    assert reasons(tmp_path) == {f"a{suffix}/{inner}": "nested_archive"}


# Archives that mean harm.


@every_archive
@pytest.mark.parametrize(
    "member",
    [
        *("../x.jpg", "cats/../../x.jpg", "/etc/x.jpg", "..", "C:/x.jpg", "c:x.jpg"),
        *("..\\x.jpg", "cats\\..\\..\\x.jpg", "\\x.jpg", "\\\\host\\x.jpg", "C:\\x.jpg"),
    ],
)
def test_a_member_that_points_outside_its_archive_is_listed(tmp_path, suffix, member):
    write(tmp_path / f"cats{suffix}", PACKERS[suffix](member, "dogs/a.jpg"))
    assert names(tmp_path) == [f"cats{suffix}/dogs/a.jpg"]
    assert list(reasons(tmp_path).values()) == ["unsafe_name"]


def test_a_member_whose_name_is_no_text_is_listed(tmp_path):
    """A NUL in a zip would be cut off there, a name in Latin-1 could stand in no table."""
    write(tmp_path / "a.zip", zipped("evil.jpg#.exe", "b").replace(b"#", b"\0"))
    write(tmp_path / "b.tar", tarred("\udce9.jpg", "b", format=tarfile.GNU_FORMAT))
    extended = tarfile.TarInfo("x")
    extended.pax_headers = {"path": "c\0d"}
    write(tmp_path / "c.tar", tarred("b", members=[extended]))
    assert names(tmp_path) == ["a.zip/b", "b.tar/b", "c.tar/b"]
    assert reasons(tmp_path) == {
        "a.zip/evil.jpg\N{REPLACEMENT CHARACTER}.exe": "unsafe_name",
        "b.tar/\N{REPLACEMENT CHARACTER}.jpg": "unsafe_name",
        "c.tar/c\N{REPLACEMENT CHARACTER}d": "unsafe_name",
    }


def test_a_name_longer_than_any_path_is_listed_in_part(tmp_path):
    write(tmp_path / "a.tar", tarred("n" * 500_000, "b", format=tarfile.GNU_FORMAT))
    assert names(tmp_path) == ["a.tar/b"]
    [(shown, reason)] = reasons(tmp_path).items()
    assert reason == "unsafe_name"
    assert len(shown) < 5000


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_and_devices_in_a_tar_are_listed_and_not_followed(tmp_path, mode):
    members = [
        special("symbolic", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard", tarfile.LNKTYPE, "a.jpg"),
        special("character", tarfile.CHRTYPE),
        special("block", tarfile.BLKTYPE),
        special("pipe", tarfile.FIFOTYPE),
        special("what", b"Q"),
        special("folder", tarfile.DIRTYPE),
    ]
    write(tmp_path / "x.tar", tarred("a.jpg", members=members, mode=mode))
    assert contents(tmp_path) == {"x.tar/a.jpg": b"a.jpg"}
    assert reasons(tmp_path) == {
        **{f"x.tar/{name}": "link" for name in ("symbolic", "hard")},
        **{f"x.tar/{name}": "special_file" for name in ("character", "block", "pipe", "what")},
    }


def test_links_and_devices_in_a_zip_are_listed_and_not_followed(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, mode in [("link", 0o120777), ("pipe", 0o010644), ("file", 0o100644)]:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, "/etc/passwd")
    assert names(tmp_path) == ["x.zip/file"]
    assert reasons(tmp_path) == {"x.zip/link": "link", "x.zip/pipe": "special_file"}


def test_sparse_members_are_listed_and_the_next_one_is_found(tmp_path):
    old = bytearray(special("old", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    old[482] = 1  # one more block of the list of holes follows
    old[148:156] = b"%06o\0 " % (sum(old[:148]) + 8 * 32 + sum(old[156:]))
    write(tmp_path / "a.tar", bytes(old) + bytes(512) + tarred("b"))
    new = tarfile.TarInfo("GNUSparseFile.0/new")
    new.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "new"}
    write(tmp_path / "c.tar", tarred("b", members=[new]))
    assert contents(tmp_path) == {"a.tar/b": b"b", "c.tar/b": b"b"}
    assert reasons(tmp_path) == {"a.tar/old": "unreadable", "c.tar/new": "unreadable"}


def test_a_sparse_member_with_an_endless_list_of_holes_is_refused(tmp_path):
    old = bytearray(special("old", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    old[482] = 1
    old[148:156] = b"%06o\0 " % (sum(old[:148]) + 8 * 32 + sum(old[156:]))
    write(tmp_path / "a.tar", bytes(old) + b"\1" * 2 * MEGABYTE)
    assert reasons(tmp_path) == {"a.tar": "broken_archive"}
    assert "header" in details(tmp_path)


@every_archive
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_name_the_first_is_used(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", PACKERS[suffix]("x", "./x", "y", **{"x": b"other"}))
    assert contents(tmp_path) == {f"a{suffix}/x": b"x", f"a{suffix}/y": b"y"}
    found = find_sources(tmp_path, LIMITS)[1]
    assert [(one.source, one.reason) for one in found] == [(f"a{suffix}/x", "repeated_name")] * 2


def patched(archive: bytes, name: str, at: int, value: bytes) -> bytes:
    """A zip with other bytes at some place of a member's entry in its list."""
    entry = archive.rindex(b"PK\1\2", 0, archive.rindex(name.encode()))
    return archive[: entry + at] + value + archive[entry + at + len(value) :]


FLAGS, METHOD, SIZE = 8, 10, 24


@pytest.mark.parametrize(("at", "value"), [(FLAGS, b"\1\0"), (METHOD, b"\x0e\0")])
def test_an_encrypted_or_rarely_packed_member_is_listed(tmp_path, at, value):
    write(tmp_path / "x.zip", patched(zipped("lie", "true"), "lie", at, value))
    assert names(tmp_path) == ["x.zip/true"]
    assert reasons(tmp_path) == {"x.zip/lie": "unreadable"}


def peak_of(call: Callable[[], object]) -> int:
    """The most bytes that were allocated at once."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_member_that_unpacks_to_more_than_it_declares_is_not_unpacked(tmp_path):
    bomb = zipped("true", lie=bytes(100 * MEGABYTE))
    write(tmp_path / "x.zip", patched(bomb, "lie", SIZE, struct.pack("<I", 10_000)))
    first, second = find_sources(tmp_path, LIMITS)[0]

    def read() -> None:
        with pytest.raises(OSError, match="checksum"):
            first.read()

    assert peak_of(read) < 20 * MEGABYTE
    assert second.read() == b"true"


def test_a_member_that_unpacks_to_less_than_it_declares_is_no_file(tmp_path):
    lie = patched(zipped("lie", "true"), "lie", SIZE, struct.pack("<I", 100_000))
    write(tmp_path / "x.zip", lie)
    first, second = find_sources(tmp_path, LIMITS)[0]
    with pytest.raises(OSError, match="expected 100000 bytes"):
        first.read()
    assert second.read() == b"true"


def test_a_member_with_other_bytes_than_were_packed_is_no_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", "something")
    content = (tmp_path / "x.zip").read_bytes()
    write(tmp_path / "x.zip", content.replace(b"something", b"something".upper()))
    with pytest.raises(OSError, match="checksum"):
        only_source(tmp_path).read()


def test_a_member_with_broken_packed_bytes_spoils_no_other(tmp_path):
    content = zipped("b", a=NOISE)
    write(tmp_path / "x.zip", flipped(content, content.index(NOISE[:9]) - 1))
    first, second = find_sources(tmp_path, LIMITS)[0]
    for _ in range(2):
        with pytest.raises(OSError, match=r"broken|cut off|expected|checksum"):
            first.read()
    assert second.read() == b"b"


@pytest.mark.parametrize("size", [10 * MEGABYTE, 2**32 - 2])
def test_a_bomb_in_a_zip_is_listed_and_its_neighbours_are_used(tmp_path, size):
    bomb = zipped("true", lie=bytes(10 * MEGABYTE))
    write(tmp_path / "x.zip", patched(bomb, "lie", SIZE, struct.pack("<I", size)))
    assert names(tmp_path) == ["x.zip/true"]
    assert reasons(tmp_path) == {"x.zip/lie": "too_large"}
    assert "ingest.limits.ratio" in details(tmp_path)


def test_many_members_that_are_no_bomb_alone_are_one_together(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(str(number), bytes(MEGABYTE))
    write(tmp_path / "x.zip", buffer.getvalue())
    write_files(tmp_path, "a.jpg")
    assert names(tmp_path) == ["a.jpg"]
    assert reasons(tmp_path) == {"x.zip": "archive_limit"}
    assert "ingest.limits.ratio" in details(tmp_path)


def test_a_bomb_in_a_packed_tar_is_not_unpacked_whole(tmp_path):
    write(tmp_path / "x.tar.gz", gzipped_tar("b", a=bytes(100 * MEGABYTE)))
    write_files(tmp_path, "a.jpg")
    assert peak_of(lambda: names(tmp_path)) < 20 * MEGABYTE
    assert names(tmp_path) == ["a.jpg"]
    assert reasons(tmp_path) == {"x.tar.gz": "archive_limit"}
    assert "ingest.limits.ratio" in details(tmp_path)


def test_bytes_behind_the_end_of_a_packed_tar_are_not_unpacked(tmp_path):
    """Else the missing end of what follows would be seen."""
    tail = zlib.compress(bytes(100 * MEGABYTE), wbits=31)[:-8]
    write(tmp_path / "x.tar.gz", gzipped_tar("b") + tail)
    assert peak_of(lambda: contents(tmp_path)) < 20 * MEGABYTE
    assert names(tmp_path) == ["x.tar.gz/b"]


def huge(name: str) -> tarfile.TarInfo:
    """A header that declares a terabyte of which there is nothing."""
    info = tarfile.TarInfo(name)
    info.size = 10**12
    return info


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (huge("a").tobuf(), "broken_archive"),
        (zlib.compress(huge("a").tobuf(), wbits=31), "archive_limit"),
        (special("a", tarfile.XHDTYPE).tobuf() + huge("a").tobuf(), "broken_archive"),
    ],
)
def test_a_tar_whose_header_declares_a_terabyte_is_listed(tmp_path, content, reason):
    write(tmp_path / "x.tar", content)
    write(tmp_path / "y.tar", tarred("a"))
    assert names(tmp_path) == ["y.tar/a"]
    assert reasons(tmp_path) == {"x.tar": reason}


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"S", b"0", b"Q"])
@pytest.mark.parametrize("size", [-512, -1024, 10 * MEGABYTE])
def test_a_size_that_leads_backwards_or_fills_the_memory_is_refused(tmp_path, kind, size):
    """Going back, the same header would be read for ever."""
    info = special("a", kind)
    info.size = size
    header = info.tobuf(tarfile.GNU_FORMAT)
    tail = bytes(20 * MEGABYTE) if kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME) else b""
    write(tmp_path / "x.tar", header + header + tail)
    assert peak_of(lambda: names(tmp_path)) < 2 * MEGABYTE
    assert reasons(tmp_path) == {"x.tar": "broken_archive"}


@every_archive
def test_an_archive_of_too_many_members_is_listed(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", PACKERS[suffix](*map(str, range(20))))
    write(tmp_path / f"b{suffix}", PACKERS[suffix](*map(str, range(21))))
    limits = Limits(archive_members=20)
    assert len(names(tmp_path, limits)) == 20
    assert reasons(tmp_path, limits) == {f"b{suffix}": "archive_limit"}
    assert "ingest.limits.archive_members" in details(tmp_path, limits)


def test_the_list_of_a_zip_is_refused_before_it_is_parsed(tmp_path):
    """A parsed entry takes ten times its bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(5000):
            archive.writestr(str(number), "")
    write(tmp_path / "a.zip", buffer.getvalue())
    limits = Limits(archive_members=1000)
    find_sources(tmp_path, limits)
    assert peak_of(lambda: find_sources(tmp_path, limits)) < 3 * len(buffer.getvalue())
    assert reasons(tmp_path, limits) == {"a.zip": "archive_limit"}


@every_archive
def test_an_archive_that_unpacks_to_too_much_is_listed_tables_or_not(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", PACKERS[suffix](**{"x.jpg": NOISE, "y.csv": NOISE}))
    write(tmp_path / f"b{suffix}", PACKERS[suffix](**{"x.jpg": NOISE, "y.csv": NOISE * 8}))
    limits = Limits(archive_gigabytes=3e-5)
    assert names(tmp_path, limits) == [f"a{suffix}/x.jpg", f"a{suffix}/y.csv"]
    assert reasons(tmp_path, limits) == {f"b{suffix}": "archive_limit"}
    assert "ingest.limits.archive_gigabytes" in details(tmp_path, limits)


@every_archive
def test_a_member_above_the_limit_is_listed_unless_it_is_a_table(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", PACKERS[suffix]("b.jpg", **{"a.jpg": NOISE, "c.csv": NOISE}))
    limits = Limits(file_megabytes=0.004)
    assert names(tmp_path, limits) == [f"a{suffix}/b.jpg", f"a{suffix}/c.csv"]
    assert reasons(tmp_path, limits) == {f"a{suffix}/a.jpg": "too_large"}


def test_files_are_in_order_where_names_hold_what_sorts_before_a_slash(tmp_path):
    """A slash sorts behind some characters that names hold, and an archive is a folder."""
    write_files(tmp_path, "a/b.jpg", "a-b.jpg", "a.jpg", "a0/c.jpg", "a/a/z.jpg", "a b/x.jpg", "é")
    write(tmp_path / "a.zip", zipped("q.jpg", "b/r.jpg"))
    write(tmp_path / "a.zip-1.jpg", b"")
    found = names(tmp_path)
    assert len(found) == 10
    assert found == sorted(found)


# Ids.


def ids_of(contents: list[bytes]) -> list[str]:
    return image_ids([content_digest(content) for content in contents])[0].astype(str).tolist()


def ids_below(root: Path) -> dict[bytes, list[str]]:
    """The ids of each content."""
    found: dict[bytes, list[str]] = {}
    read = list(contents(root).values())
    for content, image_id in zip(read, ids_of(read), strict=True):
        found.setdefault(content, []).append(image_id)
    return found


def test_a_renamed_relabelled_or_packed_photo_keeps_its_id(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    write_files(first, "cats/a.jpg", "cats/b.jpg", "dogs/c.jpg", "dogs/d.jpg")
    (second / "emus").mkdir(parents=True)
    (second / "emus" / "z.jpg").write_text("cats/a.jpg")
    (second / "emus" / "y.jpg").write_text("dogs/c.jpg")
    write(second / "lions.zip", zipped("cats/b.jpg"))
    write(second / "lions.tgz", gzipped_tar("dogs/d.jpg"))
    assert ids_below(first) == ids_below(second)


@given(st.lists(st.binary(max_size=3), max_size=30))
def test_every_copy_has_an_id_of_its_own_and_the_others_change_nothing(contents):
    ids = ids_of(contents)
    assert len(set(ids)) == len(contents)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)
    for content in set(contents):
        copies = [one for one, other in zip(ids, contents, strict=True) if other == content]
        assert copies == ids_of([content] * len(copies))
