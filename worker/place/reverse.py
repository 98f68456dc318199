"""From a point to the country, region and city around it.

The country comes from time zone polygons (timezonefinder; borders from OpenStreetMap, out to the territorial
sea), not from the nearest city, which errs along every border. Nearly every zone lies in one country. Where one
serves several (Asia/Bangkok covers Hanoi, Europe/Belgrade covers Pristina) the nearest city inside the same zone
decides. High seas and zones without a country give no country.

The city is the nearest one of that country, except that the dense core of a large city goes before its own
districts, which GeoNames lists beside it (Stari Grad in Belgrade, Hoàn Kiếm in Hanoi).
"""

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from worker.place import sphere
from worker.place.cities import CityTable

_MIN_SHARE_OF_COUNTRY = 0.1
"""A country shares a zone with its main country when a tenth of its own cities lie there. Fewer are noise."""

_CORE_DENSITY_PER_KM2 = 15_000.0
"""A city's core is the disc that holds its population at this density: 7 km for Paris, which leaves out the
neighbouring towns that are cities of their own."""
_MIN_CORE_POPULATION = 100_000
_DISTRICT_SHARE = 0.25
"""A district has at most this share of its city's population, and lies in the same first-level division."""

UNINHABITED_ZONES = {
    "America/Adak": "US",
    "America/Danmarkshavn": "GL",
    "America/Resolute": "CA",
    "America/Scoresbysund": "GL",
    "America/Thule": "GL",
    "America/Yakutat": "US",
    "Antarctica/Macquarie": "AU",
    "Australia/Eucla": "AU",
    "Australia/Lord_Howe": "AU",
    "Pacific/Kanton": "KI",
    "Pacific/Midway": "UM",
    "Pacific/Wake": "UM",
}
"""Zones without a city in the table; the country is that of the IANA time zone database's zone.tab."""


@dataclass(frozen=True, slots=True)
class NearestCity:
    """`row` is the city of the same country at the point, None where the country has none; `distance_km` to it."""

    country_code: str
    row: int | None
    distance_km: float | None


class ReverseIndex:
    """Answers for one point at a time. Thread-safe."""

    def __init__(self, table: CityTable) -> None:
        import timezonefinder

        self._table = table
        self._finder = timezonefinder.TimezoneFinder(in_memory=True)
        self._finder_lock = threading.Lock()  # a finder must not be shared without one
        zone_id_N = np.asarray(self._finder.timezone_ids_at(lngs=table.lon_N, lats=table.lat_N))
        self._zone_id_N = zone_id_N
        self._zone_ids = {name: zone_id for zone_id, name in enumerate(self._finder.timezone_names)}
        self._countries_by_zone = self._map_zones()
        self._core_cosine_by_start = self._core_cosines()
        self._rows_by_zone_and_country = {
            (zone, code): np.array([row for row in table.rows_of(code) if zone_id_N[row] == self._zone_ids[zone]])
            for zone, codes in self._countries_by_zone.items()
            if len(codes) > 1
            for code in codes
        }

    @property
    def zone_names(self) -> list[str]:
        return list(self._zone_ids)

    def country_code(self, lat: float, lon: float) -> str | None:
        """The country whose land or territorial sea the point is in, None on the high seas."""
        found = self.nearest(lat, lon)
        return found.country_code if found else None

    def nearest(self, lat: float, lon: float) -> NearestCity | None:
        """The country and its nearest city; None where there is no country. Raises `ValueError` off the Earth."""
        if not sphere.is_valid(lat, lon):
            raise ValueError(f"({lat}, {lon}) is not a latitude and longitude in degrees")
        with self._finder_lock:
            zone = self._finder.timezone_at(lng=lon, lat=lat)
        codes = self._countries_by_zone.get(zone or "", ())
        if not codes:
            return None
        unit_3 = sphere.unit_vectors(lat, lon)
        code = codes[0] if len(codes) == 1 else max(codes, key=lambda code: self._closeness(zone, code, unit_3))
        rows = self._table.rows_of(code)
        if not rows:
            return NearestCity(code, None, None)
        closeness = self._table.unit_N_3[rows.start : rows.stop] @ unit_3
        row = rows.start + int(np.argmax(closeness))
        row = self._core_around(row, rows.start, closeness)
        away_km = sphere.distance_km(lat, lon, float(self._table.lat_N[row]), float(self._table.lon_N[row]))
        return NearestCity(code, row, away_km)

    def _core_around(self, row: int, start: int, closeness: sphere.Floats) -> int:
        """The most populous city in whose core the point lies, if `row` can be a district of it; else `row`."""
        cores = self._core_cosine_by_start.get(start)
        if cores is not None:
            for offset in np.flatnonzero(closeness[: cores.size] >= cores).tolist():
                larger = start + int(offset)
                is_small = self._table.population_N[row] <= _DISTRICT_SHARE * self._table.population_N[larger]
                if is_small and self._table.admin1[row] == self._table.admin1[larger]:
                    return larger
        return row

    def _core_cosines(self) -> dict[int, sphere.Floats]:
        """By a country's first row: the cosine of the core's angular radius of its large cities, in row order."""
        cosines = {}
        for rows in self._table.rows_by_country.values():
            population = self._table.population_N[rows.start : rows.stop].astype(np.float64)
            large = population[population >= _MIN_CORE_POPULATION]
            if large.size:
                radius_km = np.sqrt(large / (np.pi * _CORE_DENSITY_PER_KM2))
                cosines[rows.start] = np.cos(radius_km / sphere.EARTH_RADIUS_KM)
        return cosines

    def _closeness(self, zone: str, code: str, unit_3: sphere.Floats) -> float:
        rows = self._rows_by_zone_and_country[zone, code]
        return float(np.max(self._table.unit_N_3[rows] @ unit_3))

    def _map_zones(self) -> dict[str, tuple[str, ...]]:
        names = {zone_id: name for name, zone_id in self._zone_ids.items()}
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for code, zone_id in zip(self._table.country_code, self._zone_id_N.tolist(), strict=True):
            if zone_id >= 0:
                counts[names[zone_id]][code] += 1
        zones: dict[str, tuple[str, ...]] = {zone: (code,) for zone, code in UNINHABITED_ZONES.items()}
        zones |= {name: ("AQ",) for name in self._zone_ids if name.startswith("Antarctica/") and name not in zones}
        for zone, count in counts.items():
            if zone.startswith("Etc/"):
                continue  # a city whose coordinates fall into the sea does not own the sea
            main = count.most_common(1)[0][0]
            sharing = [
                code
                for code, cities in count.items()
                if code != main and cities >= _MIN_SHARE_OF_COUNTRY * len(self._table.rows_of(code))
            ]
            zones[zone] = (main, *sorted(sharing))
        return zones
