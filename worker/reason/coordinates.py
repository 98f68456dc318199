"""Reads a latitude and longitude that a model wrote, in any of the usual ways.

"48.8566, 2.3522", "48.85° N, 2.35° E", "48°51'24\\"N 2°21'03\\"E", and single values for a latitude or longitude
line. Out of range is no coordinate, and neither is 0, 0: models echo it from templates, and nobody lives there.
"""

import re
from typing import Literal

_MAX_CHARS = 200

_ANGLE = re.compile(
    r"(?P<before>[NSEW])?\s{0,3}(?P<sign>[-+−–])?\s?"
    r"(?P<deg>\d{1,3}(?:\.\d{0,20})?)"
    r"(?:\s?(?:°|º|deg(?:rees)?\b)\s{0,3}"
    r"(?:(?P<min>\d{1,2}(?:\.\d{0,20})?)\s?['′’]\s{0,3}(?:(?P<sec>\d{1,2}(?:\.\d{0,20})?)\s?(?:\"|″|”|''))?)?)?"
    r"\s{0,3}(?P<after>(?:north|south|east|west|[NSEW])\b)?",
    re.IGNORECASE,
)
_DECIMAL_COMMA = re.compile(r"\s*[-+−]?\d{1,3},\d+\s*°?\s*[NSEW]?\s*", re.IGNORECASE)

Axis = Literal["lat", "lon"]


def read_pair(text: str) -> tuple[float, float] | None:
    """(lat, lon) where the text holds exactly two angles that can be a point, else None.

    Latitude comes first unless the letters say otherwise.
    """
    angles = _angles(text)
    if len(angles) != 2:
        return None
    (first, first_axis), (second, second_axis) = angles
    if first_axis == "lon" or second_axis == "lat":
        first, second, first_axis, second_axis = second, first, second_axis, first_axis
    if first_axis == "lon" or second_axis == "lat":
        return None
    return checked(first, second)


def read_single(text: str, axis: Axis) -> float | None:
    """The one angle in the text of a `lat:` or `lon:` line, else None."""
    if _DECIMAL_COMMA.fullmatch(text[:_MAX_CHARS]):
        text = text.replace(",", ".", 1)
    angles = _angles(text)
    if len(angles) != 1 or angles[0][1] not in (None, axis):
        return None
    return angles[0][0]


def checked(lat: float, lon: float) -> tuple[float, float] | None:
    """The pair if it is a point on Earth and not 0, 0."""
    if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0) or (round(lat, 6) == 0 and round(lon, 6) == 0):
        return None
    return lat, lon


def _angles(text: str) -> list[tuple[float, Axis | None]]:
    found: list[tuple[float, Axis | None]] = []
    text = text[:_MAX_CHARS]
    position = 0
    while (match := _ANGLE.search(text, position)) is not None:
        position = match.end()
        if match.end() < len(text) and text[match.end()].isdigit():
            return []  # a number too long to be an angle
        minutes, seconds = float(match["min"] or 0), float(match["sec"] or 0)
        if minutes >= 60 or seconds >= 60:
            return []
        value = float(match["deg"]) + minutes / 60 + seconds / 3600
        letter = (match["after"] or match["before"] or "")[:1].upper()
        negative = match["sign"] in ("-", "−", "–")
        if negative and letter in ("S", "W"):
            negative = False  # "-33.9 S" means south once, not twice
            value = -value
        elif negative or letter in ("S", "W"):
            value = -value
        axis: Axis | None = "lat" if letter in ("N", "S") else "lon" if letter in ("E", "W") else None
        found.append((value, axis))
    return found
