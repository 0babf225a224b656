"""Pictures of the Netpbm family: PBM, PGM and PPM, plain and raw, of any largest value.

Pillow reads these sample by sample in Python where the largest value is not 255, which takes a
minute for a large scan, and takes a short file for a whole one.
Source: https://netpbm.sourceforge.net/doc/ppm.html, pgm.html and pbm.html.
"""

import re
from dataclasses import dataclass

import numpy as np

_GAP = re.compile(rb"(?:[ \t\n\v\f\r]|#[^\r\n]*)*")
_NUMBER = re.compile(rb"[0-9]{1,9}")
_COMMENT = re.compile(rb"#[^\r\n]*")
_BITS, _COLOURS, _PLAIN = b"14", b"36", b"123"


@dataclass(frozen=True)
class Header:
    """What stands before the samples.

    Attributes:
        kind: The digit behind the P.
        size: Width and height, pixels.
        largest: The value of white, 1 to 65535.
        start: Where the samples begin, bytes.
    """

    kind: bytes
    size: tuple[int, int]
    largest: int
    start: int

    @property
    def samples(self) -> int:
        """How many numbers the picture has."""
        return self.size[0] * self.size[1] * (3 if self.kind in _COLOURS else 1)

    @property
    def end(self) -> int:
        """Where the samples end at the earliest, bytes; in plain text each takes one or two."""
        if self.kind in _PLAIN:
            return self.start + self.samples * (1 if self.kind in _BITS else 2) - 1
        if self.kind in _BITS:
            return self.start + (self.size[0] + 7) // 8 * self.size[1]
        return self.start + self.samples * (2 if self.largest > 255 else 1)


def is_netpbm(content: bytes) -> bool:
    """Whether some bytes begin as a picture of this family, be it cut within its header."""
    if re.match(rb"P[1-6][ \t\n\v\f\r#]", content) is None:
        return False
    numbers, place = _read_numbers(content)
    return len(numbers) == _expected_numbers(content) or place >= len(content)


def read_header(content: bytes) -> Header | None:
    """The header of what `is_netpbm`; None if it is cut.

    Raises:
        ValueError: Its largest value is none.
    """
    numbers, place = _read_numbers(content)
    if len(numbers) < _expected_numbers(content) or place >= len(content):
        return None
    width, height, largest = (*numbers, 1)[:3]
    if not 0 < largest < 65536:
        raise ValueError(f"expected a largest value of 1 to 65535, received {largest}")
    return Header(content[1:2], (width, height), largest, place + 1)


def read_samples(content: bytes, header: Header) -> np.ndarray | None:
    """The samples as the file has them, or None if some are missing.

    Returns:
        Integers (height, width) or (height, width, 3), from 0 for black to `header.largest`.

    Raises:
        ValueError: What stands there is no number, or above the largest.
    """
    if len(content) < header.end:
        return None
    read = _read_plain if header.kind in _PLAIN else _read_raw
    if (samples := read(content, header)) is None:
        return None
    if samples.max() > header.largest:
        raise ValueError(f"a sample of {samples.max()}, above the largest, {header.largest}")
    if header.kind in _BITS:
        samples = 1 - samples  # there 1 is black
    width, height = header.size
    return samples.reshape((height, width, 3) if header.kind in _COLOURS else (height, width))


def _expected_numbers(content: bytes) -> int:
    return 2 if content[1:2] in _BITS else 3


def _read_numbers(content: bytes) -> tuple[list[int], int]:
    """The numbers of the header, as many as there are, and where they end."""
    numbers, place = [], 2
    while len(numbers) < _expected_numbers(content):
        place = _GAP.match(content, place).end()
        number = _NUMBER.match(content, place)
        if number is None:
            break
        numbers.append(int(number[0]))
        place = number.end()
    return numbers, place


def _read_raw(content: bytes, header: Header) -> np.ndarray:
    data = memoryview(content)[header.start : header.end]
    if header.kind in _BITS:
        width, height = header.size
        rows = np.frombuffer(data, np.uint8).reshape(height, -1)
        return np.unpackbits(rows, axis=1, count=width)
    return np.frombuffer(data, np.uint8 if header.largest < 256 else ">u2")


def _read_plain(content: bytes, header: Header) -> np.ndarray | None:
    text = _COMMENT.sub(b"", content[header.start :])
    if header.kind in _BITS:  # nothing need stand between two of them
        digits = b"".join(text.split())[: header.samples]
        samples = np.frombuffer(digits, np.uint8) - np.uint8(ord("0"))
        return samples if len(samples) == header.samples else None
    if stray := re.search(rb"[^0-9 \t\n\v\f\r]", text):
        raise ValueError(f"expected numbers, received {stray[0]!r}")
    is_digit = np.frombuffer(b" " + text, np.uint8) >= ord("0")
    numbers = np.count_nonzero(is_digit[1:] & ~is_digit[:-1])
    if numbers < header.samples:  # NumPy would go on with whatever lies in memory
        return None
    return np.fromstring(text, np.int64, count=header.samples, sep=" ")
