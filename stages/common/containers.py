"""Which format the bytes of a file say, and whether the end of the file is there.

Decoders do not tell: some give a cut file a grey lower half, some call it broken, some do not
know it at all.
"""

import struct
from collections.abc import Callable, Iterator

import numpy as np

from stages.common.netpbm import is_netpbm

# By the names that Pillow has for them.
_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}

_OTHER_PICTURES = {
    b"8BPS": "Photoshop",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"\0\0\x01\0": "an icon",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"SIMPLE  =": "FITS",
    b"gimp xcf": "GIMP",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance",
    b"P7\n": "PAM",
    b"PF\n": "PFM, floating-point pixels",
    b"Pf\n": "PFM, floating-point pixels",
}

_ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
}

_CODESTREAM = b"\xff\x4f\xff\x51"
_DIB_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_TIFF_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_TYPES |= {16: 8, 17: 8, 18: 8}  # bytes of one value, by the number of its type
_TIFF_PLACES = {273: 279, 324: 325}  # offsets of strips and tiles, and their lengths


class _Cut(Exception):
    """The end of a file is missing; says of what."""


def picture_format(content: bytes) -> str | None:
    """The name that Pillow has for the format of a picture that is to be read, or None."""
    if name := _by_signature(content, _PICTURES):
        return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if _brands(content) & {b"avif", b"avis"}:
        return "AVIF"
    if content[:2] == b"BM" and (
        len(content) < 30 or content[6:10] == bytes(4) or _is_bitmap(content[14:30])
    ):
        return "BMP"
    if len(content) >= 16 and _is_bitmap(content[:16]):
        return "DIB"
    return "PPM" if is_netpbm(content) else None


def other_picture(content: bytes) -> str | None:
    """What a picture is in a format that is not read, or None."""
    if _brands(content) & {b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1"}:
        return "HEIF"
    return _by_signature(content, _OTHER_PICTURES)


def archive_format(content: bytes) -> str | None:
    """What kind of archive or compressed file some bytes are, or None."""
    if content[257:262] == b"ustar":
        return "tar"
    return _by_signature(content, _ARCHIVES)


def missing_end(content: bytes, name: str) -> str | None:
    """What is missing at the end of a picture, in one line; None if it is whole.

    A file whose structure is damaged counts as whole: what is wrong with it is for a decoder to
    say.

    Args:
        content: The bytes of the file.
        name: Its `picture_format`.
    """
    try:
        _CHECKS[name](content)
    except _Cut as cut:
        return f"{len(content)} bytes, {cut}"
    except (struct.error, IndexError):
        return f"{len(content)} bytes, which end too early"
    return None


def bits_of_sample(content: bytes, name: str) -> int:
    """How many bits a pixel of a bitmap has, or a channel of a JPEG 2000; of others 0."""
    if name in ("BMP", "DIB"):
        header = 14 if name == "BMP" else 0
        (size,) = struct.unpack_from("<I", content, header)
        return struct.unpack_from("<H", content, header + (10 if size == 12 else 14))[0]
    if name == "JPEG2000":
        return (content[content.index(_CODESTREAM) + 42] & 127) + 1
    return 0


def without_png_texts(content: bytes) -> bytes:
    """A whole PNG without its texts and its colour profile."""
    kept, start = [content[:8]], 8
    for kind, end in _png_chunks(content):
        if kind not in _PNG_TEXTS:
            kept.append(content[start:end])
        start = end
    return b"".join(kept)


def _by_signature(content: bytes, signatures: dict[bytes, str]) -> str | None:
    found = (name for start, name in signatures.items() if content.startswith(start))
    return next(found, None)


def _brands(content: bytes) -> set[bytes]:
    """The brands that a file of the ISO base media format says it fits; of others none."""
    if content[4:8] != b"ftyp":
        return set()
    (size,) = struct.unpack_from(">I", content)
    return {content[place : place + 4] for place in range(8, min(size, len(content), 256), 4)}


def _is_bitmap(header: bytes) -> bool:
    """Whether 16 bytes begin the header of a device-independent bitmap."""
    (size,) = struct.unpack_from("<I", header)
    planes = header[8:10] if size == 12 else header[12:14]
    return size in _DIB_HEADERS and planes == b"\1\0"


def _expect(content: bytes, end: int, what: str) -> None:
    if end > len(content):
        raise _Cut(f"{what} would end at byte {end}")


def _check_png(content: bytes) -> None:
    for kind, end in _png_chunks(content):
        _expect(content, end, f"its chunk {kind.decode('ascii', 'replace')}")


def _png_chunks(content: bytes) -> list[tuple[bytes, int]]:
    """Kind and end of each chunk up to IEND, or to the first that is none."""
    chunks, place, kind = [], 8, b""
    while kind != b"IEND" and place <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if not kind.isalpha():
            break
        place += 12 + length
        chunks.append((kind, place))
    return chunks


def _check_jpeg(content: bytes) -> None:
    place, marker = 2, 0
    while marker != 0xDA:  # start of scan; thumbnails before it have ends of their own
        place = content.find(b"\xff", place)
        marker = content[place + 1] if place >= 0 else content[len(content)]
        if marker == 0xD9:
            return
        if marker == 0xFF:
            place += 1
        elif marker in (0, 1) or 0xD0 <= marker <= 0xD8:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", content, place + 2)[0]
    if content.rfind(b"\xff\xd9", place) < 0:
        raise _Cut("without the marker of its end")


def _check_gif(content: bytes) -> None:
    place = 13 + _gif_colours(content[10])
    while (kind := content[place]) != 0x3B:
        if kind == 0x21:
            place = _skip_gif_blocks(content, place + 2)
        elif kind == 0x2C:
            table = _gif_colours(content[place + 9])
            place = _skip_gif_blocks(content, place + 11 + table)
        else:
            place += 1


def _gif_colours(flags: int) -> int:
    """Bytes of the table of colours that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_gif_blocks(content: bytes, place: int) -> int:
    while size := content[place]:
        place += 1 + size
    return place + 1


def _check_webp(content: bytes) -> None:
    (size,) = struct.unpack_from("<I", content, 4)
    _expect(content, 8 + size, "its RIFF chunk")


def _check_bmp(content: bytes) -> None:
    size, _, offset = struct.unpack_from("<III", content, 2)
    _check_bitmap(content, 14, offset, size)


def _check_dib(content: bytes) -> None:
    _check_bitmap(content, 0, 0, 0)


def _check_bitmap(content: bytes, header: int, offset: int, file_size: int) -> None:
    (size,) = struct.unpack_from("<I", content, header)
    compression = data_size = colours = 0
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", content, header + 4)
    else:
        fields = struct.unpack_from("<iiHHIIiiI", content, header + 4)
        width, height, _, bits, compression, data_size, _, _, colours = fields
    table = (colours or 1 << bits) * (3 if size == 12 else 4) if bits <= 8 else 0
    masks = 12 if compression == 3 and size == 40 else 0
    if offset in (0, header + size):
        offset = header + size + table + masks
    if compression in (1, 2):  # run lengths
        end = offset + data_size if data_size else file_size
    else:
        end = offset + (width * bits + 31) // 32 * 4 * abs(height)
    _expect(content, end, "its last row")


def _check_tiff(content: bytes) -> None:
    """The first page with all that its directory points to."""
    places: dict[int, list[int]] = {}
    for tag, value in _tiff_tags(content):
        if value is not None and tag in (*_TIFF_PLACES, *_TIFF_PLACES.values()):
            places[tag] = value.tolist()
    for offsets, lengths in _TIFF_PLACES.items():
        starts = places.get(offsets, [])
        ends = map(sum, zip(starts, places.get(lengths, []), strict=False))
        _expect(content, max([*starts, *ends], default=0), "its last strip or tile")


def _tiff_tags(content: bytes) -> Iterator[tuple[int, np.ndarray | None]]:
    """Each tag of the first directory, with its values if they are whole numbers above 8 bits."""
    order, big = ("<" if content[:2] == b"II" else ">"), b"+" in content[2:4]
    word, counter = (f"{order}Q", f"{order}Q") if big else (f"{order}I", f"{order}H")
    (place,) = struct.unpack_from(word, content, 8 if big else 4)
    _expect(content, place, "what stands before its directory")
    (count,) = struct.unpack_from(counter, content, place)
    entry = struct.Struct(f"{order}HHQ8s" if big else f"{order}HHI4s")
    place += struct.calcsize(counter)
    _expect(content, place + count * entry.size + struct.calcsize(word), "its directory")
    for number in range(count):
        tag, kind, length, value = entry.unpack_from(content, place + number * entry.size)
        size = length * _TIFF_TYPES.get(kind, 0)
        if size > len(value):
            (start,) = struct.unpack(word, value)
            _expect(content, start + size, f"its tag {tag}")
            value = memoryview(content)[start : start + size]
        is_whole = kind in (3, 4, 16)
        yield (
            tag,
            np.frombuffer(value[:size], f"{order}u{size // length}")
            if is_whole and length
            else None,
        )


def _check_boxes(content: bytes, needed: set[bytes]) -> None:
    """The boxes of the ISO base media format, until all that are needed have been seen."""
    place = 0
    while needed:
        size, kind = struct.unpack_from(">I4s", content, place)
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, place + 8)
        if size == 0:  # to the end of the file
            return
        if size < 8:
            return
        place += size
        _expect(content, place, f"its box {kind.decode('ascii', 'replace')}")
        needed = needed - {kind}


def _check_avif(content: bytes) -> None:
    _check_boxes(content, {b"meta", b"mdat"})


def _check_jpeg2000(content: bytes) -> None:
    if content[:1] == b"\0":
        _check_boxes(content, {b"jp2h", b"jp2c"})
    if content.rfind(b"\xff\xd9", 12) < 0:
        raise _Cut("without the marker of its end")


_CHECKS: dict[str, Callable[[bytes], None]] = {
    "JPEG": _check_jpeg,
    "PNG": _check_png,
    "GIF": _check_gif,
    "WEBP": _check_webp,
    "BMP": _check_bmp,
    "DIB": _check_dib,
    "TIFF": _check_tiff,
    "JPEG2000": _check_jpeg2000,
    "AVIF": _check_avif,
}
