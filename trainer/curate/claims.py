"""What place a sample claims, whether the photograph was taken there, and whether other teachers mean it too.

Everything is judged as fine as the sample itself claims: who rightly says no more than the country is right.
Names and ids are those of the gazetteer. Coordinates that a language teacher prints are not looked at: such models
name places far better than they give coordinates.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from trainer.curate.opinions import Opinion, Subject
from trainer.curate.thresholds import Thresholds, Why
from worker.place.countries import TERRITORIES
from worker.place.gazetteer import NEAR_CITY_KM, Gazetteer, ReversePlace
from worker.place.names import fold
from worker.place.resolve import Resolved, resolve
from worker.place.sphere import distance_km, is_valid
from worker.reason.answer import Answer

FINENESS = {"country": 1, "region": 2, "city": 3}


class Stance(StrEnum):
    """What another opinion says to a claim. COARSER: it names only what the claimed place lies in."""

    AGREES = "agrees"
    COARSER = "coarser"
    CONTRADICTS = "contradicts"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Claim:
    """`at` is the place as far as the gazetteer finds it, `stated` how fine the answer itself is (0: no place)."""

    at: Resolved
    stated: int

    @property
    def fineness(self) -> int:
        """How fine the place is that was found: 3 city, 2 region, 1 country, 0 none."""
        return FINENESS.get(str(self.at.granularity), 0)


def claim_of(answer: Answer, gazetteer: Gazetteer) -> Claim:
    """The place that an answer names."""
    if answer.abstains:
        return Claim(Resolved(), 0)
    return _claim(gazetteer, answer.country, answer.region, answer.city)


@lru_cache(maxsize=100_000)
def _claim(gazetteer: Gazetteer, country: str | None, region: str | None, city: str | None) -> Claim:
    stated = FINENESS["city"] if city else FINENESS["region"] if region else FINENESS["country"] if country else 0
    return Claim(resolve(Answer(country=country, region=region, city=city), gazetteer), stated)


@lru_cache(maxsize=100_000)
def _around(gazetteer: Gazetteer, lat: float, lon: float) -> ReversePlace:
    return gazetteer.nearest(lat, lon)


@dataclass(frozen=True, slots=True)
class Truth:
    """Where a photograph was taken. `cities` are the ids of the city that it may be said to be in."""

    lat: float
    lon: float
    country_code: str | None
    region: str | None
    cities: frozenset[int]


def truth_of(subject: Subject, gazetteer: Gazetteer) -> Truth:
    """As the subject states it, else as the gazetteer finds it at the point."""
    around = _around(gazetteer, subject.lat, subject.lon)
    code = subject.country_code or around.country_code
    region = around.region if around.country_code == code else None
    if subject.region and code is not None and (named := gazetteer.region(subject.region, code)) is not None:
        region = named.name
    cities: set[int | None] = {subject.geoname_id if subject.geoname_id is not None else around.geoname_id}
    if subject.geoname_id is None and subject.city and code is not None:
        found = gazetteer.city(subject.city, code, subject.region)
        for place in () if found is None or found.region_disagrees else (found.place, *found.rivals):
            if distance_km(subject.lat, subject.lon, place.lat, place.lon) <= NEAR_CITY_KM:
                cities.add(place.geoname_id)
    return Truth(subject.lat, subject.lon, code, region, frozenset(id for id in cities if id is not None))


def fault_of(claim: Claim, truth: Truth, thresholds: Thresholds) -> Why | None:
    """Why the photograph was not taken at the claimed place; None where it was.

    By id: the same country, region or city; a city also where its nominal radius covers the point, since a suburb
    with an id of its own is in its metropolis. By distance: a city at most `city_km` away, or its nominal radius;
    a region where nobody knows which one the point is in. Both must hold.
    """
    at = claim.at
    if at.country_code is None or at.lat is None or at.lon is None or at.radius_km is None:
        return Why.UNRESOLVED
    if claim.fineness < claim.stated and not thresholds.allow_unchecked:
        return Why.UNCHECKED
    if truth.country_code is not None and not _in_country(truth.country_code, at.country_code):
        return Why.OTHER_COUNTRY
    apart_km = distance_km(at.lat, at.lon, truth.lat, truth.lon)
    if claim.fineness == FINENESS["city"]:
        return _fault_of_city(at.geoname_id in truth.cities, apart_km, at.radius_km, thresholds)
    known = truth.country_code if claim.fineness == FINENESS["country"] else truth.region
    if known is None:
        return Why.TOO_FAR if apart_km > at.radius_km else None
    differs = claim.fineness == FINENESS["region"] and fold(known) != fold(at.region or "")
    return Why.OTHER_REGION if differs else None


def _fault_of_city(same_id: bool, apart_km: float, radius_km: float, thresholds: Thresholds) -> Why | None:
    if apart_km > max(thresholds.city_km, radius_km):
        return Why.TOO_FAR
    return None if same_id or apart_km <= radius_km else Why.OTHER_CITY


def stance(claim: Claim, other: Opinion, gazetteer: Gazetteer, thresholds: Thresholds) -> Stance:
    """What another teacher's opinion says to this claim. Who names no place that is known is silent."""
    if claim.fineness == 0:
        return Stance.SILENT
    if other.answer is not None:
        return _to_names(claim.at, claim.fineness, claim_of(other.answer, gazetteer), thresholds)
    if other.lat is None or other.lon is None or not is_valid(other.lat, other.lon):
        return Stance.SILENT
    return _to_point(claim, _around(gazetteer, other.lat, other.lon), (other.lat, other.lon), thresholds)


def _to_names(mine: Resolved, fineness: int, other: Claim, thresholds: Thresholds) -> Stance:
    theirs = other.at
    if other.fineness == 0:
        return Stance.SILENT
    level = min(fineness, other.fineness)  # that both name
    if theirs.country_code != mine.country_code:
        same: bool | None = False
    elif level == FINENESS["city"]:
        same_id = mine.geoname_id is not None and mine.geoname_id == theirs.geoname_id
        same = same_id or _apart_km(mine, theirs) <= thresholds.agree_km
    elif level == FINENESS["region"] and mine.region is not None and theirs.region is not None:
        same = fold(mine.region) == fold(theirs.region)
    else:
        same = None if level == FINENESS["region"] else True
    if same is None:
        return Stance.COARSER
    if not same:
        return Stance.CONTRADICTS
    return Stance.AGREES if other.fineness >= fineness else Stance.COARSER


def _to_point(claim: Claim, around: ReversePlace, point: tuple[float, float], thresholds: Thresholds) -> Stance:
    at = claim.at
    near = replace(Resolved(), lat=point[0], lon=point[1])
    if claim.fineness == FINENESS["city"]:
        within_km = max(thresholds.coordinate_km, at.radius_km or 0.0)
        return Stance.AGREES if _apart_km(at, near) <= within_km else Stance.CONTRADICTS
    same = around.country_code == at.country_code
    if same and claim.fineness == FINENESS["region"]:
        same = fold(around.region or "") == fold(at.region or "")
    return Stance.AGREES if same else Stance.CONTRADICTS


def _apart_km(one: Resolved, other: Resolved) -> float:
    if one.lat is None or one.lon is None or other.lat is None or other.lon is None:
        return float("inf")
    return distance_km(one.lat, one.lon, other.lat, other.lon)


def _in_country(true_code: str, claimed_code: str) -> bool:
    """Territories that have a code of their own lie in their country too: Réunion in France."""
    return true_code == claimed_code or true_code in TERRITORIES.get(claimed_code, ())
