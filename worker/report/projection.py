"""The map's projection, and geometry on the sphere as SVG path data.

Equal Earth (Šavrič, Patterson and Jenny, International Journal of Geographical Information Science 2019): areas
keep their proportion, so that a radius of 500 km covers the same share of the paper in Lapland and in Kenya.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

WIDTH = 1000.0
"""Width of the map in its own units; 1 unit is about 40 km along the equator."""

_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796
_M = math.sqrt(3) / 2
_SCALE = WIDTH * _M * _A1 / (2 * math.pi)
_MAX_STEP_DEG = 4.0


def _raw(lat: float, lon: float) -> tuple[float, float]:
    theta = math.asin(_M * math.sin(math.radians(lat)))
    t2 = theta * theta
    t6 = t2 * t2 * t2
    x = math.radians(lon) * math.cos(theta) / (_M * (_A1 + 3 * _A2 * t2 + t6 * (7 * _A3 + 9 * _A4 * t2)))
    return x, theta * (_A1 + _A2 * t2 + t6 * (_A3 + _A4 * t2))


HEIGHT = 2 * _raw(90.0, 0.0)[1] * _SCALE


def project(lat: float, lon: float) -> tuple[float, float]:
    """Map units, x to the right and y downwards, with the map's upper left corner at 0, 0."""
    x, y = _raw(lat, lon)
    return WIDTH / 2 + x * _SCALE, HEIGHT / 2 - y * _SCALE


def path_of(line: Iterable[tuple[float, float]], *, close: bool, decimals: int = 1) -> str:
    """SVG path data for a line of (lon, lat). Long steps are divided, since straight on the sphere's grid is
    curved on the map; points that round to the same place are dropped."""
    words: list[str] = []
    last = None
    for lon, lat in _divided(list(line)):
        x, y = project(lat, lon)
        point = f"{x:.{decimals}f} {y:.{decimals}f}"
        if point != last:
            words.append(point)
            last = point
    return "M" + "L".join(words) + ("Z" if close else "")


def path_of_geometry(geometry: dict[str, Any], *, decimals: int = 1) -> str:
    """The same for a GeoJSON Polygon or MultiPolygon; to be filled by the even-odd rule."""
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    rings = (ring for polygon in polygons for ring in polygon)
    return "".join(path_of([(lon, lat) for lon, lat in ring], close=True, decimals=decimals) for ring in rings)


def graticule(step_deg: int = 30) -> str:
    """Meridians and parallels as one path."""
    lines = [[(float(lon), -90.0), (float(lon), 90.0)] for lon in range(-180 + step_deg, 180, step_deg)]
    lines += [[(-180.0, float(lat)), (180.0, float(lat))] for lat in range(-90 + step_deg, 90, step_deg)]
    return "".join(path_of(line, close=False) for line in lines)


def rim() -> str:
    """The edge of the map as one closed path."""
    return path_of([(-180, -90), (180, -90), (180, 90), (-180, 90), (-180, -90)], close=True)


def _divided(line: Sequence[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    if line:
        yield line[0]
    for (lon1, lat1), (lon2, lat2) in pairwise(line):
        parts = max(1, math.ceil(max(abs(lon2 - lon1), abs(lat2 - lat1)) / _MAX_STEP_DEG))
        for part in range(1, parts + 1):
            yield lon1 + (lon2 - lon1) * part / parts, lat1 + (lat2 - lat1) * part / parts
