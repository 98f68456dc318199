"""EXIF through ExifRead, with its work bounded.

ExifRead follows whatever offsets a file gives. In a hostile block of 64 KB, directories of 65,535 entries that
each point to another such directory would keep it busy for hours. Every step of it goes through the file
object, so that is where the work is counted: `_Metered` ends the reading, and what was read until then stands.
For the same reason the first directory and the two that hang on it (EXIF, GPS) are read, and neither thumbnails
nor maker notes.
"""

import io
import logging
from datetime import datetime, timedelta, timezone
from typing import Any

from exifread.core.exif_header import ExifHeader

from schema.reasons import LabelSource
from worker.intake.gps import GpsFix, NotBelieved, coordinate, fix, numbers_in

_MAX_READS = 20_000
_MAX_READ_BYTES = 4 << 20

# ExifRead warns of each oddity of each file; what matters of them is in `problems`.
logging.getLogger("exifread").setLevel(logging.ERROR)

Tags = dict[str, Any]

_POSITIONING_ERROR = "GPS Tag 0x001F"
"""GPSHPositioningError (EXIF 2.31), which ExifRead 3.5 has no name for."""


class _TooMuchWork(Exception):
    """Raised when a block makes ExifRead read more than any camera's block does."""


class _Metered(io.BytesIO):
    """A file in memory that allows so many reads and bytes."""

    _reads = 0
    _read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size if size is None or size <= _MAX_READ_BYTES else _MAX_READ_BYTES)
        self._reads += 1
        self._read_bytes += len(chunk)
        if self._reads > _MAX_READS or self._read_bytes > _MAX_READ_BYTES:
            raise _TooMuchWork
        return chunk


def read_tags(block: bytes, problems: list[str]) -> Tags:
    """ExifRead's tags of a TIFF block, named as there ("GPS GPSLatitude"); as many as could be read."""
    header = ExifHeader(_Metered(block), endian=chr(block[0]), offset=0, fake_exif=0, strict=False, detailed=False)
    try:
        header.dump_ifd(header.s2n(4, 4), "Image")
        pointer = header.tags.get("Image ExifOffset")
        if pointer is not None and pointer.values:
            header.dump_ifd(pointer.values[0], "EXIF")
    except _TooMuchWork:
        problems.append("EXIF directories that loop or never end")
    except Exception as error:  # ExifRead lets through whatever damaged offsets provoke
        problems.append(f"EXIF damaged ({type(error).__name__})")
    tags: Tags = header.tags
    return tags


def read_gps(tags: Tags, problems: list[str]) -> GpsFix | None:
    """The camera's position from the GPS directory, if it is there and believed (see `gps`)."""
    if "GPS GPSLatitude" not in tags and "GPS GPSLongitude" not in tags:
        return None
    try:
        lat = coordinate(_parts(tags, "GPSLatitude"), _text(tags, "GPS GPSLatitudeRef"), "latitude")
        lon = coordinate(_parts(tags, "GPSLongitude"), _text(tags, "GPS GPSLongitudeRef"), "longitude")
        return fix(
            lat,
            lon,
            LabelSource.EXIF,
            accuracy_m=_accuracy_m(tags),
            status=_text(tags, "GPS GPSStatus"),
            method=_charset_text(tags, "GPS GPSProcessingMethod"),
        )
    except NotBelieved as reason:
        problems.append(f"EXIF: {reason}")
        return None


def read_taken_at(tags: Tags) -> datetime | None:
    """DateTimeOriginal; with OffsetTimeOriginal as its zone where given, else naive (the camera's clock)."""
    text = _text(tags, "EXIF DateTimeOriginal")
    try:
        taken_at = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:  # cameras without a set clock write blanks or zeros
        return None
    offset = _text(tags, "EXIF OffsetTimeOriginal").strip()
    if len(offset) == 6 and offset[0] in "+-" and offset[1:3].isdecimal() and offset[4:].isdecimal():
        minutes = int(offset[1:3]) * 60 + int(offset[4:])
        if minutes <= 14 * 60:
            zone = timezone(timedelta(minutes=minutes if offset[0] == "+" else -minutes))
            return taken_at.replace(tzinfo=zone)
    return taken_at


def read_description(tags: Tags) -> str:
    """ImageDescription as stored; empty where there is none."""
    return _text(tags, "Image ImageDescription")


def _values(tags: Tags, name: str) -> Any:
    tag = tags.get(name)
    return [] if tag is None else tag.values


def _text(tags: Tags, name: str) -> str:
    values = _values(tags, name)
    if isinstance(values, bytes):  # ExifRead leaves what is not UTF-8 undecoded
        return values.decode("latin-1")
    if isinstance(values, str):
        return values
    return bytes(v for v in values if isinstance(v, int) and 0 <= v < 256).decode("latin-1")


def _charset_text(tags: Tags, name: str) -> str:
    """Text of type UNDEFINED: eight bytes name its character set (EXIF 3.0, UserComment)."""
    text = _text(tags, name)
    if text.startswith("UNICODE"):
        return text[8:].replace("\0", "")
    return text[8:] if text.startswith(("ASCII\0", "JIS\0", "\0" * 8)) else text


def _parts(tags: Tags, name: str) -> list[float]:
    """Degrees, minutes, seconds as numbers, whatever type they are stored in. Raises `NotBelieved`."""
    values = _values(tags, f"GPS {name}")
    if isinstance(values, (str, bytes)):
        return numbers_in(_text(tags, f"GPS {name}"))
    if not values:
        raise NotBelieved(f"{name} missing")
    return [_number(value, name) for value in values]


def _number(value: Any, name: str) -> float:
    if isinstance(value, tuple):  # ExifRead hands floats on as struct.unpack gives them
        return float(value[0])
    if hasattr(value, "den"):
        if value.den == 0:
            raise NotBelieved(f"{name} {value.num}/0")
        return float(value.num / value.den)
    return float(value)


def _accuracy_m(tags: Tags) -> float | None:
    values = _values(tags, "GPS GPSHPositioningError") or _values(tags, _POSITIONING_ERROR)
    try:
        return _number(values[0], "GPSHPositioningError") if values and not isinstance(values, str) else None
    except NotBelieved:  # an unknown error radius does not make the position unknown
        return None
