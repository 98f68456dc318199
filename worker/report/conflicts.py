"""What contradicts each other about a photograph: camera position, prediction, caption, region, camera clock.

Conflicts are listed for a person and never changed. A fault is named ("latitude and longitude are swapped") only
where exactly one simple fault explains all that contradicts the position.

Of clocks only what is certain is said: a time in the future, the time that a camera has after its battery was
empty, and two photographs of one folder that nobody could have taken so soon after each other, whatever time zone
the clock was set to. There either a clock or a position is wrong. Sun and shadows are not judged: nothing here
reads them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from worker.place.caption import caption_places
from worker.place.gazetteer import Gazetteer
from worker.place.region import Constraint, UnknownRegion, read_constraint
from worker.place.sphere import distance_km, is_valid

NEAR_KM = 100.0
"""A place that a caption or a prediction names agrees with a position within this distance or its own radius."""
FASTEST_KM_H = 1000.0
_SLACK_H = 1.0
_FACTORY_YEARS = frozenset({1970, 1980, 1990, 1999, 2000, 2001})


class Kind(StrEnum):
    """What contradicts what."""

    PREDICTION = "prediction"
    CAPTION = "caption"
    REGION = "region"
    CLOCK = "clock"
    SPEED = "speed"


@dataclass(frozen=True, slots=True)
class Photograph:
    """What the database says of one: its known place, and the prediction beside it of a trained model.

    `taken_at` is the camera's local time; `region` are those of collection and job.
    """

    uri: str
    folder: str
    lat: float | None = None
    lon: float | None = None
    source: str | None = None
    taken_at: datetime | None = None
    settled_at: datetime | None = None
    caption: str | None = None
    region: tuple[str | None, ...] = ()
    predicted_lat: float | None = None
    predicted_lon: float | None = None
    predicted_radius_km: float | None = None

    @property
    def point(self) -> tuple[float, float] | None:
        return None if self.lat is None or self.lon is None else (self.lat, self.lon)


@dataclass(frozen=True, slots=True)
class Conflict:
    """One line of the list. `fault` is what would explain it, None where nothing simple does."""

    uri: str
    kind: Kind
    detail: str
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class _Witness:
    """Something that says where a photograph was taken, apart from its position."""

    kind: Kind
    name: str
    lat: float | None = None
    lon: float | None = None
    radius_km: float = NEAR_KM
    constraint: Constraint | None = None

    def agrees(self, point: tuple[float, float], gazetteer: Gazetteer) -> bool:
        if self.constraint is not None:
            near = gazetteer.nearest(*point)
            return self.constraint.holds(near.country_code, near.region)
        return self.lat is not None and self.lon is not None and self.apart_km(point) <= self.radius_km

    def apart_km(self, point: tuple[float, float]) -> float:
        return distance_km(*point, self.lat or 0.0, self.lon or 0.0)


def find_conflicts(photographs: Iterable[Photograph], gazetteer: Gazetteer) -> Iterator[Conflict]:
    """All conflicts, photograph by photograph. Speeds are told of neighbours: give them by folder and time."""
    before: Photograph | None = None
    for photograph in photographs:
        yield from _of_position(photograph, gazetteer)
        yield from _of_clock(photograph)
        if photograph.point is None or photograph.taken_at is None:
            continue
        if before is not None and before.folder == photograph.folder:
            yield from _of_speed(before, photograph)
        before = photograph


def _likely_fault(point: tuple[float, float], witnesses: Sequence[_Witness], gazetteer: Gazetteer) -> str | None:
    """The one simple fault of a position without which all witnesses agree; None where none or several do."""
    lat, lon = point
    swapped_and_signed = "latitude and longitude are swapped, with wrong signs"
    mended = (
        ("the latitude has the wrong sign", (-lat, lon)),
        ("the longitude has the wrong sign", (lat, -lon)),
        ("latitude and longitude have the wrong sign", (-lat, -lon)),
        ("latitude and longitude are swapped", (lon, lat)),
        (swapped_and_signed, (-lon, lat)),
        (swapped_and_signed, (lon, -lat)),
        (swapped_and_signed, (-lon, -lat)),
    )
    explains = [
        fault
        for fault, other in mended
        if is_valid(*other) and all(witness.agrees(other, gazetteer) for witness in witnesses)
    ]
    return explains[0] if len(explains) == 1 else None


def _of_position(photograph: Photograph, gazetteer: Gazetteer) -> Iterator[Conflict]:
    witnesses = _witnesses(photograph, gazetteer)
    point = photograph.point
    if point is None:  # a prediction without a known place can contradict the records only
        yield from _without_position(photograph, witnesses, gazetteer)
        return
    against = [witness for witness in witnesses if not witness.agrees(point, gazetteer)]
    if not against:
        return
    fault = _likely_fault(point, witnesses, gazetteer)
    where = f"{point[0]:.4f}, {point[1]:.4f} ({photograph.source})"
    for witness in against:
        apart = "" if witness.constraint else f", {witness.apart_km(point):,.0f} km away"
        yield Conflict(photograph.uri, witness.kind, f"{where} against {witness.name}{apart}", fault)


def _without_position(
    photograph: Photograph, witnesses: Sequence[_Witness], gazetteer: Gazetteer
) -> Iterator[Conflict]:
    for predicted in witnesses:
        if predicted.kind is not Kind.PREDICTION or predicted.lat is None or predicted.lon is None:
            continue
        for other in witnesses:
            if other is predicted or other.agrees((predicted.lat, predicted.lon), gazetteer):
                continue
            apart_km = other.apart_km((predicted.lat, predicted.lon))
            if other.constraint is None and apart_km <= predicted.radius_km:
                continue
            yield Conflict(photograph.uri, other.kind, f"{predicted.name} against {other.name}")


def _witnesses(photograph: Photograph, gazetteer: Gazetteer) -> list[_Witness]:
    """A caption that names several places speaks for none: it may be about each of them."""
    found = []
    if photograph.predicted_lat is not None and photograph.predicted_lon is not None:
        lat, lon = photograph.predicted_lat, photograph.predicted_lon
        radius_km = max(NEAR_KM, photograph.predicted_radius_km or 0.0)
        found.append(_Witness(Kind.PREDICTION, f"the prediction {lat:.2f}, {lon:.2f}", lat, lon, radius_km))
    named = caption_places(photograph.caption, gazetteer)
    if len(named) == 1:
        [place] = named
        name = f"the caption's {place.name} ({place.country_code})"
        radius_km = max(NEAR_KM, place.extent_km)
        found.append(_Witness(Kind.CAPTION, name, place.lat, place.lon, radius_km))
    try:
        constraint = read_constraint(photograph.region, gazetteer)
    except UnknownRegion:
        constraint = None  # its job has failed as `unknown_region`, which says more than a conflict would
    if constraint is not None:
        found.append(_Witness(Kind.REGION, f"the region {constraint.stated}", constraint=constraint))
    return found


def _of_clock(photograph: Photograph) -> Iterator[Conflict]:
    taken = photograph.taken_at
    if taken is None:
        return
    if photograph.settled_at is not None and taken > photograph.settled_at.replace(tzinfo=None) + timedelta(
        days=1
    ):
        yield Conflict(
            photograph.uri, Kind.CLOCK, f"taken on {taken:%Y-%m-%d %H:%M}, in the future", "clock set wrong"
        )
    elif taken.year in _FACTORY_YEARS and (taken.month, taken.day) == (1, 1):
        detail = f"taken on {taken:%Y-%m-%d %H:%M}, where a clock stands after its battery was empty"
        yield Conflict(photograph.uri, Kind.CLOCK, detail, "clock not set")


def _of_speed(one: Photograph, other: Photograph) -> Iterator[Conflict]:
    """A clock that follows time zones may lose or gain an hour for every 15 degrees of longitude."""
    assert one.point and other.point and one.taken_at and other.taken_at
    apart_km = distance_km(*one.point, *other.point)
    hours = abs((other.taken_at - one.taken_at).total_seconds()) / 3600
    turned_deg = abs(one.point[1] - other.point[1])
    zones_h = min(turned_deg, 360 - turned_deg) / 15 + _SLACK_H
    if apart_km > FASTEST_KM_H * (hours + zones_h):
        detail = f"{apart_km:,.0f} km from {one.uri}, taken {hours:.1f} h before by the camera's clock"
        yield Conflict(other.uri, Kind.SPEED, detail, "a clock or a position is wrong")
