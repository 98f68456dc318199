"""The points of the map: one mark for photographs at the same place, the radius as a circle on the sphere."""

import math
from dataclasses import dataclass, field

from worker.export.rows import ExportRow
from worker.place.sphere import circle_geojson
from worker.report.projection import path_of_geometry, project
from worker.report.wording import distance, file_name, place_name

MAX_MARKS = 4000
"""Above this many different places, marks are drawn one for each cell of one degree, without circles."""

_MAX_CIRCLES = 1500
_MANY_MARKS = 400
_MIN_RADIUS_KM = 1.0
_NAMES_IN_TITLE = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """`x` and `y` are map units, `size` a factor that grows with the number of photographs, `anchor` the entry
    of the first of them."""

    kind: str
    x: float
    y: float
    size: float
    title: str
    anchor: str | None
    circle: str | None


@dataclass(slots=True)
class _Spot:
    kind: str
    lat: float
    lon: float
    radius_km: float | None
    place: str
    anchor: str | None
    count: int = 0
    names: list[str] = field(default_factory=list)


class Marks:
    """Takes rows one by one; memory is bounded by `MAX_MARKS` and the number of one-degree cells."""

    def __init__(self) -> None:
        self._spots: dict[tuple[object, ...], _Spot] = {}
        self.is_aggregated = False

    def add(self, row: ExportRow, anchor: str | None) -> None:
        """Notes the row's place, and the prediction beside a known place. Rows without a place are no mark."""
        if row.place_kind is None or row.lat is None or row.lon is None:
            return
        is_known = row.place_kind == "known"
        radius_km = None if is_known else row.radius_km
        self._add(_Spot(row.place_kind, row.lat, row.lon, radius_km, place_name(row), anchor), row)
        if is_known and row.predicted_lat is not None and row.predicted_lon is not None:
            beside = _Spot("predicted", row.predicted_lat, row.predicted_lon, None, "predicted, to verify", anchor)
            self._add(beside, row)

    def drawn(self) -> list[Mark]:
        """Predictions below known places, wide circles below narrow ones."""
        spots = sorted(
            self._spots.values(), key=lambda spot: (spot.kind == "known", -(spot.radius_km or 0.0), spot.lat)
        )
        base_size = 1.0 if len(spots) <= _MANY_MARKS else 0.6
        circles_left = 0 if self.is_aggregated else _MAX_CIRCLES
        marks = []
        for spot in spots:
            circle = None
            if circles_left and spot.radius_km is not None and spot.radius_km >= _MIN_RADIUS_KM:
                circles_left -= 1
                circle = _circle(spot.lat, spot.lon, spot.radius_km)
            x, y = project(spot.lat, spot.lon)
            size = base_size * (1.0 + min(1.2, 0.4 * math.log10(spot.count)))
            marks.append(
                Mark(spot.kind, round(x, 2), round(y, 2), round(size, 2), _title(spot), spot.anchor, circle)
            )
        return marks

    def _add(self, spot: _Spot, row: ExportRow) -> None:
        self._put(spot, 1, [file_name(row.uri)])
        if len(self._spots) > MAX_MARKS and not self.is_aggregated:
            self.is_aggregated = True
            fine, self._spots = self._spots, {}
            for each in fine.values():
                self._put(each, each.count, each.names)

    def _put(self, spot: _Spot, count: int, names: list[str]) -> None:
        if self.is_aggregated:
            lat, lon = (min(math.floor(spot.lat), 89) + 0.5, min(math.floor(spot.lon), 179) + 0.5)
            spot = _Spot(spot.kind, lat, lon, None, "", None)
        key = (spot.kind, round(spot.lat, 4), round(spot.lon, 4), spot.radius_km)
        held = self._spots.setdefault(key, spot)
        held.count += count
        held.names += names[: _NAMES_IN_TITLE - len(held.names)]


def _circle(lat: float, lon: float, radius_km: float) -> str:
    small = radius_km < 100
    geometry = circle_geojson(lat, lon, radius_km, points=32 if small else 72)
    return path_of_geometry(geometry, decimals=3 if small else 1)


def _title(spot: _Spot) -> str:
    more = spot.count - len(spot.names)
    names = ", ".join(spot.names) + (f" and {more:,} more" if more else "")
    kind = "known place" if spot.kind == "known" else "prediction"
    radius = f", within {distance(spot.radius_km)}" if spot.radius_km else ""
    return f"{names}\n{spot.place + ' · ' if spot.place else ''}{kind}{radius}"
