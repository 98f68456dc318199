"""Values as a person reads them: distances, coordinates, durations, names. Plain text, escaped by the template."""

import math
import re
from datetime import timedelta
from functools import lru_cache
from pathlib import PurePosixPath

from worker.export.rows import ExportRow
from worker.intake.uri import shown

# Controls, and the marks that turn the writing direction: a name must not be able to repaint its neighbours.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def plain(text: str | None, limit: int = 600) -> str:
    """`text` without control characters, at most `limit` characters and then an ellipsis."""
    clean = _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text or "").strip()
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def file_name(uri: str) -> str:
    """The last part of an address, fit to be shown."""
    where = shown(uri)
    return PurePosixPath(where).name or where


@lru_cache(maxsize=512)
def country_name(code: str) -> str:
    """English name of an ISO 3166-1 alpha-2 code; the code itself where ISO has none."""
    import pycountry

    country = pycountry.countries.get(alpha_2=code)
    return getattr(country, "common_name", None) or getattr(country, "name", None) or code


def place_name(row: ExportRow) -> str:
    """City, region and country as far as the place goes; a coarse place gets a coarse name."""
    country = country_name(row.country_code) if row.country_code else None
    parts = {"country": [country], "region": [row.region, country]}.get(
        row.granularity or "", [row.city, row.region, country]
    )
    names = [plain(part, 80) for part in parts if part]
    return ", ".join(dict.fromkeys(names)) or "A place without a name"


def distance(km: float) -> str:
    """ "8 m", "2.5 km", "1,200 km": two significant digits are all that a radius deserves below ten."""
    if km < 1:
        return f"{max(1, round(km * 1000)):,} m"
    return f"{km:.1f} km" if km < 10 and km != round(km) else f"{km:,.0f} km"


def precision(row: ExportRow) -> str:
    """How near the place is meant."""
    if row.place_kind == "known":
        return f"± {distance(row.radius_km)}" if row.radius_km else ""
    if row.radius_km is None:
        return "radius unknown"
    trust = "nominal" if row.coverage is None else f"{row.coverage:.0%} coverage"
    return f"within {distance(row.radius_km)} ({trust})"


def coordinates(lat: float, lon: float, radius_km: float | None = None) -> str:
    """Degrees with hemisphere, with no more decimals than the radius supports (five without one)."""
    decimals = 5
    if radius_km:
        decimals = min(5, max(0, math.ceil(2 - math.log10(radius_km))))
    return (
        f"{abs(lat):.{decimals}f}° {'S' if lat < 0 else 'N'}, {abs(lon):.{decimals}f}° {'W' if lon < 0 else 'E'}"
    )


def duration(span: timedelta) -> str:
    """ "42 s", "4 min 10 s", "3 h 05 min"."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600:,} h {seconds % 3600 // 60:02d} min"
