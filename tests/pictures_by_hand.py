"""Pictures written after their standards, in forms that Pillow reads and does not write."""

import struct
import zlib

import numpy as np

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
ADAM7 += [(1, 0, 2, 1)]
"""First row and column of each pass, and its steps down and across (PNG, section 8.2)."""


def packed(samples: np.ndarray, bits: int) -> np.ndarray:
    """Samples of so many bits, the highest first, each row filled up to whole bytes.

    Args:
        samples: Integers (height, width) or (height, width, channels).
        bits: 1 to 16.

    Returns:
        uint8 (height, bytes of a row).
    """
    single = samples[..., None] >> np.arange(bits)[::-1] & 1
    return np.packbits(single.reshape(len(samples), -1).astype(np.uint8), axis=1)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    samples: np.ndarray, bits: int, kind: int, interlaced: bool = False, **chunks: bytes
) -> bytes:
    """A PNG.

    Args:
        samples: Integers (height, width) or (height, width, channels).
        bits: Of each of them.
        kind: 0 grey, 2 RGB, 3 numbers of a palette, 4 grey and alpha, 6 RGB and alpha.
        interlaced: Whether coarse pictures come first.
        chunks: What stands before the pixels, by its name.
    """
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = [packed(samples[top::down, left::right], bits) for top, left, down, right in passes]
    rows = b"".join(np.pad(part, ((0, 0), (1, 0))).tobytes() for part in parts)  # without filter
    body = {"IHDR": header, **chunks, "IDAT": zlib.compress(rows), "IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(n.encode(), data) for n, data in body.items())


def bmp(
    rows: np.ndarray,
    width: int,
    bits: int,
    palette: np.ndarray | None = None,
    masks: tuple[int, ...] = (),
    top_down: bool = False,
) -> bytes:
    """A BMP; without its first 14 bytes, a device-independent bitmap.

    Args:
        rows: uint8 (height, bytes of a row), the upper row first.
        width: Pixels.
        bits: Of a pixel.
        palette: uint8 (colours, 3): red, green, blue.
        masks: Which bits are red, green, blue and alpha.
        top_down: Whether the upper row is the first in the file, and not the last.
    """
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))[:: 1 if top_down else -1]
    height = -len(rows) if top_down else len(rows)
    colours = b"" if palette is None else np.pad(palette[:, ::-1], ((0, 0), (0, 1))).tobytes()
    table = struct.pack(f"<{len(masks)}I", *masks) + colours
    header = struct.pack(
        *("<IiiHHIIiiII", 40 + 4 * len(masks), width, height, 1, bits, 3 if masks else 0),
        *(rows.size, 0, 0, len(colours) // 4, 0),
    )
    start = 14 + len(header) + len(table)
    file_header = struct.pack("<2sIHHI", b"BM", start + rows.size, 0, 0, start)
    return file_header + header + table + rows.tobytes()


def tiff(
    samples: np.ndarray,
    bits: int = 8,
    kind: int = 1,
    order: str = "<",
    tiled: bool = False,
    deflated: bool = False,
    palette: np.ndarray | None = None,
    alpha: int | None = None,
    planar: bool = False,
) -> bytes:
    """A TIFF of strips or tiles, which stand behind the directory.

    Args:
        samples: Integers (height, width) or (height, width, channels).
        bits: Of each of them.
        kind: 0 grey where 0 is white, 1 grey where 0 is black, 2 RGB, 3 numbers of a palette.
        order: Of the bytes of a number: `<` the lowest first, `>` the highest first.
        tiled: Tiles of 16 x 16 pixels, or strips of 8 rows.
        deflated: Whether they are compressed.
        palette: uint8 (2 ** bits, 3): red, green, blue.
        alpha: What the last channel is: 1 alpha by which the colours are multiplied, 2 alpha.
        planar: Whether each channel has strips of its own.
    """
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    data = [
        block.astype(f"{order}u2").tobytes() if bits == 16 else packed(block, bits).tobytes()
        for plane in (np.moveaxis(samples, 2, 0) if planar else [samples])
        for block in _blocks(plane, tiled)
    ]
    data = list(map(zlib.compress, data)) if deflated else data
    lengths = [len(one) for one in data]
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    tags = {256: [width], 257: [height], 258: [bits] * channels, 259: [8 if deflated else 1]}
    tags |= {262: [kind], 277: [channels]}
    tags |= {322: [16], 323: [16], 324: starts, 325: lengths} if tiled else {}
    tags |= {} if tiled else {273: starts, 278: [8], 279: lengths}
    if planar:
        tags[284] = [2]
    if alpha is not None:
        tags[338] = [alpha]
    if palette is not None:
        tags[320] = [257 * level for level in palette.T.reshape(-1).tolist()]
    before = len(_tiff_directory(tags, order, 0))
    return _tiff_directory(tags, order, before) + b"".join(data)


def _blocks(samples: np.ndarray, tiled: bool) -> list[np.ndarray]:
    height, width = samples.shape[:2]
    if not tiled:
        return [samples[top : top + 8] for top in range(0, height, 8)]
    around = ((0, -height % 16), (0, -width % 16), (0, 0))[: samples.ndim]
    grid = np.pad(samples, around)
    corners = [(top, left) for top in range(0, height, 16) for left in range(0, width, 16)]
    return [grid[top : top + 16, left : left + 16] for top, left in corners]


def _tiff_directory(tags: dict[int, list[int]], order: str, before: int) -> bytes:
    """What stands before strips and tiles: so many bytes, by which they are moved."""
    entries, far = [], b""
    for tag, values in sorted(tags.items()):
        kind, letter = (4, "I") if tag in (273, 279, 324, 325) else (3, "H")
        values = [before + start for start in values] if tag in (273, 324) else values
        value = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(value) > 4:
            place = 8 + 2 + 12 * len(tags) + 4 + len(far)
            value, far = struct.pack(f"{order}I", place), far + value
        entry = struct.pack(f"{order}HHI", tag, kind, len(values))
        entries.append(entry + value.ljust(4, b"\0"))
    start = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(tags))
    return start + b"".join(entries) + bytes(4) + far


def netpbm(kind: int, samples: np.ndarray, largest: int = 1, comment: str = "") -> bytes:
    """A PBM (1 and 4), PGM (2 and 5) or PPM (3 and 6): as text up to 3, above as bytes.

    Args:
        kind: The digit behind the P.
        samples: Integers (height, width), or (height, width, 3) for a PPM.
        largest: The value of white; a PBM has none, there 0 is white.
        comment: What stands behind each number of the header.
    """
    height, width = samples.shape[:2]
    numbers = [width, height] if kind in (1, 4) else [width, height, largest]
    gap = f" #{comment}\n" if comment else " "
    header = f"P{kind}{gap}{gap.join(map(str, numbers))}\n".encode()
    if kind <= 3:
        return header + b"\n".join(" ".join(map(str, row.reshape(-1))).encode() for row in samples)
    return header + packed(samples, 1 if kind == 4 else 16 if largest > 255 else 8).tobytes()
