"""Refuses coordinates that cannot be what they are said to be, before a figure is made of them.

Every check here stands for a published mistake: an Im2GPS3k table with swapped LAT and LON headers, OSV-5M outputs
in radians, mean values in a footer row, an evaluation over 2,912 of 2,997 images.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from trainer.judge.records import Judged, Truth
from worker.errors import SetupError
from worker.intake.uri import shown
from worker.place import sphere
from worker.place.gazetteer import Gazetteer

Unit = Literal["degrees", "radians"]
UNITS: tuple[Unit, ...] = ("degrees", "radians")

FOOTERS = frozenset(
    {"mean", "average", "avg", "median", "total", "sum", "std", "count", "overall", "all", "result", "summary"}
)
_COUNTRY_SAMPLE = 400
_SWAP_KM = 750.0
_MIN_SWAP_EVIDENCE = 5


class Point(NamedTuple):
    """A coordinate pair as a file states it, with file and row."""

    where: str
    lat: float
    lon: float


def refuse_footers(ids: Sequence[tuple[str, str]]) -> None:
    """Takes (where, id) of each row. Raises `SetupError` for rows that are no image."""
    bad = [(where, id_) for where, id_ in ids if not id_ or id_.lower() in FOOTERS]
    if bad:
        where, id_ = bad[0]
        what = f"the id {id_!r} looks like a footer" if id_ else "the id is empty (a footer?)"
        raise SetupError(f"{where}: {what}, not an image; {_rows(len(bad))} like this, remove them")


def refuse_duplicates(ids: Sequence[tuple[str, str]]) -> None:
    """Takes (where, id) of each row. Raises `SetupError` where an id comes twice."""
    count = Counter(id_ for _, id_ in ids)
    repeated = [id_ for id_, times in count.items() if times > 1]
    if repeated:
        places = [where for where, id_ in ids if id_ == repeated[0]]
        rows = places[0] + " and " + places[1].rpartition(", ")[2]
        more = f"; {len(repeated):,} ids are repeated" if len(repeated) > 1 else ""
        raise SetupError(f"{rows}: the id {shown(repeated[0])!r} comes {count[repeated[0]]} times{more}")


def to_degrees(points: Sequence[Point], unit: Unit, option: str) -> list[tuple[float, float]]:
    """The points as (lat, lon) in degrees. `option` is the command line option that states the unit.

    Raises `SetupError` for infinite values, radians that are said to be degrees or the reverse, swapped columns,
    and values off the Earth; with file, row and count.
    """
    infinite = [point for point in points if not (math.isfinite(point.lat) and math.isfinite(point.lon))]
    if infinite:
        raise SetupError(f"{infinite[0].where}: the coordinate is infinite ({_rows(len(infinite))})")
    if unit == "radians":
        return _from_radians(points, option)
    if points and all(abs(lat) <= math.pi / 2 and abs(lon) <= math.pi for _, lat, lon in points):
        everywhere_zero = all(lat == 0 and lon == 0 for _, lat, lon in points)
        if not everywhere_zero:
            raise SetupError(
                f"{points[0].where} and all {len(points):,} coordinates of the file lie within ±π: these are"
                f" radians (in degrees they would all be at sea); say so with `{option} radians`"
            )
    off = [point for point in points if not sphere.is_valid(point.lat, point.lon)]
    if off:
        first = off[0]
        if all(sphere.is_valid(point.lon, point.lat) for point in points):
            raise SetupError(
                f"{first.where}: latitude {first.lat:g} is out of range in {len(off):,} of {len(points):,} rows,"
                " and every row is valid with the columns exchanged: latitude and longitude are swapped;"
                " rename the two columns"
            )
        raise SetupError(
            f"{first.where}: latitude {first.lat:g}, longitude {first.lon:g} is not on Earth;"
            f" {_rows(len(off))} of {len(points):,} like this"
        )
    return [(lat, lon) for _, lat, lon in points]


def refuse_swapped_countries(truths: Sequence[Truth], gazetteer: Gazetteer) -> None:
    """Looks where the rows lie that state a country: raises `SetupError` if they fit only when swapped."""
    stated = [(truth, code) for truth in truths if (code := country_of_row(truth, gazetteer)) is not None]
    step = max(1, len(stated) // _COUNTRY_SAMPLE)
    straight = swapped = seen = 0
    for truth, code in stated[::step]:
        seen += 1
        straight += gazetteer.country_code_at(truth.lat, truth.lon) == code
        if sphere.is_valid(truth.lon, truth.lat):
            swapped += gazetteer.country_code_at(truth.lon, truth.lat) == code
    if swapped > straight and swapped >= max(2, seen / 2):
        raise SetupError(
            f"{truths[0].where}: of {seen:,} rows looked at, {straight:,} lie in the country that they name and"
            f" {swapped:,} do when latitude and longitude are exchanged: the columns are swapped; rename them"
        )


def refuse_swapped_predictions(rows: Sequence[Judged], name: str) -> None:
    """Raises `SetupError` if the answers are near the truth only with latitude and longitude exchanged."""
    points = [
        (row.truth.lat, row.truth.lon, row.prediction.lat, row.prediction.lon)
        for row in rows
        if row.prediction.lat is not None and row.prediction.lon is not None
    ]
    if len(points) < _MIN_SWAP_EVIDENCE:
        return
    lat_N, lon_N, to_lat_N, to_lon_N = np.array(points, dtype=np.float64).T
    straight = int(np.sum(sphere.distances_km(lat_N, lon_N, to_lat_N, to_lon_N) <= _SWAP_KM))
    possible = np.abs(to_lon_N) <= 90
    exchanged_km = sphere.distances_km(lat_N, lon_N, to_lon_N, to_lat_N)
    swapped = int(np.sum((exchanged_km <= _SWAP_KM) & possible))
    if swapped >= max(_MIN_SWAP_EVIDENCE, 0.1 * len(points)) and swapped >= 3 * straight:
        raise SetupError(
            f"{name}: of {len(points):,} answers, {straight:,} lie within {_SWAP_KM:g} km of the truth and"
            f" {swapped:,} do when latitude and longitude are exchanged: the columns are swapped; rename them"
        )


def country_of_row(truth: Truth, gazetteer: Gazetteer) -> str | None:
    """The country that the row itself states, as a code; None where it states none or an unknown one."""
    for text in (truth.country_code, truth.country):
        if text:
            codes = gazetteer.country_codes(text.upper() if len(text) == 2 else text)
            return codes[0] if len(codes) == 1 else None
    return None


def refuse_wrong_n(found: int, expected: int, name: str, *, hint: Callable[[], str] = lambda: "") -> None:
    """Raises `SetupError` where the truth has not the number of rows that the figures are to be over."""
    if found != expected:
        kind = "missing" if found < expected else "too many"
        raise SetupError(
            f"{name}: {found:,} rows, and {expected:,} are expected ({abs(expected - found):,} {kind}){hint()};"
            " a figure over another denominator is another figure (state it with --expect-n)"
        )


def _from_radians(points: Sequence[Point], option: str) -> list[tuple[float, float]]:
    off = [point for point in points if abs(point.lat) > math.pi / 2 + 1e-6 or abs(point.lon) > math.pi + 1e-6]
    if off:
        raise SetupError(
            f"{off[0].where}: {off[0].lat:g}, {off[0].lon:g} cannot be radians ({_rows(len(off))} of"
            f" {len(points):,}); leave `{option} radians` away, or exchange the columns"
        )
    # The bounds are rounded in the file, so that the pole itself may come out a hair beyond 90 degrees.
    return [
        (max(-90.0, min(90.0, math.degrees(lat))), max(-180.0, min(180.0, math.degrees(lon))))
        for _, lat, lon in points
    ]


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
