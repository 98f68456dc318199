"""Distances and shapes on a sphere.

The Earth is a sphere of radius 6371.0088 km, the IUGG mean radius R1 (Moritz, Geodetic Reference System 1980).
Against the WGS 84 ellipsoid a distance is off by at most about 0.5 %. Angles are degrees, distances kilometres,
bearings clockwise from north. Functions on scalars and on numpy arrays broadcast alike.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

EARTH_RADIUS_KM = 6371.0088
HALF_CIRCUMFERENCE_KM = math.pi * EARTH_RADIUS_KM

Floats = NDArray[np.float64]


class BoundingBox(NamedTuple):
    """`west > east` means that the box crosses the antimeridian. Around a pole it spans all longitudes."""

    south: float
    west: float
    north: float
    east: float

    @property
    def crosses_antimeridian(self) -> bool:
        return self.west > self.east

    def contains(self, lat: float, lon: float) -> bool:
        if not self.south <= lat <= self.north:
            return False
        if self.crosses_antimeridian:
            return lon >= self.west or lon <= self.east
        return self.west <= lon <= self.east


def is_valid(lat: float, lon: float) -> bool:
    """Is this a point on Earth? NaN, infinities and values out of range are not."""
    return -90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0


def wrap_lon(lon: float) -> float:
    """The same meridian in [-180, 180)."""
    if -180.0 <= lon < 180.0:
        return lon  # untouched, so that no digit is lost
    wrapped = (lon + 180.0) % 360.0 - 180.0
    return -180.0 if wrapped == 180.0 else wrapped  # the remainder can round up to 360


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance by the haversine formula, stable for small distances."""
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    a = (
        math.sin((phi2 - phi1) / 2) ** 2
        + math.cos(phi1) * math.cos(phi2) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, a)))


def distances_km(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Floats:
    """`distance_km` over arrays that broadcast against each other."""
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    half_dlon = np.radians(np.subtract(lon2, lon1)) / 2
    a = np.sin((phi2 - phi1) / 2) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(half_dlon) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, a))), dtype=np.float64)


def unit_vectors(lat_N: ArrayLike, lon_N: ArrayLike) -> Floats:
    """Points as unit vectors, shape (N, 3): the larger the dot product, the nearer."""
    phi, lam = np.radians(lat_N), np.radians(lon_N)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def bearing_deg(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Initial bearing of the great circle from 1 to 2, in [0, 360). 0 where the points coincide."""
    phi1, phi2, dlam = math.radians(lat1), math.radians(lat2), math.radians(lon2 - lon1)
    y = math.sin(dlam) * math.cos(phi2)
    x = math.cos(phi1) * math.sin(phi2) - math.sin(phi1) * math.cos(phi2) * math.cos(dlam)
    bearing = math.degrees(math.atan2(y, x)) % 360.0
    return 0.0 if bearing == 360.0 else bearing


def destination(lat: float, lon: float, bearing: float, travelled_km: float) -> tuple[float, float]:
    """The point reached after `travelled_km` along the great circle that starts at `bearing`: (lat, lon)."""
    phi, theta, delta = math.radians(lat), math.radians(bearing), travelled_km / EARTH_RADIUS_KM
    z = math.sin(phi) * math.cos(delta) + math.cos(phi) * math.sin(delta) * math.cos(theta)
    y = math.sin(theta) * math.sin(delta) * math.cos(phi)
    x = math.cos(delta) - math.sin(phi) * z
    # The length of the other two components keeps the latitude exact near the poles, where asin(z) is blunt.
    horizontal = math.hypot(
        math.cos(phi) * math.cos(delta) - math.sin(phi) * math.sin(delta) * math.cos(theta),
        math.sin(theta) * math.sin(delta),
    )
    return math.degrees(math.atan2(z, horizontal)), wrap_lon(lon + math.degrees(math.atan2(y, x)))


def bounding_box(lat: float, lon: float, radius_km: float) -> BoundingBox:
    """The smallest latitude-longitude box around a circle, rounded outwards by a millionth of a degree."""
    reach = math.degrees(radius_km / EARTH_RADIUS_KM) + 1e-6
    south, north = lat - reach, lat + reach
    if south <= -90.0 or north >= 90.0:  # a pole is inside: every meridian passes through the circle
        return BoundingBox(max(south, -90.0), -180.0, min(north, 90.0), 180.0)
    half_width = math.degrees(math.asin(min(1.0, math.sin(math.radians(reach)) / math.cos(math.radians(lat)))))
    half_width += 1e-6
    if half_width >= 180.0:
        return BoundingBox(south, -180.0, north, 180.0)
    return BoundingBox(south, wrap_lon(lon - half_width), north, wrap_lon(lon + half_width))


def medoid(lat_N: ArrayLike, lon_N: ArrayLike, weight_N: ArrayLike | None = None) -> int:
    """Index of the point with the least weighted sum of distances to all others; the first one on a tie.

    Unlike a mean it is always one of the given points. Raises `ValueError` when there are none.
    """
    lat, lon = np.asarray(lat_N, dtype=np.float64), np.asarray(lon_N, dtype=np.float64)
    if lat.size == 0:
        raise ValueError("no points: a medoid needs at least one")
    weight = np.ones_like(lat) if weight_N is None else np.asarray(weight_N, dtype=np.float64)
    between_N_N = distances_km(lat[:, None], lon[:, None], lat[None, :], lon[None, :])
    return int(np.argmin(between_N_N @ weight))


def circle_geojson(lat: float, lon: float, radius_km: float, points: int = 64) -> dict[str, Any]:
    """The circle as a GeoJSON geometry that maps can draw (RFC 7946).

    A Polygon, counter-clockwise, lon before lat. Cut in two (MultiPolygon) where it crosses the antimeridian,
    as RFC 7946 section 3.1.9 asks. With a pole inside, it is the cap between the pole and the circle's edge.
    """
    reach_deg = math.degrees(radius_km / EARTH_RADIUS_KM)
    if radius_km >= HALF_CIRCUMFERENCE_KM:
        return _polygon([(-180.0, -90.0), (180.0, -90.0), (180.0, 90.0), (-180.0, 90.0)])
    edge = [destination(lat, lon, -360.0 * step / points, radius_km) for step in range(points)]
    north_inside, south_inside = lat + reach_deg >= 90.0, lat - reach_deg <= -90.0
    if north_inside and south_inside:  # all but a cap on the far side: drawn as the hole that it leaves
        hole = circle_geojson(-lat, wrap_lon(lon + 180.0), HALF_CIRCUMFERENCE_KM - radius_km, points)
        return _world_without(hole)
    if north_inside or south_inside:
        return _polar_cap(edge, 90.0 if north_inside else -90.0)
    return _cut_at_antimeridian([(lon + _shortest_turn(lon, edge_lon), edge_lat) for edge_lat, edge_lon in edge])


def _shortest_turn(from_lon: float, to_lon: float) -> float:
    return (to_lon - from_lon + 180.0) % 360.0 - 180.0


def _polygon(ring: list[tuple[float, float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[list(point) for point in [*ring, ring[0]]]]}


def _polar_cap(edge: list[tuple[float, float]], pole: float) -> dict[str, Any]:
    ring = sorted((lon, lat) for lat, lon in edge)
    # The edge's height where it meets the antimeridian, between its last and its first point.
    (first_lon, first_lat), (last_lon, last_lat) = ring[0], ring[-1]
    gap = first_lon + 360.0 - last_lon
    seam = last_lat + (first_lat - last_lat) * ((180.0 - last_lon) / gap if gap else 0.0)
    ring = [(-180.0, seam), *ring, (180.0, seam)]
    return _polygon(
        [*ring, (180.0, pole), (-180.0, pole)] if pole > 0 else [(-180.0, pole), (180.0, pole), *reversed(ring)]
    )


def _world_without(hole: dict[str, Any]) -> dict[str, Any]:
    world = [[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, -90.0]]
    rings = hole["coordinates"] if hole["type"] == "Polygon" else [part[0] for part in hole["coordinates"]]
    return {"type": "Polygon", "coordinates": [world, *(list(reversed(ring)) for ring in rings)]}


def _cut_at_antimeridian(ring: list[tuple[float, float]]) -> dict[str, Any]:
    """`ring` is unwrapped: its longitudes are continuous and may run past ±180."""
    for border, shift in ((180.0, -360.0), (-180.0, 360.0)):
        beyond = [(lon - border) * border > 0 for lon, _ in ring]
        if not any(beyond):
            continue
        near = _clip(ring, border, keep_beyond=False)
        far = [(lon + shift, lat) for lon, lat in _clip(ring, border, keep_beyond=True)]
        return {"type": "MultiPolygon", "coordinates": [_polygon(part)["coordinates"] for part in (near, far)]}
    return _polygon(ring)


def _clip(ring: list[tuple[float, float]], border: float, *, keep_beyond: bool) -> list[tuple[float, float]]:
    """One step of Sutherland-Hodgman clipping at a meridian."""
    kept: list[tuple[float, float]] = []
    for (lon1, lat1), (lon2, lat2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        inside1 = ((lon1 - border) * border > 0) == keep_beyond
        inside2 = ((lon2 - border) * border > 0) == keep_beyond
        if inside1:
            kept.append((lon1, lat1))
        if inside1 != inside2:
            kept.append((border, lat1 + (lat2 - lat1) * (border - lon1) / (lon2 - lon1)))
    return kept
