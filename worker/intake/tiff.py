"""The first directory of a TIFF block: enough to tell a RAW file and to find the packets stored in it.

TIFF 6.0 (Adobe, 1992), section 2; BigTIFF as in libtiff. Reading values is ExifRead's work, not this file's.
"""

import struct
from dataclasses import dataclass

_TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_MAX_ENTRIES = 4096

NEW_SUBFILE_TYPE = 0x00FE
COMPRESSION = 0x0103
PHOTOMETRIC = 0x0106
ORIENTATION = 0x0112
STRIP_BYTE_COUNTS = 0x0117
SUB_IFDS = 0x014A
XMP = 0x02BC
IPTC = 0x83BB
DNG_VERSION = 0xC612


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tag's value lies: `start` is an offset into the block, `size_bytes` its length."""

    start: int
    size_bytes: int


def first_directory(block: bytes) -> dict[int, Entry]:
    """Tag number to place, for values that lie inside `block`; empty where this is no readable TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return {}
    big = block[2:4] in (b"+\0", b"\0+")
    head, count_format, entry_format = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    count_bytes, entry_bytes, inline_bytes = (8, 20, 8) if big else (2, 12, 4)
    entries: dict[int, Entry] = {}
    try:
        (directory,) = struct.unpack_from(order + head, block, 8 if big else 4)
        (count,) = struct.unpack_from(order + count_format, block, directory)
        for index in range(min(count, _MAX_ENTRIES)):
            place = directory + count_bytes + index * entry_bytes
            tag, kind, length = struct.unpack_from(order + entry_format, block, place)
            start = place + entry_bytes - inline_bytes
            size_bytes = _TYPE_BYTES.get(kind, 0) * length
            if size_bytes > inline_bytes:
                (start,) = struct.unpack_from(order + head, block, start)
            if 0 < size_bytes <= len(block) - start:
                entries.setdefault(tag, Entry(start, size_bytes))
    except (struct.error, OverflowError):  # cut off: what was read before the end still stands
        return entries
    return entries


def short_value(block: bytes, entry: Entry | None) -> int | None:
    """The first value of a BYTE, SHORT or LONG entry."""
    if entry is None or entry.size_bytes not in (1, 2, 4):
        return None
    order = "little" if block[:2] == b"II" else "big"
    return int.from_bytes(block[entry.start : entry.start + entry.size_bytes], order)  # type: ignore[arg-type]
