"""One file of `data/raw` as it was found: on disk, or in an archive."""

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stages.common.photos import image_id
from stages.ingest.places import InTar, InZip

TEXT_SUFFIXES = (".csv", ".tsv")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".xlsx", ".xlsm", ".xls", ".ods")
"""Tables are read piece by piece, so `file_megabytes` is not for them."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was found: a photo, or a table.

    Attributes:
        name: Path below the raw folder with `/`; a member of an archive follows the archive's.
        file: Path of the file itself, or of the archive that holds it. A text, which takes a
            fifth of the memory of a `Path`.
        size: Its bytes, unpacked.
        place: Where in the archive it lies; None: it is a file on disk.
    """

    name: str
    file: str
    size: int
    place: InZip | InTar | None = None

    def open(self) -> BinaryIO:
        """The file as a seekable binary stream, of at most `size` bytes if it is in an archive.

        Streams of one archive share what is needed to seek in it, within a process and a thread.

        Raises:
            OSError: It cannot be read. Reading the stream may raise it, too.
        """
        file = Path(self.file)
        return file.open("rb") if self.place is None else self.place.open(file, self.size)

    def read(self) -> bytes:
        """The bytes of the file; never more than `size`.

        Raises:
            OSError: It cannot be read, has another size than was found or declared, or does not
                fit its checksum.
        """
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


def image_ids(contents: Iterable[bytes]) -> tuple[list[str], list[str]]:
    """The id of each photo, and that of the first copy of its bytes; later ones get their own."""
    seen: Counter[str] = Counter()
    ids, originals = [], []
    for content in contents:
        first = image_id(content)
        ids.append(image_id(content, seen[first]) if seen[first] else first)
        originals.append(first)
        seen[first] += 1
    return ids, originals
