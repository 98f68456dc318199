"""From what the model claims to a point, with a nominal radius.

The named place decides. Coordinates that the model prints count only where they agree with it, because language
models name places far better than they give coordinates. A name that the gazetteer does not know keeps its text
and gets no point of its own: the answer falls back to the next coarser place that is known, and says so.

Radii are nominal: they follow from the size of the place, not from how often the model is right. No coverage may
be stated with them until a calibration exists.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from schema.reasons import Granularity
from worker.place import sphere
from worker.place.gazetteer import CityMatch, Gazetteer, Place
from worker.reason.answer import Answer

PointSource = Literal["city", "region", "country", "model coordinates"]

CITY_DENSITY_PER_KM2 = 1500.0
"""A city's nominal radius is that of a disc which holds its population at this density (a typical built-up area
with its suburbs), within these bounds:"""
MIN_CITY_RADIUS_KM = 5.0
MAX_CITY_RADIUS_KM = 50.0
MIN_AREA_RADIUS_KM = 10.0
MODEL_POINT_SLACK_KM = 25.0
"""Coordinates agree with a city within this distance, or within its nominal radius where that is larger."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where an answer points: `lat`, `lon`, `radius_km`, `granularity`, `point_source`, all given or all None.

    `country`, `region` and `city` are gazetteer names and set only where they are known; `stated_place` is what
    the model said. `notes` are sentences for a person: what was uncertain, and what was done about it.
    """

    lat: float | None = None
    lon: float | None = None
    radius_km: float | None = None
    granularity: Granularity | None = None
    country_code: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    point_source: PointSource | None = None
    stated_place: str | None = None
    notes: tuple[str, ...] = ()


def resolve(answer: Answer, gazetteer: Gazetteer) -> Resolved:
    """Finds the place that the answer names. Never raises on what an answer may hold."""
    stated = ", ".join(filter(None, [answer.city, answer.region, answer.country])) or None
    notes: list[str] = []
    if answer.abstains:
        return Resolved(notes=("The model says that the place cannot be told.",))
    if answer.country is None:
        notes.append("The answer names no country, and a place name alone is not enough.")
        return Resolved(stated_place=stated, notes=tuple(notes))
    code = _country_code(answer, gazetteer, notes)
    if code is None:
        return Resolved(stated_place=stated, notes=tuple(notes))
    stated_region = answer.region
    if stated_region is None and gazetteer.region(answer.country, code) is not None:
        stated_region = answer.country  # "country: Scotland"
    place = _place(answer.city, stated_region, code, gazetteer, notes)
    if place is None:
        notes.append("The gazetteer knows no inhabited place in this country, so there is no point.")
        country = gazetteer.country_name(code)
        return Resolved(country_code=code, country=country, stated_place=stated, notes=tuple(notes))
    resolved = _at(place, stated)
    resolved = _with_model_point(resolved, place, answer, gazetteer, notes)
    return replace(resolved, notes=tuple(notes))


def city_radius_km(population: int) -> float:
    """Nominal radius of a city."""
    disc_km = math.sqrt(max(population, 0) / (math.pi * CITY_DENSITY_PER_KM2))
    return min(max(disc_km, MIN_CITY_RADIUS_KM), MAX_CITY_RADIUS_KM)


def _country_code(answer: Answer, gazetteer: Gazetteer, notes: list[str]) -> str | None:
    stated = answer.country or ""
    codes = gazetteer.country_codes(stated)
    if not codes:
        notes.append(f"The gazetteer knows no country named {_quoted(stated)}.")
        return None
    if len(codes) == 1:
        return codes[0]
    fitting = [code for code in codes if answer.city and gazetteer.city(answer.city, code) is not None]
    if len(fitting) == 1:
        return fitting[0]
    names = " or ".join(gazetteer.country_name(code) for code in codes)
    notes.append(f"{_quoted(stated)} may be {names}, and the rest of the answer does not decide.")
    return None


def _place(
    city: str | None, region: str | None, code: str, gazetteer: Gazetteer, notes: list[str]
) -> Place | None:
    """The finest place that is named with certainty: city, else region, else country."""
    country = gazetteer.country_name(code)
    named_region = gazetteer.region(region, code) if region else None
    if region and named_region is None:
        notes.append(f"The gazetteer knows no region {_quoted(region)} in {country}.")
    if city:
        match = gazetteer.city(city, code, region)
        if match is None:
            elsewhere = [gazetteer.country_name(other) for other in gazetteer.well_known_elsewhere(city, code)]
            where = f"; a city of that name is in {', '.join(elsewhere[:3])}" if elsewhere else ""
            notes.append(f"The gazetteer knows no city {_quoted(city)} in {country}{where}.")
            if elsewhere:
                return gazetteer.country(code)  # city and country contradict each other: trust no detail
        elif match.region_disagrees:
            notes.append(f"{_quoted(city)} is known in {country}, but not in {_quoted(region or city)}.")
            return gazetteer.country(code)
        elif match.rivals:
            notes.append(_rivalry(match))
        else:
            if match.by_spelling:
                notes.append(f"{_quoted(city)} was read as {match.place.name}.")
            if match.place.country_code != code:
                notes.append(f"{match.place.name} is filed under {match.place.country}, not {country}.")
            return match.place
    return named_region or gazetteer.country(code)


def _rivalry(match: CityMatch) -> str:
    places = [match.place, *match.rivals[:4]]
    where = ", ".join(place.region or place.country for place in places)
    return f"There are {len(match.rivals) + 1} places named {match.place.name} of similar size ({where})."


def _at(place: Place, stated: str | None) -> Resolved:
    is_city = place.kind == "city"
    radius_km = city_radius_km(place.population) if is_city else max(place.extent_km, MIN_AREA_RADIUS_KM)
    return Resolved(
        lat=place.lat,
        lon=place.lon,
        radius_km=radius_km,
        granularity=Granularity(place.kind),
        country_code=place.country_code,
        country=place.country,
        region=place.region,
        city=place.name if is_city else None,
        geoname_id=place.geoname_id,
        point_source=place.kind,
        stated_place=stated,
    )


def _with_model_point(
    resolved: Resolved, place: Place, answer: Answer, gazetteer: Gazetteer, notes: list[str]
) -> Resolved:
    if answer.lat is None or answer.lon is None:
        return resolved
    apart_km = sphere.distance_km(place.lat, place.lon, answer.lat, answer.lon)
    if place.kind == "city":
        agrees = apart_km <= max(MODEL_POINT_SLACK_KM, city_radius_km(place.population))
    else:
        around = gazetteer.nearest(answer.lat, answer.lon)
        agrees = around.country_code == place.country_code and (
            place.kind == "country" or around.region == place.name
        )
    if not agrees:
        notes.append(
            f"The model's coordinates are {apart_km:,.0f} km from {place.name} and do not agree with it; "
            "the name was followed."
        )
        return resolved
    radius_km = resolved.radius_km
    if place.kind != "city":
        radius_km = max(gazetteer.covering_radius_km(answer.lat, answer.lon, place), MIN_AREA_RADIUS_KM)
    return replace(resolved, lat=answer.lat, lon=answer.lon, radius_km=radius_km, point_source="model coordinates")


def _quoted(text: str) -> str:
    return f'"{text[:100]}"'
