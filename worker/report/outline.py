"""The outline of the world's land and the borders in it, from the TopoJSON file beside this one.

TopoJSON (github.com/topojson/topojson-specification): shapes are lists of numbered arcs, an arc is a list of
steps on a grid. An arc's number n below zero means arc ~n walked backwards.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from worker.report.projection import path_of

Arc = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Outline:
    """SVG path data: `land` to be filled by the even-odd rule, `borders` to be stroked. What crosses the
    antimeridian juts out over the map's rim on both sides: clip by `projection.rim`."""

    land: str
    borders: str


@cache
def world_outline() -> Outline:
    """The world at 1:110 million, projected."""
    world = json.loads((files("worker.report") / "world-110m.json").read_text(encoding="utf-8"))
    arcs = list(_decode_arcs(world))
    land = "".join(
        path_of(part, close=True)
        for ring in _rings(world["objects"]["land"])
        for part in _on_both_sides(_unwrap(_join(ring, arcs)))
    )
    used = Counter(arc if arc >= 0 else ~arc for ring in _rings(world["objects"]["countries"]) for arc in ring)
    borders = "".join(path_of(arcs[arc], close=False) for arc, times in sorted(used.items()) if times > 1)
    return Outline(land, borders)


def _decode_arcs(topology: dict[str, Any]) -> Iterator[Arc]:
    """Each arc as (lon, lat) points: steps summed up, then scaled from the grid to degrees."""
    (scale_lon, scale_lat), (first_lon, first_lat) = (topology["transform"][k] for k in ("scale", "translate"))
    for steps in topology["arcs"]:
        x = y = 0
        arc = []
        for dx, dy in steps:
            x, y = x + dx, y + dy
            arc.append((x * scale_lon + first_lon, y * scale_lat + first_lat))
        yield arc


def _rings(geometry: dict[str, Any]) -> Iterator[list[int]]:
    """The arc numbers of every ring in a Polygon, MultiPolygon or collection of them."""
    match geometry["type"]:
        case "GeometryCollection":
            for part in geometry["geometries"]:
                yield from _rings(part)
        case "MultiPolygon":
            for polygon in geometry["arcs"]:
                yield from polygon
        case "Polygon":
            yield from geometry["arcs"]


def _join(ring: list[int], arcs: list[Arc]) -> Arc:
    """The ring's arcs end to end; where two meet, their common point is kept once."""
    points: Arc = []
    for number in ring:
        arc = arcs[number] if number >= 0 else arcs[~number][::-1]
        points += arc[1:] if points else arc
    return points


def _unwrap(ring: Arc) -> Arc:
    """The ring with continuous longitudes, which may run past ±180. A ring around the pole (Antarctica) is
    closed along the parallel of 90 degrees."""
    unwrapped = [ring[0]]
    for lon, lat in ring[1:]:
        last = unwrapped[-1][0]
        unwrapped.append((last + (lon - last + 180.0) % 360.0 - 180.0, lat))
    (first_lon, _), (last_lon, last_lat) = unwrapped[0], unwrapped[-1]
    if abs(last_lon - first_lon) > 180.0:
        pole = math.copysign(90.0, last_lat)
        unwrapped += [(last_lon, pole), (first_lon, pole), unwrapped[0]]
    return unwrapped


def _on_both_sides(ring: Arc) -> Iterator[Arc]:
    yield ring
    if max(lon for lon, _ in ring) > 180.0:
        yield [(lon - 360.0, lat) for lon, lat in ring]
    if min(lon for lon, _ in ring) < -180.0:
        yield [(lon + 360.0, lat) for lon, lat in ring]
