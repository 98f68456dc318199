"""XMP packets: position, time, caption and the rights flag for data mining.

XMP specification part 1 (ISO 16684-1); GPS text as in CIPA DC-010; `plus:DataMining` as in the IPTC Photo Metadata
Standard 2023.1. Only the properties of the photograph itself are read, not those inside structures such as
the shown location. The XML is untrusted: no DTD, no entities, bounded size (see `containers`).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from schema.reasons import LabelSource
from worker.intake.gps import GpsFix, NotBelieved, coordinate, fix, numbers_in

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_PLUS = "{http://ns.useplus.org/ldf/xmp/1.0/}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

_GPS_TEXT = re.compile(r"\s*(\d{1,3}),(\d{1,2}(?:\.\d{1,12})?)(?:,(\d{1,2}(?:\.\d{1,12})?))?\s*([NSEWnsew])\s*")
_DECIMAL_TEXT = re.compile(r"\s*([+-]?\d{1,3}(?:[.,]\d{1,15})?)\s*([NSEWnsew]?)\s*")


@dataclass(frozen=True, slots=True)
class Xmp:
    """What a packet says, unbounded text as stored; empty or None where it says nothing."""

    gps: GpsFix | None = None
    taken_at: datetime | None = None
    caption: str = ""
    data_mining: str = ""


def read_xmp(packet: bytes, problems: list[str]) -> Xmp:
    """Reads one packet. Never raises; what was found and not believed is added to `problems`."""
    start, end = packet.find(b"<"), packet.rfind(b">")
    try:
        root = fromstring(packet[start : end + 1] if start >= 0 else packet, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        problems.append(f"XMP damaged or refused ({type(error).__name__})")
        return Xmp()
    found = list(root.iter(f"{_RDF}RDF"))
    descriptions = [node for rdf in found for node in rdf.findall(f"{_RDF}Description")]
    return Xmp(
        gps=_gps(descriptions, problems),
        taken_at=_taken_at(descriptions),
        caption=_language_text(descriptions, f"{_DC}description"),
        data_mining=re.split(r"[/#]", _property(descriptions, f"{_PLUS}DataMining").rstrip("/# "))[-1],
    )


def _property(descriptions: list[Element], name: str) -> str:
    """A simple property: XMP may write it as an attribute, as an element, or as a resource."""
    for node in descriptions:
        if name in node.attrib:
            return node.attrib[name].strip()
        child = node.find(name)
        if child is not None:
            return (child.attrib.get(f"{_RDF}resource") or child.text or "").strip()
    return ""


def _language_text(descriptions: list[Element], name: str) -> str:
    """A language alternative: its x-default, else its first entry."""
    for node in descriptions:
        entries = node.findall(f"{name}/{_RDF}Alt/{_RDF}li")
        default = [entry for entry in entries if entry.attrib.get(_XML_LANG) == "x-default"]
        for entry in (*default, *entries):
            if entry.text and entry.text.strip():
                return entry.text
    return _property(descriptions, name)


def _gps(descriptions: list[Element], problems: list[str]) -> GpsFix | None:
    lat_text, lon_text = (_property(descriptions, f"{_EXIF}GPS{axis}") for axis in ("Latitude", "Longitude"))
    if not lat_text and not lon_text:
        return None
    try:
        lat = _coordinate(lat_text, _property(descriptions, f"{_EXIF}GPSLatitudeRef"), "latitude")
        lon = _coordinate(lon_text, _property(descriptions, f"{_EXIF}GPSLongitudeRef"), "longitude")
        return fix(
            lat,
            lon,
            LabelSource.XMP,
            accuracy_m=_ratio(_property(descriptions, f"{_EXIF}GPSHPositioningError")),
            status=_property(descriptions, f"{_EXIF}GPSStatus"),
            method=_property(descriptions, f"{_EXIF}GPSProcessingMethod"),
        )
    except NotBelieved as reason:
        problems.append(f"XMP: {reason}")
        return None


def _coordinate(text: str, reference: str, axis: str) -> float:
    """`DDD,MM.mmmmK` or `DDD,MM,SSK` as the standard has it; decimal degrees with a reference as others do."""
    if match := _GPS_TEXT.fullmatch(text):
        degrees, minutes, seconds, hemisphere = match.groups()
        return coordinate([float(degrees), float(minutes), float(seconds or 0)], hemisphere, axis)
    if match := _DECIMAL_TEXT.fullmatch(text):
        return coordinate(numbers_in(match[1]), match[2] or reference, axis)
    raise NotBelieved(f"{axis} written as {text[:40]!r}" if text else f"{axis} missing")


def _ratio(text: str) -> float | None:
    """A rational as XMP writes it ("65/10"), or a plain number."""
    match = re.fullmatch(r"(\d{1,12})/(\d{1,12})|(\d{1,9}(?:\.\d{1,9})?)", text)
    if match is None:
        return None
    if match[3]:
        return float(match[3])
    return int(match[1]) / int(match[2]) if int(match[2]) else None


def _taken_at(descriptions: list[Element]) -> datetime | None:
    for name in (f"{_EXIF}DateTimeOriginal", f"{_PHOTOSHOP}DateCreated"):
        try:
            return datetime.fromisoformat(_property(descriptions, name))
        except ValueError:  # absent, or a year without a day, which XMP allows
            continue
    return None
