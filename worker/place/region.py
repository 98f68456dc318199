"""The region that a photograph is said to be from, read as a constraint: a country or a first-level division.

Names must be exact: a misspelt name could exclude the right country, and nobody would see it. A name that may mean
two places ("Georgia") admits both.
"""

import re
from dataclasses import dataclass

from worker.place.countries import TERRITORIES
from worker.place.gazetteer import Gazetteer, Place
from worker.place.names import fold

MAX_CHARS = 200
_SEVERAL = re.compile(r"\s*(?:;|/|\||\bor\b)\s*")


class UnknownRegion(ValueError):
    """No country and no first-level division has that name. The message is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Area:
    """A country, or one first-level division of it, by the gazetteer's name."""

    country_code: str
    region: str | None = None

    def holds(self, country_code: str | None, region: str | None) -> bool:
        """Is all of the other area inside this one? A country holds its territories."""
        if country_code != self.country_code:
            return self.region is None and country_code in TERRITORIES.get(self.country_code, ())
        return self.region is None or self.region == region


@dataclass(frozen=True, slots=True)
class Constraint:
    """The place lies in one of `areas`; `stated` is how people said so. Without areas, statements contradict."""

    areas: tuple[Area, ...]
    stated: str

    def holds(self, country_code: str | None, region: str | None) -> bool:
        return any(area.holds(country_code, region) for area in self.areas)

    def within(self, country_code: str | None, gazetteer: Gazetteer) -> Place | None:
        """The one division that is meant where only its country is known; None where several are, or none."""
        inside = [area for area in self.areas if area.region and area.country_code == country_code]
        return gazetteer.region(inside[0].region or "", inside[0].country_code) if len(inside) == 1 else None


def read_constraint(stated: tuple[str | None, ...], gazetteer: Gazetteer) -> Constraint | None:
    """What all statements together admit; None where nothing is stated. Raises `UnknownRegion`."""
    given = [text.strip() for text in stated if text and text.strip()]
    if not given:
        return None
    areas = _read(given[0], gazetteer)
    for text in given[1:]:
        areas = _common(areas, _read(text, gazetteer))
    return Constraint(areas, " and ".join(dict.fromkeys(given)))


def _read(text: str, gazetteer: Gazetteer) -> tuple[Area, ...]:
    """ "Brittany, France" names one area; "France; Spain" and "Georgia" name two."""
    found: list[Area] = []
    for one in filter(None, _SEVERAL.split(text[:MAX_CHARS])):
        parts = [part.strip() for part in one.split(",") if part.strip()]
        areas = _named(parts[0], gazetteer, alone=len(parts) == 1) if parts else ()
        for part in parts[1:]:
            areas = _common(areas, _named(part, gazetteer, alone=False))
        if not areas:
            raise UnknownRegion(f"The gazetteer knows no country and no region named “{one[:100]}”.")
        found += areas
    if not found:
        raise UnknownRegion(f"“{text[:100]}” names no country and no region.")
    return tuple(dict.fromkeys(found))


def _named(name: str, gazetteer: Gazetteer, *, alone: bool) -> tuple[Area, ...]:
    """All that a name may mean. Two or three capitals on their own are a country's code, never a division's."""
    countries = [Area(code) for code in gazetteer.country_codes(name, by_spelling=False)]
    if alone and len(name) <= 3 and name.isupper():
        return tuple(countries)
    divisions = [
        Area(place.country_code, place.name) for place in gazetteer.regions_named(name) if place.region is not None
    ]
    # "Scotland" is an alias of its country too, and means the division; "Luxembourg" means the country.
    own = [area for area in countries if fold(gazetteer.country_name(area.country_code)) == fold(name)]
    divided = {area.country_code for area in divisions}
    return tuple(
        [area for area in countries if area in own or area.country_code not in divided]
        + [area for area in divisions if Area(area.country_code) not in own]
    )


def _common(some: tuple[Area, ...], others: tuple[Area, ...]) -> tuple[Area, ...]:
    """The areas that lie in one of each."""
    both = [
        one if other.holds(one.country_code, one.region) else other
        for one in some
        for other in others
        if other.holds(one.country_code, one.region) or one.holds(other.country_code, other.region)
    ]
    return tuple(dict.fromkeys(both))
