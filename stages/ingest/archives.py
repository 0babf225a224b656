"""The members of zip and tar files, read where they lie: nothing is unpacked to disk, and nothing
in them trusted. What an archive says of a member only bounds what is read for it.
"""

import contextlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from stages.common.params import Limits
from stages.ingest.places import (
    PACKED_STEP,
    InTar,
    InZip,
    ReadAt,
    inflated_whole,
    raw_stream,
    read_fully,
)
from stages.ingest.stores import open_file

BOMB_BYTES = 1_000_000
"""What unpacks to less is no bomb, whatever its ratio."""

_BLOCK = tarfile.BLOCKSIZE
# Long names and extended attributes stand in headers of their own; libarchive has the same bound.
_MAX_HEADER = 1_048_576
_AFTER_END = 1_048_576
_ENTRY = b"PK\x01\x02"
# A name, comment and extra field of more than 500 bytes is unusual, so this bounds the whole list.
_ENTRY_BYTES, _ENTRIES_FREE = 512, 1_048_576

_ENCRYPTED, _UTF8_NAME = 1, 0x800  # flags of a member of a zip
_LONG_NAME, _LONG_LINK, _SPARSE = b"L", b"K", b"S"
_EXTENDED, _EXTENDED_FOR_ALL = (b"x", b"X"), b"g"
_RECORDS = ("path", "size", "GNU.sparse.name", "GNU.sparse.size", "GNU.sparse.major")
_DENSE = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


class OverLimit(Exception):
    """An archive asks for more than `ingest.limits` allows; the message names the param."""


class Fault(NamedTuple):
    """Why a member is not used: a reason from the list of `find_sources`, and the detail."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name as it stands there, and its size unpacked, bytes."""

    name: str
    size: int
    place: InZip | InTar
    fault: Fault | None


def check_limits(limits: Limits, members: int, unpacked: int, packed: int) -> None:
    """Whether an archive with so many members and bytes is within the limits.

    Raises:
        OverLimit: It is not.
    """
    if members > limits.archive_members:
        raise OverLimit(
            f"holds more than {limits.archive_members} members (ingest.limits.archive_members)"
        )
    if unpacked > limits.archive_gigabytes * 1e9:
        raise OverLimit(
            f"unpacks to more than {limits.archive_gigabytes:g} GB "
            "(ingest.limits.archive_gigabytes)"
        )
    if is_bomb(limits, unpacked, packed):
        raise OverLimit(
            f"unpacks to more than {limits.ratio:g} times its size (ingest.limits.ratio)"
        )


def is_bomb(limits: Limits, unpacked: int, packed: int) -> bool:
    """Whether something unpacks to suspiciously much."""
    return unpacked > max(BOMB_BYTES, limits.ratio * packed)


def list_zip(file: str, limits: Limits) -> Iterator[Member]:
    """The files of a zip, in its order.

    Raises:
        OverLimit: It has too many members.
        Exception: It is broken; zipfile raises whatever it likes on bytes from strangers.
    """
    with _BoundedReader(file, limits) as stream, zipfile.ZipFile(stream) as archive:
        infos = archive.infolist()
    check_limits(limits, len(infos), 0, 0)
    for info in infos:
        name = _name_in_zip(info)
        if not name.endswith("/"):
            deflated = info.compress_type == zipfile.ZIP_DEFLATED
            place = InZip(info.header_offset, info.compress_size, deflated, info.CRC)
            yield Member(name, info.file_size, place, _fault_in_zip(info, limits))


class _BoundedReader(io.BufferedReader):
    """A zip while its list is read, which is refused before it fills the memory.

    The list says itself how long it is, and may lie; but each entry begins with a signature.
    """

    def __init__(self, file: str, limits: Limits):
        super().__init__(raw_stream(file))
        self._limits = limits

    def read(self, size: int | None = -1, /) -> bytes:
        entries = ((size or 0) - _ENTRIES_FREE) // _ENTRY_BYTES
        check_limits(self._limits, entries, 0, 0)
        content = super().read(size)
        check_limits(self._limits, content.count(_ENTRY), 0, 0)
        return content


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    name = info.orig_filename  # the other one is cut at a NUL
    if not info.flag_bits & _UTF8_NAME:
        # macOS writes UTF-8 and does not say so; another name in code page 437 is hardly UTF-8.
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/")  # as old Windows programs write


def _fault_in_zip(info: zipfile.ZipInfo, limits: Limits) -> Fault | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return Fault("link", "a link; pack the file itself")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return Fault("special_file", "a device, pipe or socket")
    if info.flag_bits & _ENCRYPTED:
        return Fault("unreadable", "encrypted; pack it again without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        method = zipfile.compressor_names.get(info.compress_type, info.compress_type)
        return Fault("unreadable", f"packed by the method {method}; pack it again with deflate")
    if is_bomb(limits, info.file_size, info.compress_size):
        detail = f"unpacks to more than {limits.ratio:g} times its size (ingest.limits.ratio)"
        return Fault("too_large", detail)
    return None


def list_tar(file: str, limits: Limits) -> Iterator[Member]:
    """The files of a .tar or .tar.gz, in its order; which of both it is, its first bytes say.

    Raises:
        OverLimit: It has too many members, or unpacks to too much.
        Exception: It is broken or cut off: ValueError, OSError, tarfile.HeaderError.
    """
    with contextlib.closing(open_file(file)) as opened:
        gzipped = read_fully(opened.read_at, 0, 2) == b"\x1f\x8b"
        tar = _Tar(inflated_whole(file).read_at if gzipped else opened.read_at, gzipped)
        packed = opened.size
        members = 0
        for member in tar.members():
            members += member is not None
            if not gzipped and tar.offset > packed:
                raise ValueError(f"is cut off after {members} members")
            check_limits(limits, members, tar.offset, packed if gzipped else tar.offset)
            if member is not None:
                yield member


class _Tar:
    """Walks over the headers of a tar.

    Args:
        read_at: Reads the tar, unpacked.
        gzipped: What the places of its members shall say.
    """

    def __init__(self, read_at: ReadAt, gzipped: bool):
        self._read_at = read_at
        self._gzipped = gzipped
        self._records: dict[str, str] = {}
        self.offset = 0  # of what is read next

    def members(self) -> Iterator[Member | None]:
        """A member for each file, None for each header of anything else."""
        while block := self._next_block():
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            self.offset += _BLOCK
            if info.type in (*_EXTENDED, _EXTENDED_FOR_ALL, _LONG_NAME, _LONG_LINK):
                self._extend(info)
                yield None
            else:
                member = self._member(info)
                self._records = {}
                yield None if info.isdir() else member
        self._check_end()

    def _read(self, size: int) -> bytes:
        return read_fully(self._read_at, self.offset, size)

    def _skip(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"expected the size of a member, found {size}")
        self.offset += -(-size // _BLOCK) * _BLOCK

    def _next_block(self) -> bytes:
        """The next header, or nothing at the end."""
        block = self._read(_BLOCK)
        if len(block) < _BLOCK:
            # The two empty blocks at the end may be missing, but no byte of the last member.
            if block or not self.offset or not self._read_at(self.offset - 1, 1):
                raise ValueError("is cut off")
            return b""
        return block if any(block) else b""

    def _extend(self, info: tarfile.TarInfo) -> None:
        """Read what a header says of the one that follows it."""
        if info.size > _MAX_HEADER:
            raise ValueError(f"has a header of {info.size} bytes")
        content = self._read(info.size)
        if info.type in _EXTENDED:
            records = _pax_records(content)
            self._records |= {key: records[key] for key in _RECORDS if key in records}
        elif info.type == _LONG_NAME:
            self._records["path"] = _decoded(content.split(b"\0")[0])
        self._skip(info.size)

    def _member(self, info: tarfile.TarInfo) -> Member:
        sparse = info.type == _SPARSE or any(key.startswith("GNU.sparse") for key in self._records)
        if info.type == _SPARSE:
            self._skip_sparse_headers()
        name = self._records.get("GNU.sparse.name") or self._records.get("path", info.name)
        size = int(self._records.get("size", info.size))
        start = self.offset
        if info.isreg() or info.type not in tarfile.SUPPORTED_TYPES:
            self._skip(size)
        return Member(name, size, InTar(start, self._gzipped), _fault_in_tar(info, sparse))

    def _skip_sparse_headers(self) -> None:
        start = self.offset
        block, more = read_fully(self._read_at, start - _BLOCK, _BLOCK), 482
        while block[more : more + 1] not in (b"", b"\0"):
            block, more = self._read(_BLOCK), 504
            self.offset += _BLOCK
            if self.offset - start > _MAX_HEADER:
                raise ValueError(f"has a header of more than {_MAX_HEADER} bytes")

    def _check_end(self) -> None:
        """Read on to the checksum of a .tar.gz, unless too much follows the end of the tar."""
        end = self.offset + _AFTER_END
        while self.offset < end and (content := self._read(PACKED_STEP)):
            self.offset += len(content)


def _fault_in_tar(info: tarfile.TarInfo, sparse: bool) -> Fault | None:
    if sparse:
        return Fault("unreadable", "a sparse file; pack it again without --sparse")
    if info.issym() or info.islnk():
        detail = "a link; pack the file itself (tar --dereference --hard-dereference)"
        return Fault("link", detail)
    if info.type not in _DENSE:
        return Fault("special_file", f"a device, pipe or other thing of type {info.type!r}")
    return None


def _pax_records(content: bytes) -> dict[str, str]:
    """The records `<length> <key>=<value>` and line feed of an extended header."""
    records, start = {}, 0
    while start < len(content):
        space = content.index(b" ", start, start + 10)
        end = start + int(content[start:space])
        if end <= space:
            raise ValueError("has a broken extended header")
        key, _, value = content[space + 1 : end - 1].partition(b"=")
        records[_decoded(key)] = _decoded(value)
        start = end
    return records


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
