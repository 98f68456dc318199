"""What a photograph says about itself: where, when, what, and what may be done with it.

EXIF comes before XMP, since cameras write the one and programs the other; for captions it is the reverse,
since people write them with programs.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from worker.errors import JobError
from worker.intake import exif
from worker.intake.containers import Blocks, metadata_blocks
from worker.intake.formats import sniff
from worker.intake.gps import GpsFix, distance_km
from worker.intake.xmp import Xmp, read_xmp

__all__ = ["GpsFix", "Metadata", "read_metadata"]

_MAX_CAPTION_CHARS = 2000
_MAX_FLAG_CHARS = 100
_MAX_PROBLEM_CHARS = 200
_DISAGREE_KM = 1.0

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")

_MAKERS_OWN = re.compile(
    r"(olympus |minolta |konica |kodak )?digital camera|sony dsc|samsung|default|dcf 1\.0|dcim([\\/].*)?",
    re.IGNORECASE,
)
"""What some cameras write into every ImageDescription: no caption of this photograph."""


@dataclass(frozen=True)
class Metadata:
    """Metadata of one photograph; None where the file says nothing that is believed.

    `taken_at` is naive where the file names no time zone. `data_mining` is the last part of the IPTC value
    (`DMI-PROHIBITED-AIMLTRAINING`). `problems` says in words what was found and not believed. Texts are
    untrusted, of bounded length, without control characters but line breaks and tabs.
    """

    gps: GpsFix | None = None
    taken_at: datetime | None = None
    caption: str | None = None
    data_mining: str | None = None
    problems: tuple[str, ...] = ()


def read_metadata(data: bytes) -> Metadata:
    """Reads the metadata of a photograph's bytes. Never raises because of content; its work is bounded."""
    problems: list[str] = []
    blocks = _blocks(data, problems)
    tags = exif.read_tags(blocks.exif, problems) if blocks.exif else {}
    xmp = read_xmp(blocks.xmp, problems) if blocks.xmp else Xmp()
    gps = exif.read_gps(tags, problems)
    if gps is not None and xmp.gps is not None and distance_km(gps, xmp.gps) > _DISAGREE_KM:
        problems.append(f"EXIF and XMP positions are {distance_km(gps, xmp.gps):,.0f} km apart; EXIF is taken")
    captions = (xmp.caption, _iptc_caption(blocks.iptc), exif.read_description(tags))
    return Metadata(
        gps=gps or xmp.gps,
        taken_at=exif.read_taken_at(tags) or xmp.taken_at,
        caption=next((text for text in map(_caption, captions) if text), None),
        data_mining=_clean(xmp.data_mining, _MAX_FLAG_CHARS) or None,
        problems=tuple(_clean(problem, _MAX_PROBLEM_CHARS) for problem in problems),
    )


def _blocks(data: bytes, problems: list[str]) -> Blocks:
    try:
        return metadata_blocks(data, sniff(data))
    except JobError:  # not a picture: `decode` tells the reason, and there is no metadata to speak of
        return Blocks()
    except (ImportError, MemoryError):  # no fault of the photograph's
        raise
    except Exception as error:  # libheif and libavif on damaged files
        problems.append(f"metadata cannot be reached ({type(error).__name__})")
        return Blocks()


def _clean(text: str, max_chars: int) -> str:
    """Without NUL (Postgres refuses it), other control characters and lone surrogates; bounded."""
    return _CONTROL.sub(" ", text[: 4 * max_chars].replace("\r\n", "\n")).strip()[:max_chars].rstrip()


def _caption(text: str) -> str:
    """A caption for people, or nothing: not the maker's default, a file path, or bytes that are no text."""
    cleaned = _clean(text, _MAX_CAPTION_CHARS)
    binary = len(_CONTROL.findall(text[:_MAX_CAPTION_CHARS].strip("\0"))) * 10 > len(cleaned)
    return "" if binary or _MAKERS_OWN.fullmatch(cleaned) else cleaned


def _iptc_caption(record: bytes) -> str:
    """Caption/Abstract, dataset 2:120 (IPTC-IIM 4.2). UTF-8 where it is valid, else Latin-1."""
    at = 0
    while at + 5 <= len(record) and record[at] == 0x1C:
        size_bytes = int.from_bytes(record[at + 3 : at + 5], "big")
        if record[at + 1 : at + 3] == b"\x02\x78":
            value = record[at + 5 : at + 5 + size_bytes]
            try:
                return value.decode()
            except UnicodeDecodeError:
                return value.decode("latin-1")
        at += 5 + size_bytes
    return ""
