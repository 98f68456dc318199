"""From what a system printed to a prediction: the worker's own answer grammar and gazetteer, nothing else.

What is judged here is therefore what would be served. Only the gate is left out: it is judged by its own means.
"""

from collections.abc import Sequence
from dataclasses import replace

from trainer.judge.records import Outcome, Prediction
from worker.place.gazetteer import Gazetteer
from worker.place.resolve import Resolved, resolve
from worker.reason.answer import Answer, Unparsable, parse


def from_completion(id_: str, text: str, gazetteer: Gazetteer, *, finish_reason: str = "stop") -> Prediction:
    """Reads one raw answer. Never raises on text."""
    answer = parse(text, finish_reason=finish_reason)
    if isinstance(answer, Unparsable):
        return Prediction(id_, Outcome.UNPARSABLE, strict=False, detail=answer.detail, raw=text)
    prediction = from_answer(id_, answer, gazetteer)
    return replace(prediction, strict=not answer.notes, raw=text)


def from_names(
    id_: str, gazetteer: Gazetteer, *, country: str | None, region: str | None, city: str | None
) -> Prediction:
    """The prediction for stated names; words such as "unknown" are a refusal, as in an answer."""
    lines = [f"{label}: {' '.join(name.split())}" for label, name in _labelled(country, region, city) if name]
    answer = parse("<answer>" + "\n".join(lines) + "</answer>")
    if isinstance(answer, Unparsable):
        return Prediction(id_, Outcome.UNPARSABLE, country=country, region=region, city=city, detail=answer.detail)
    return from_answer(id_, answer, gazetteer)


def from_answer(id_: str, answer: Answer, gazetteer: Gazetteer) -> Prediction:
    """The prediction that an answer comes to in the gazetteer."""
    if answer.abstains:
        return Prediction(id_, Outcome.REFUSED)
    place = resolve(answer, gazetteer)
    unresolved = _unresolved(answer, place)
    detail = " ".join(place.notes) or None
    if place.lat is None or place.lon is None:
        return Prediction(
            id_,
            Outcome.UNRESOLVED,
            country_code=place.country_code,
            country=answer.country,
            region=answer.region,
            city=answer.city,
            unresolved=unresolved,
            detail=detail,
        )
    return Prediction(
        id_,
        Outcome.LOCATED,
        lat=place.lat,
        lon=place.lon,
        radius_km=place.radius_km,
        granularity=place.granularity,
        country_code=place.country_code,
        country=answer.country,
        region=answer.region,
        city=answer.city,
        geoname_id=place.geoname_id if place.city is not None else None,
        unresolved=unresolved,
        detail=detail,
    )


def _unresolved(answer: Answer, place: Resolved) -> tuple[str, ...]:
    """The levels that the answer names and the gazetteer could not place; without a country, all of them."""
    found = {"country": place.country_code, "region": place.region, "city": place.city}
    stated = (("country", answer.country), ("region", answer.region), ("city", answer.city))
    # A city's own division may have no name in the gazetteer: the region is no loss where the city was found.
    return tuple(
        level
        for level, name in stated
        if name and found[level] is None and not (level == "region" and place.city is not None)
    )


def _labelled(country: str | None, region: str | None, city: str | None) -> Sequence[tuple[str, str | None]]:
    return (("country", country), ("region", region), ("city", city))
