"""Where metadata lies in each file format: the EXIF, XMP and IPTC blocks, cut out and bounded.

ExifRead can find EXIF in most containers by itself, but by heuristics that miss some real files (EXIF behind
long ICC segments, HEIC items without prefix) and, on hostile ones, read past the end. Here each container
is walked by its standard, and ExifRead gets the one thing that it is best at: a TIFF block.
"""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from worker.intake import tiff
from worker.intake.formats import Format

_EXIF_PREFIX = b"Exif\0\0"
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
_PNG_XMP_PREFIX = b"XML:com.adobe.xmp\0"
_MAX_PARTS = 1000
_MAX_XMP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Blocks:
    """Raw metadata, as found: a TIFF block, an XMP packet, an IPTC-IIM record. Empty where there is none."""

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""


def metadata_blocks(data: bytes, kind: Format) -> Blocks:
    """The first block of each sort. Raises only what the HEIC and AVIF libraries raise on damaged files."""
    reader = _READERS.get(kind)
    return Blocks() if reader is None else reader(data)


def _tiff_block(payload: bytes) -> bytes:
    """EXIF payloads begin with the TIFF header, with `Exif\\0\\0` before it, or with both and a length."""
    at = payload[:64].find(_EXIF_PREFIX)
    block = payload[at + 6 :] if at >= 0 else payload
    return block if block[:2] in (b"II", b"MM") else b""


def _bounded_xmp(packet: bytes) -> bytes:
    return packet if len(packet) <= _MAX_XMP_BYTES else b""


def _jpeg(data: bytes) -> Blocks:
    exif = xmp = iptc = b""
    for marker, payload in _jpeg_segments(data):
        if marker == 0xE1 and not exif and payload.startswith(_EXIF_PREFIX):
            exif = _tiff_block(payload)
        elif marker == 0xE1 and not xmp and payload.startswith(_XMP_PREFIX):
            xmp = payload[len(_XMP_PREFIX) :]
        elif marker == 0xED and not iptc and payload.startswith(_PHOTOSHOP_PREFIX):
            iptc = _photoshop_iptc(payload[len(_PHOTOSHOP_PREFIX) :])
    return Blocks(exif, xmp, iptc)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and payload of the APPn segments, up to the picture data (ISO/IEC 10918-1, B.1.1)."""
    at = 2
    for _ in range(_MAX_PARTS):
        at = data.find(b"\xff", at)
        while at >= 0 and data[at : at + 2] == b"\xff\xff":
            at += 1
        header = data[at : at + 4]
        if at < 0 or len(header) < 4 or header[1] in (0xDA, 0xD9):
            return
        size_bytes = int.from_bytes(header[2:], "big")
        if header[1] in (0x00, 0x01) or 0xD0 <= header[1] <= 0xD8 or size_bytes < 2:
            at += 2
            continue
        if 0xE0 <= header[1] <= 0xEF:
            yield header[1], data[at + 4 : at + 2 + size_bytes]
        at += 2 + size_bytes


def _photoshop_iptc(resources: bytes) -> bytes:
    """Resource 0x0404 of a Photoshop image resource block (Photoshop file formats, "Image Resources")."""
    at = 0
    while resources[at : at + 4] == b"8BIM" and at + 12 <= len(resources):
        name_bytes = (resources[at + 6] + 2) & ~1
        start = at + 6 + name_bytes + 4
        size_bytes = int.from_bytes(resources[start - 4 : start], "big")
        if resources[at + 4 : at + 6] == b"\x04\x04":
            return resources[start : start + size_bytes]
        at = start + size_bytes + (size_bytes & 1)
    return b""


def _png(data: bytes) -> Blocks:
    exif = xmp = b""
    at = 8
    for _ in range(_MAX_PARTS):
        if at + 8 > len(data):
            break
        size_bytes, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        start = at + 8
        if name == b"IEND":
            break
        if name == b"eXIf":
            exif = exif or _tiff_block(data[start : start + size_bytes])
        elif name == b"iTXt" and data.startswith(_PNG_XMP_PREFIX, start):
            text = data[start + len(_PNG_XMP_PREFIX) : start + size_bytes]
            if text[:1] == b"\0":  # not compressed, as the XMP specification demands
                xmp = xmp or _bounded_xmp(text[2:].split(b"\0", 2)[-1])
        at = start + size_bytes + 4
    return Blocks(exif, xmp)


def _webp(data: bytes) -> Blocks:
    exif = xmp = b""
    at = 12
    for _ in range(_MAX_PARTS):
        if at + 8 > len(data):
            break
        name, size_bytes = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        payload = data[at + 8 : at + 8 + size_bytes] if name in (b"EXIF", b"XMP ") else b""
        if name == b"EXIF":
            exif = exif or _tiff_block(payload)
        elif name == b"XMP ":
            xmp = xmp or _bounded_xmp(payload)
        at += 8 + size_bytes + (size_bytes & 1)
    return Blocks(exif, xmp)


def _heic(data: bytes) -> Blocks:
    import pillow_heif

    info = pillow_heif.open_heif(data).info
    return Blocks(_tiff_block(info.get("exif") or b""), _bounded_xmp(info.get("xmp") or b""))


def _avif(data: bytes) -> Blocks:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["AVIF"]) as header:
        info = header.info
        return Blocks(_tiff_block(info.get("exif") or b""), _bounded_xmp(info.get("xmp") or b""))


def _tiff(data: bytes) -> Blocks:
    """TIFF-based files are their own EXIF block. Panasonic and Olympus RAW differ in the magic number only."""
    exif = b"" if data[2:4] in (b"+\0", b"\0+") else data
    if data[:4] in (b"IIU\0", b"IIRO", b"IIRS", b"MMOR"):
        exif = data[:2] + struct.pack("<H" if data[:2] == b"II" else ">H", 42) + data[4:]
    directory = tiff.first_directory(data)
    xmp, iptc = (
        data[entry.start : entry.start + min(entry.size_bytes, _MAX_XMP_BYTES)] if entry else b""
        for entry in (directory.get(tiff.XMP), directory.get(tiff.IPTC))
    )
    return Blocks(exif if exif[:2] in (b"II", b"MM") else b"", xmp.rstrip(b"\0"), iptc)


_READERS: dict[Format, Callable[[bytes], Blocks]] = {
    Format.JPEG: _jpeg,
    Format.PNG: _png,
    Format.WEBP: _webp,
    Format.HEIC: _heic,
    Format.AVIF: _avif,
    Format.TIFF: _tiff,
    Format.RAW: _tiff,
}
