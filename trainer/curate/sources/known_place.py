"""Completes a known place: what a row names is checked against its point, what it lacks the gazetteer adds.

The point is the truth; names are judged by it. Published tables hold both kinds of error: coordinates with swapped
columns, and names that a geocoder has made up.
"""

from dataclasses import dataclass

from trainer.curate.sources.found import Why
from worker.place import sphere
from worker.place.countries import TERRITORIES
from worker.place.gazetteer import NEAR_CITY_KM, Gazetteer
from worker.reason.coordinates import checked


@dataclass(frozen=True, slots=True)
class KnownPlace:
    """`lat`, `lon` degrees (WGS 84). `geoname_id` is that of `city`, where the gazetteer has it."""

    lat: float
    lon: float
    country_code: str
    country: str
    region: str | None
    city: str | None
    geoname_id: int | None


class NoPlace(Exception):
    """No known place. `reason` is from the closed list, the text a sentence."""

    def __init__(self, reason: Why, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def complete(
    gazetteer: Gazetteer,
    lat: float,
    lon: float,
    *,
    country: str | None = None,
    country_code: str | None = None,
    region: str | None = None,
    city: str | None = None,
) -> KnownPlace:
    """The place at the point, under the names that are given where they can be right.

    Named city and region stay as they are written; a city's id is given where the gazetteer knows the city,
    within `NEAR_CITY_KM` of the point. Where no city is named, city, region and id are those of the nearest one.
    Raises `NoPlace` for no point on Earth, for a named country that is not there (unless the point lies within
    `NEAR_CITY_KM` of one of its cities of the given name: borders are coarse), and where no country is known at
    all.
    """
    point = checked(lat, lon)
    if point is None:
        raise NoPlace(Why.NO_SUCH_PLACE, f"{lat:g}, {lon:g} is no place.")
    there = gazetteer.nearest(*point)
    named = _named_codes(gazetteer, country, country_code)
    code = there.country_code
    if named and code not in named:
        belongs = any(code in TERRITORIES.get(each, ()) for each in named)
        if not belongs:
            code = _across_the_border(gazetteer, point, named, region, city)
        if code is None and there.country_code is None:
            code = named[0] if len(named) == 1 else None  # on the high seas, and the row knows better
        if code is None:
            where = there.country or "no country"
            said = country or country_code
            raise NoPlace(Why.COUNTRY_DISAGREES, f"The row says {said!r}; {lat:g}, {lon:g} is in {where}.")
    if code is None:
        raise NoPlace(Why.COUNTRY_UNKNOWN, f"{lat:g}, {lon:g} is in no country, and the row names none.")
    if city is None:
        of_nearest = there if there.country_code == code else None
        return KnownPlace(
            *point,
            code,
            gazetteer.country_name(code),
            region or (of_nearest.region if of_nearest else None),
            of_nearest.city if of_nearest else None,
            of_nearest.geoname_id if of_nearest else None,
        )
    geoname_id, gazetteer_region = _city(gazetteer, point, code, region, city)
    nearest_region = there.region if there.country_code == code else None
    name = gazetteer.country_name(code)
    return KnownPlace(*point, code, name, region or gazetteer_region or nearest_region, city, geoname_id)


def _named_codes(gazetteer: Gazetteer, country: str | None, country_code: str | None) -> tuple[str, ...]:
    """The codes that a row's country may mean; none where it names none that is known."""
    for text in (country_code and country_code.upper(), country):
        if text and (codes := gazetteer.country_codes(text)):
            return codes
    return ()


def _across_the_border(
    gazetteer: Gazetteer, point: tuple[float, float], codes: tuple[str, ...], region: str | None, city: str | None
) -> str | None:
    for code in codes if city else ():
        if _city(gazetteer, point, code, region, city or "")[0] is not None:
            return code
    return None


def _city(
    gazetteer: Gazetteer, point: tuple[float, float], code: str, region: str | None, city: str
) -> tuple[int | None, str | None]:
    """The id and region of the named city, where it lies near the point."""
    match = gazetteer.city(city, code, region)
    if match is None:
        return None, None
    for place in (match.place, *match.rivals):
        if sphere.distance_km(*point, place.lat, place.lon) <= NEAR_CITY_KM:
            return place.geoname_id, place.region
    return None, None
