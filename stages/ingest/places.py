"""Where a member of an archive lies, and reading it from there.

They are found by offset, so that they can be read in any order and by any process: also in a
.tar.gz, which is one stream of packed bytes, and in a large packed member, such as a table.
"""

import bisect
import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from stages.ingest.stores import OpenFile, open_file, state_of

# Deflate makes at most 1,032 bytes of one, so a step never gives more than 4 MB.
PACKED_STEP = 4096
_FIRST_SPACING = 262_144
# About 40 KB each: the last 32 KB that were unpacked, and the tables of the decompressor.
_MAX_CHECKPOINTS = 2048
_GZIP, _DEFLATE = 31, -15  # zlib's wbits

ReadAt = Callable[[int, int], bytes]
"""Gives at most so many bytes (second) from a position (first); none at the end, and only there."""


@dataclass(frozen=True)
class InZip:
    """Where a member of a zip lies.

    Attributes:
        header: Offset of its local header in the file.
        packed: Its packed bytes.
        deflated: Whether it is packed at all.
        checksum: CRC-32 of its bytes.
    """

    header: int
    packed: int
    deflated: bool
    checksum: int

    def open(self, file: str, size: int) -> BinaryIO:
        """The member as a seekable stream of at most `size` bytes.

        Raises:
            OSError: It cannot be read. Reading may raise it, too.
        """
        with contextlib.closing(open_file(file)) as opened:
            fixed = read_fully(opened.read_at, self.header, 30)
        if len(fixed) < 30 or not fixed.startswith(b"PK\x03\x04"):
            raise OSError("expected the header of a member, found other bytes")
        start = self.header + 30 + sum(struct.unpack("<HH", fixed[26:]))
        if self.deflated:
            return _window(_inflated(file, start, self.packed, _DEFLATE).read_at, 0, size)
        return _window_of_file(file, start, size)


@dataclass(frozen=True)
class InTar:
    """Where a member of a tar lies: its offset in the tar, which may be packed as a whole."""

    offset: int
    gzipped: bool

    def open(self, file: str, size: int) -> BinaryIO:
        """The member as a seekable stream of at most `size` bytes.

        Raises:
            OSError: It cannot be read. Reading may raise it, too.
        """
        if self.gzipped:
            return _window(inflated_whole(file).read_at, self.offset, size)
        return _window_of_file(file, self.offset, size)


def read_fully(read_at: ReadAt, position: int, size: int) -> bytes:
    """`size` bytes from a position, or all that there are."""
    pieces = []
    while size > 0 and (piece := read_at(position, size)):
        pieces.append(piece)
        position, size = position + len(piece), size - len(piece)
    return b"".join(pieces)


class Inflated:
    """Random access to the bytes that a stretch of a file unpacks to.

    On the first way through, the state of the decompressor is kept at checkpoints, and reading
    starts at the one before. There is a bounded number of them: each time there are too many,
    every other one is dropped, so their distance is about a thousandth of the whole.

    Args:
        file: Its path or URL.
        start, packed: The stretch: its offset and bytes.
        wbits: As zlib has it: gzip (of several streams one after the other, too) or raw deflate.
    """

    def __init__(self, file: str, start: int, packed: int, wbits: int):
        self._file = open_file(file)
        self._end = start + packed
        self._wbits = wbits
        self._spacing = _FIRST_SPACING
        self._next_packed = start
        self._decompressor = zlib.decompressobj(wbits)
        self._done = False
        self._content, self._position = b"", 0  # the step at hand, and where it begins
        self._checkpoints = [(0, start, self._decompressor.copy())]

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def read_at(self, position: int, size: int) -> bytes:
        """At most `size` bytes from a position; none at the end, and only there.

        Raises:
            OSError: The packed bytes are broken or cut off.
        """
        self._seek(position)
        while position >= self._position + len(self._content):
            if self._done:
                return b""
            self._step()
        first = position - self._position
        return self._content[first : first + size]

    def _seek(self, position: int) -> None:
        nearest = bisect.bisect_right(self._checkpoints, position, key=lambda one: one[0]) - 1
        start, next_packed, decompressor = self._checkpoints[nearest]
        if not self._position <= position or start > self._position + len(self._content):
            self._position, self._content, self._done = start, b"", False
            self._next_packed, self._decompressor = next_packed, decompressor.copy()

    def _step(self) -> None:
        """Unpack the next few packed bytes."""
        size = min(PACKED_STEP, self._end - self._next_packed)
        packed = self._file.read_at(self._next_packed, max(size, 0))
        if not packed:
            raise OSError("its packed bytes are cut off")
        self._position += len(self._content)
        self._content = b""
        try:
            self._content = self._decompressor.decompress(packed)
        except zlib.error as error:
            raise OSError(f"its packed bytes are broken: {error}") from None
        self._next_packed += len(packed) - len(self._decompressor.unused_data)
        if self._decompressor.eof:
            self._next_stream()
        self._keep_checkpoint()

    def _next_stream(self) -> None:
        """A gzip file may hold several streams; what follows and is none, is left alone."""
        magic = read_fully(self._file.read_at, self._next_packed, 2)
        self._done = self._wbits != _GZIP or magic != b"\x1f\x8b"
        if not self._done:
            self._decompressor = zlib.decompressobj(self._wbits)

    def _keep_checkpoint(self) -> None:
        position = self._position + len(self._content)
        if self._done or position < self._checkpoints[-1][0] + self._spacing:
            return
        self._checkpoints.append((position, self._next_packed, self._decompressor.copy()))
        if len(self._checkpoints) > _MAX_CHECKPOINTS:
            self._checkpoints = self._checkpoints[::2]
            self._spacing *= 2


class _Window(io.RawIOBase):
    """A stretch of something as a stream of its own.

    Args:
        read_at: Reads the whole.
        offset, size: The stretch.
        owned: What is closed with it.
    """

    def __init__(self, read_at: ReadAt, offset: int, size: int, owned: OpenFile | None):
        self._read_at, self._offset, self._size, self._owned = read_at, offset, size, owned
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, (0, self._position, self._size)[whence] + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        content = self._read_at(self._offset + self._position, wanted)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        if self._owned is not None:
            self._owned.close()
        super().close()


def raw_stream(file: str) -> io.RawIOBase:
    """A whole file as a seekable stream."""
    opened = open_file(file)
    return _Window(opened.read_at, 0, opened.size, opened)


def _window(read_at: ReadAt, offset: int, size: int) -> io.BufferedReader:
    return io.BufferedReader(_Window(read_at, offset, size, None))


def _window_of_file(file: str, offset: int, size: int) -> io.BufferedReader:
    opened = open_file(file)
    return io.BufferedReader(_Window(opened.read_at, offset, size, opened))


def inflated_whole(file: str) -> Inflated:
    with contextlib.closing(open_file(file)) as opened:
        size = opened.size
    return _inflated(file, 0, size, _GZIP)


def _inflated(file: str, start: int, packed: int, wbits: int) -> Inflated:
    """The same one for the same bytes, so that its checkpoints serve for the next member."""
    return _kept_inflated(file, start, packed, wbits, state_of(file))


# Few, since each may hold 80 MB of checkpoints; files come in the order of their names.
@lru_cache(maxsize=2)
def _kept_inflated(
    file: str, start: int, packed: int, wbits: int, state: tuple[object, ...]
) -> Inflated:
    return Inflated(file, start, packed, wbits)
