"""One raw file as it was found: on disk or in a store, by itself or in an archive."""

import io
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from stages.common.photos import id_of_digest
from stages.ingest.places import InTar, InZip, raw_stream
from stages.ingest.scratch import scratch_array
from stages.ingest.stores import is_url, read_object

Result = TypeVar("Result")

# Of one process; some hundred photos a second each, if an answer takes a twentieth of a second.
_AT_A_TIME = 16

TEXT_SUFFIXES = (".csv", ".tsv")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".xlsx", ".xlsm", ".xls", ".ods")
"""Tables are read piece by piece, so `file_megabytes` is not for them."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was found: a photo, or a table.

    Attributes:
        name: Path below the raw folder with `/`; a member of an archive follows the archive's.
        file: Path or URL of the file itself, or of the archive that holds it. A text, which takes
            a fifth of the memory of a `Path`.
        size: Its bytes, unpacked.
        place: Where in the archive it lies; None: it is a file of its own.
    """

    name: str
    file: str
    size: int
    place: InZip | InTar | None = None

    @property
    def in_stream(self) -> bool:
        """Whether to reach it more is read than itself, which is kept for what lies beside it."""
        if self.place is None:
            return False
        return is_url(self.file) or (isinstance(self.place, InTar) and self.place.gzipped)

    def open(self) -> BinaryIO:
        """The file as a seekable binary stream, of at most `size` bytes if it is in an archive.

        Streams of one archive share what is needed to seek in it, within a process and a thread.

        Raises:
            OSError: It cannot be read. Reading the stream may raise it, too.
            InputError: It lies in a store that does not give it; reading may raise it, too.
        """
        if self.place is not None:
            return self.place.open(self.file, self.size)
        if is_url(self.file):
            return io.BufferedReader(raw_stream(self.file))
        return Path(self.file).open("rb")

    def read(self) -> bytes:
        """The bytes of the file; never more than `size`.

        Raises:
            OSError: It cannot be read, has another size than was found or declared, or does not
                fit its checksum.
            InputError: It lies in a store that does not give it.
        """
        if self.place is None and is_url(self.file):
            content = read_object(self.file, self.size)
        else:
            with self.open() as stream:
                content = stream.read(self.size + 1)
        if len(content) != self.size:
            raise OSError(f"expected {self.size} bytes, found {len(content)} or more")
        if isinstance(self.place, InZip) and zlib.crc32(content) != self.place.checksum:
            raise OSError("its bytes do not fit their checksum")
        return content


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that is not used: where it lies, a reason from a fixed list, and the detail."""

    source: str
    reason: str
    detail: str


def in_order(function: Callable[[Any], Result], sources: Iterable[Any]) -> Iterator[Result]:
    """What a function that reads gives for each source, in their order.

    An answer of a store is long in coming, so it is asked for some of its objects at a time, and
    what they give waits in memory. All else is read one by one.

    Args:
        function: Of a `Source` or something that lies in one, such as a row.
        sources: What it is called with.
    """
    threads = ThreadPoolExecutor(_AT_A_TIME)
    waiting: deque[Callable[[], Result]] = deque()
    try:
        for source in sources:
            alone = isinstance(source, Source) and source.place is None and is_url(source.file)
            waiting.append(
                threads.submit(function, source).result if alone else partial(function, source)
            )
            if len(waiting) == _AT_A_TIME:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()
    finally:
        threads.shutdown(cancel_futures=True)


def image_ids(digests: Sequence[bytes] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The id of each photo, and that of the first copy of its bytes; later ones get their own.

    Args:
        digests: The n `content_digest` of the photos; or uint8 (n, 32).

    Returns:
        Two arrays of n texts of 16 bytes.
    """
    originals = scratch_array(len(digests), "S16")
    ids = scratch_array(len(digests), "S16")
    for number, digest in enumerate(digests):
        originals[number] = ids[number] = id_of_digest(bytes(digest))
    order = np.argsort(originals, kind="stable")
    ordered = originals[order]
    for place in 1 + np.flatnonzero(ordered[1:] == ordered[:-1]):
        copy = int(place - np.searchsorted(ordered, ordered[place]))
        ids[order[place]] = id_of_digest(bytes(digests[order[place]]), copy)
    return ids, originals
