"""How near is the answered place, and how much of its name is right?

R_geo = w_d exp(-d / scale) + w_country [country] + w_region [region] + w_city [city], divided by the sum of the
weights. d is the great-circle distance from the true point to the gazetteer's point of the answered names; the
brackets are 1 where the ids agree. The default scale is GeoScore's (see `trainer.judge.distance`).

The paper (GLOBE, arXiv 2506.14674, Eq. 3) has R_geo = [country right] (alpha [city right] + 1 - alpha): a guess in
the next village and one on another continent are worth the same, and its code compares strings (Niger passes for
Nigeria). Here every kilometre counts and names count only through the gazetteer, so aliases and other languages
are right and look-alikes are not.

What is decided here:

- A name that the gazetteer cannot place with certainty has no distance part: "Xyzzy, France" in France is worth
  the country's name and less than "France" alone. An answer whose country is unknown is worth 0.
- An abstention is worth 0: what it is worth is the matter of `trainer.rewards.locatable`.
- A picture that cannot be placed (`placeable` is "none") is not judged at all, whatever was answered: rewarding
  a lucky hit would teach guessing. So None depends on the sample alone, never on the completion.
- Levels that the true place does not have (no town within reach, the high seas) are left out, and the other
  weights stand for the whole.
- A city is right by its GeoNames id. Where the row states no city, only a point, also a city within whose nominal
  radius the point lies: the nearest town on the list may be a suburb. Where the gazetteer cannot place the stated
  name, it is right if it is the row's own name for the city.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from trainer.judge.distance import GEOSCORE_SCALE_KM
from trainer.judge.places import true_place
from trainer.judge.records import PLACEABLE, Placeable, Truth
from trainer.rewards.base import Reward, Sample
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.place.names import fold
from worker.place.resolve import Resolved, resolve
from worker.place.sphere import distance_km
from worker.reason.answer import Answer, Unparsable

_PLACES_REMEMBERED = 50_000
_TEXT_COLUMNS = ("country_code", "country", "region", "city")


@dataclass(frozen=True, slots=True)
class _TruePlace:
    """Gazetteer's code, region name and city id of the truth; None for a level that it does not have."""

    country_code: str | None
    region: str | None
    city_id: int | None
    city_stated: bool
    city_folded: str

    @property
    def has_city(self) -> bool:
        return self.city_id is not None or self.city_stated


@dataclass(frozen=True, kw_only=True)
class GeoReward(Reward):
    """Columns: `lat`, `lon` (degrees; None: not judged); as far as known also `country_code`, `country`, `region`,
    `city`, `geoname_id`, `placeable`. What is not stated is looked up at the point."""

    name: ClassVar[str] = "geo"
    needs: ClassVar[tuple[str, ...]] = ("lat", "lon")

    scale_km: float = GEOSCORE_SCALE_KM
    distance_weight: float = 0.4
    country_weight: float = 0.2
    region_weight: float = 0.1
    city_weight: float = 0.3

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale_km) and self.scale_km > 0):
            raise SetupError(f"reward geo: scale_km must be a positive number of kilometres, not {self.scale_km}")
        weights = (self.distance_weight, self.country_weight, self.region_weight, self.city_weight)
        if not (all(math.isfinite(weight) and weight >= 0 for weight in weights) and self.distance_weight > 0):
            raise SetupError(f"reward geo: the weights {weights} must be at least 0, that of the distance above 0")

    def score(self, sample: Sample) -> float | None:
        lat, lon = sample.number("lat", -90, 90), sample.number("lon", -180, 180)
        if (lat is None) != (lon is None):
            raise sample.failed("only one of lat and lon is given")
        if lat is None or lon is None or placeable_of(sample) == "none":
            return None
        names = [sample.string(column) for column in _TEXT_COLUMNS]
        truth = _true_place(lat, lon, *names, _geoname_id(sample))
        answer = sample.answer
        if isinstance(answer, Unparsable) or answer.abstains:
            return 0.0
        found = place_of(answer)
        away_km = math.inf
        if found.lat is not None and found.lon is not None:
            away_km = distance_km(lat, lon, found.lat, found.lon)
        near = 0.0 if _is_vague(answer, found) else closeness(away_km, self.scale_km)
        same_country = found.country_code is not None and found.country_code == truth.country_code
        same_city = _same_city(answer, found, truth, away_km)
        parts = (
            (self.distance_weight, near),
            (self.country_weight if truth.country_code else 0.0, same_country),
            (self.region_weight if truth.region else 0.0, same_country and found.region == truth.region),
            (self.city_weight if truth.has_city else 0.0, same_country and same_city),
        )
        return sum(weight * value for weight, value in parts) / sum(weight for weight, _ in parts)


def closeness(away_km: float, scale_km: float) -> float:
    """exp(-away_km / scale_km): 1 at the very place, falling to 0."""
    return math.exp(-away_km / scale_km)


def placeable_of(sample: Sample) -> Placeable | None:
    """The finest level that the picture gives away, None where the data set does not say.

    Raises `RewardFailed` for a word that is no level.
    """
    stated = sample.string("placeable")
    for level in PLACEABLE:
        if stated == level:
            return level
    if stated is not None:
        raise sample.failed(f"column placeable holds {stated!r:.80}, not one of {', '.join(PLACEABLE)}")
    return None


def place_of(answer: Answer) -> Resolved:
    """Where the answer points in the process's gazetteer."""
    return _resolved(answer.country, answer.region, answer.city, answer.lat, answer.lon)


@lru_cache(maxsize=_PLACES_REMEMBERED)
def _resolved(
    country: str | None, region: str | None, city: str | None, lat: float | None, lon: float | None
) -> Resolved:
    answer = Answer(country=country, region=region, city=city, lat=lat, lon=lon)
    return resolve(answer, Gazetteer.load())


@lru_cache(maxsize=_PLACES_REMEMBERED)
def _true_place(
    lat: float,
    lon: float,
    country_code: str | None,
    country: str | None,
    region: str | None,
    city: str | None,
    geoname_id: int | None,
) -> _TruePlace:
    gazetteer = Gazetteer.load()
    truth = Truth("", lat, lon, country_code, country, region, city, geoname_id)
    found = true_place(truth, gazetteer)
    around = gazetteer.nearest(lat, lon)
    named = gazetteer.region(region, found.country_code) if region and found.country_code else None
    if named is not None:
        true_region: str | None = named.name
    else:
        true_region = around.region if around.country_code == found.country_code else None
    stated = city is not None or geoname_id is not None
    return _TruePlace(found.country_code, true_region, found.city_id, stated, fold(city or ""))


def _geoname_id(sample: Sample) -> int | None:
    value: Any = sample.get("geoname_id")
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise sample.failed(f"column geoname_id holds {value!r:.80}, not a number") from error


def _is_vague(answer: Answer, found: Resolved) -> bool:
    """Was a finer place named than could be found? A city's division may be unknown where the city is not."""
    if found.city is not None:
        return False
    return answer.city is not None or (answer.region is not None and found.region is None)


def _same_city(answer: Answer, found: Resolved, truth: _TruePlace, away_km: float) -> bool:
    if found.city is None:
        agrees = answer.region is None or found.region == truth.region
        return agrees and truth.city_folded != "" and fold(answer.city or "") == truth.city_folded
    if found.geoname_id is not None and found.geoname_id == truth.city_id:
        return True
    return not truth.city_stated and found.radius_km is not None and away_km <= found.radius_km
