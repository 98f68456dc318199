"""What a camera's position means, and when it is not believed.

A position becomes a label, that is truth: the LVLM is not asked, and models learn from it. So a wrong one is
worse than none, and what the standard (EXIF 3.0, 4.6.6) leaves undefined is not believed:

- a coordinate without its reference (N/S, E/W), also where it is signed: writers of bare signed numbers exist
  who mean the sign and others who lost the reference, and the two cannot be told apart;
- a sign that contradicts the reference; a negative number with S or W is taken as that hemisphere;
- zero denominators, minutes or seconds beyond 60, latitudes beyond 90, longitudes beyond 180;
- the position 0, 0, which is what cameras write before they have a fix;
- status V (void), and a processing method that begins with AI-INFERRED: a model's guess, ours perhaps.

The subject's position (GPSDest*) is not the camera's and is not read at all.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from schema.reasons import LabelSource

NO_FIX_DEG = 1e-5
_INFERRED = "AI-INFERRED"
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class GpsFix:
    """Where the camera stood, WGS 84, degrees. `accuracy_m` is the camera's own estimate, if it gave one."""

    lat: float
    lon: float
    source: LabelSource
    accuracy_m: float | None


class NotBelieved(ValueError):
    """Raised with words that say why a position, or a part of it, is not taken."""


def coordinate(parts: Sequence[float], reference: str, axis: str) -> float:
    """Signed decimal degrees from degrees[, minutes[, seconds]]. `axis` is "latitude" or "longitude".

    Raises `NotBelieved`.
    """
    positive, negative, limit_deg = ("N", "S", 90.0) if axis == "latitude" else ("E", "W", 180.0)
    hemisphere = reference.strip("\0 ").upper()[:1]
    if hemisphere not in (positive, negative):
        missing = f"{axis} without {positive}/{negative} reference"
        raise NotBelieved(missing if not hemisphere else f"{axis} with reference {reference[:8]!r}")
    if not 1 <= len(parts) <= 3:
        raise NotBelieved(f"{axis} of {len(parts)} numbers")
    if not all(math.isfinite(part) for part in parts):
        raise NotBelieved(f"{axis} is not a number")
    degrees, minutes, seconds = (*parts, 0.0, 0.0)[:3]
    if not (0 <= minutes < 60 and 0 <= seconds <= 60):
        raise NotBelieved(f"{axis} with {minutes:g} minutes and {seconds:g} seconds")
    if degrees < 0 and hemisphere == positive:
        raise NotBelieved(f"negative {axis} with reference {positive}")
    value_deg = abs(degrees) + minutes / 60 + seconds / 3600
    if value_deg > limit_deg:
        raise NotBelieved(f"{axis} of {value_deg:g} degrees")
    return value_deg if hemisphere == positive else -value_deg


def numbers_in(text: str) -> list[float]:
    """The numbers of a coordinate written as text: "52.5", "52,5" (decimal comma), "52 30 15.5"."""
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    return [float(number) for number in _NUMBER.findall(text[:100])]


def fix(
    lat: float, lon: float, source: LabelSource, *, accuracy_m: float | None, status: str, method: str
) -> GpsFix:
    """The position, unless status or method or the place itself say that it is none. Raises `NotBelieved`."""
    if status.strip("\0 ").upper() == "V":
        raise NotBelieved("GPS status V (void)")
    if method.strip("\0 ").upper().startswith(_INFERRED):
        raise NotBelieved("GPS position inferred by a model, not measured")
    if abs(lat) < NO_FIX_DEG and abs(lon) < NO_FIX_DEG:
        raise NotBelieved("GPS 0, 0: no fix")
    believed = accuracy_m is not None and math.isfinite(accuracy_m) and accuracy_m > 0
    return GpsFix(lat, lon, source, accuracy_m if believed else None)


def distance_km(a: GpsFix, b: GpsFix) -> float:
    """Great-circle distance on a sphere of 6,371 km (haversine)."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    across = math.sin((lat_b - lat_a) / 2) ** 2
    along = math.sin(math.radians(b.lon - a.lon) / 2) ** 2
    return 2 * 6371.0 * math.asin(min(1.0, math.sqrt(across + math.cos(lat_a) * math.cos(lat_b) * along)))
