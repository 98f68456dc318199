"""All that speaks for a place, made comparable: the LVLM's answers, similar photographs, the caption.

Weights. All answers of the LVLM together weigh 1, shared out by how likely the model found its own words: an
answer gets `exp(mean log-probability of its tokens)`, the geometric mean of their probabilities, or all get the
same where the engine cannot tell. So asking twice as often does not make the model twice as loud. Each other
source is held to `LOUDEST`, however many photographs it brings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from schema.reasons import Granularity
from worker.place.consensus import Opinion
from worker.place.evidence import Evidence
from worker.place.gazetteer import Gazetteer, Place
from worker.place.region import Constraint
from worker.place.resolve import MIN_AREA_RADIUS_KM, Resolved, city_radius_km, resolve
from worker.reason.answer import Answer, Unparsable, parse
from worker.reason.certainty import place_logprob
from worker.reason.engines import Completion

ANSWER, CAPTION, NEAR_DUPLICATE = "answer", "caption", "near_duplicate"
LOUDEST = {NEAR_DUPLICATE: 2.0, "recall": 1.0, "series": 0.5, CAPTION: 0.25}
"""The most that a source may weigh, against 1 for the LVLM. A near-duplicate shows the same scene and may overrule
the model; photographs that look alike may equal it; the same roll of film and a caption can only tip a balance."""
CAPTION_WEIGHT = 0.25
_EVIDENCE_RADIUS_KM = {NEAR_DUPLICATE: 1.0}
_EVIDENCE_RADIUS_ELSE_KM = 25.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of the LVLM, read and looked up. `place` is None where the answer could not be read.

    `place_logprob`: how likely the model found the place that it names (`worker.reason.certainty`), None where
    that is not known.
    """

    completion: Completion
    answer: Answer | Unparsable
    place: Resolved | None
    place_logprob: float | None = None

    @property
    def is_placed(self) -> bool:
        return self.place is not None and self.place.lat is not None

    @property
    def abstains(self) -> bool:
        return isinstance(self.answer, Answer) and self.answer.abstains


def read_sample(completion: Completion, gazetteer: Gazetteer) -> Sample:
    """A completion with what it comes to. Never raises on text."""
    answer = parse(completion.text, finish_reason=completion.finish_reason)
    if isinstance(answer, Unparsable):
        return Sample(completion, answer, None)
    return Sample(completion, answer, resolve(answer, gazetteer), place_logprob(completion.pieces, answer))


def sample_weights(samples: Sequence[Sample]) -> list[float]:
    """Each answer's part of 1; 0 for those that could not be read."""
    readable = [not isinstance(sample.answer, Unparsable) for sample in samples]
    logprobs = [sample.completion.mean_logprob for sample in samples]
    known = [logprob for logprob, counts in zip(logprobs, readable, strict=True) if counts and logprob is not None]
    all_known = len(known) == sum(readable)
    likeliest = max(known, default=0.0)
    raw = [
        0.0 if not counts else math.exp(logprob - likeliest) if all_known and logprob is not None else 1.0
        for logprob, counts in zip(logprobs, readable, strict=True)
    ]
    total = math.fsum(raw)
    return [weight / total for weight in raw] if total > 0 else raw


def answer_opinion(place: Resolved, weight: float) -> Opinion | None:
    """The opinion of one answer; None where it has no point."""
    if place.lat is None or place.lon is None or place.granularity is None or place.radius_km is None:
        return None
    return Opinion(
        place.lat,
        place.lon,
        weight,
        ANSWER,
        place.granularity,
        place.radius_km,
        place.country_code,
        place.region,
        place.city,
        place.geoname_id,
    )


def evidence_opinions(evidence: Sequence[Evidence], gazetteer: Gazetteer) -> list[Opinion]:
    """Similar photographs, with the names of where they were taken. Those off the Earth or without weight are left
    out: they say nothing."""
    weights = _held(evidence)
    opinions = []
    for each, weight in zip(evidence, weights, strict=True):
        if weight <= 0:
            continue
        near = gazetteer.nearest(each.lat, each.lon)
        is_same_scene = each.source == NEAR_DUPLICATE
        opinions.append(
            Opinion(
                each.lat,
                each.lon,
                weight,
                each.source,
                Granularity.STREET if is_same_scene else Granularity.CITY,
                _EVIDENCE_RADIUS_KM.get(each.source, _EVIDENCE_RADIUS_ELSE_KM),
                near.country_code,
                near.region,
                near.city,
                near.geoname_id,
                each.image_id,
            )
        )
    return opinions


def caption_opinions(places: Sequence[Place]) -> list[Opinion]:
    """What a caption names, `CAPTION_WEIGHT` in all."""
    return [_at(place, CAPTION_WEIGHT / len(places), CAPTION) for place in places]


def within(opinions: Sequence[Opinion], constraint: Constraint | None, gazetteer: Gazetteer) -> list[Opinion]:
    """The opinions that a region admits. One that names no more than the region's country is narrowed to it."""
    if constraint is None:
        return list(opinions)
    admitted = []
    for opinion in opinions:
        if constraint.holds(opinion.country_code, opinion.region):
            admitted.append(opinion)
        elif opinion.region is None and opinion.source == ANSWER:
            narrower = constraint.within(opinion.country_code, gazetteer)
            if narrower is not None:
                admitted.append(_at(narrower, opinion.weight, opinion.source))
    return admitted


def _held(evidence: Sequence[Evidence]) -> list[float]:
    """Weights, each source scaled down to what it may weigh at most."""
    raw = [
        each.weight if math.isfinite(each.weight) and abs(each.lat) <= 90 and abs(each.lon) <= 180 else 0.0
        for each in evidence
    ]
    totals: dict[str, float] = {}
    for each, weight in zip(evidence, raw, strict=True):
        totals[each.source] = totals.get(each.source, 0.0) + weight
    return [
        weight * min(1.0, LOUDEST.get(each.source, CAPTION_WEIGHT) / totals[each.source]) if weight > 0 else 0.0
        for each, weight in zip(evidence, raw, strict=True)
    ]


def _at(place: Place, weight: float, source: str) -> Opinion:
    is_city = place.kind == "city"
    return Opinion(
        place.lat,
        place.lon,
        weight,
        source,
        Granularity(place.kind),
        city_radius_km(place.population) if is_city else max(place.extent_km, MIN_AREA_RADIUS_KM),
        place.country_code,
        place.region,
        place.name if is_city else None,
        place.geoname_id,
    )


def coarser(opinion: Opinion, granularity: Granularity, gazetteer: Gazetteer) -> Opinion:
    """The same point, named no finer than `granularity`."""
    if granularity in (Granularity.STREET, Granularity.CITY):
        return replace(opinion, granularity=granularity)
    if granularity is Granularity.REGION:
        return replace(opinion, granularity=granularity, city=None, geoname_id=None)
    country = gazetteer.country(opinion.country_code) if opinion.country_code else None
    number = country.geoname_id if country else None
    return replace(opinion, granularity=granularity, city=None, region=None, geoname_id=number)
