"""From the outcome that has the most weight to the row: a place, named as finely as is certain, or a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from schema.reasons import Granularity, Reason, Status
from worker.outcome import PredictionRecord
from worker.place.consensus import Consensus, Hypothesis, Opinion
from worker.place.difficulty import Difficulty
from worker.place.doubt import MIN_AGREEMENT
from worker.place.gazetteer import Gazetteer
from worker.place.granularity import WIDEST_KM, coarser_of, supported
from worker.place.radius import CalibratedRadius, RadiusModel
from worker.place.votes import ANSWER, Sample, coarser
from worker.place.weighing import Ground, Weighed
from worker.reason.answer import Answer, Unparsable
from worker.reason.text_cues import rests_on_text

CONFIDENT_KM = 25
"""`confidence` is the chance that the true place is this near: one distance for all rows, so that they compare."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is not good enough. `min_agreement`: share of all weight that a place needs behind it, 0..1.
    `max_radius_km`: wider places are none, None = any. `only_text`: what becomes of places that only text backs.
    """

    min_agreement: float = MIN_AGREEMENT
    max_radius_km: float | None = None
    only_text: Literal["flag", "refuse"] = "flag"


def verdict(
    samples: Sequence[Sample],
    weighed: Weighed,
    ground: Ground,
    *,
    request_hash: str,
    gate_score: float,
    limits: Limits,
    radius_model: RadiusModel | None,
    gazetteer: Gazetteer,
) -> PredictionRecord:
    """The row. Never raises on what an answer may hold."""
    shown = samples[weighed.shown]
    if isinstance(shown.answer, Unparsable):
        return PredictionRecord(
            Status.FAILED,
            request_hash,
            reason=Reason.UNPARSABLE,
            detail=shown.answer.detail,
            gate_score=gate_score,
        )
    stated = shown.place.stated_place if shown.place else None
    notes = shown.answer.notes + (shown.place.notes if shown.place and not shown.answer.abstains else ())
    if weighed.place is None:
        return PredictionRecord(
            Status.NOT_LOCATABLE,
            request_hash,
            reason=weighed.refusal,
            detail=weighed.detail,
            stated_place=stated,
            gate_score=gate_score,
            suggestions=ground.suggestions,
            notes=notes,
        )
    agreed = weighed.place
    difficulty = _difficulty(samples, weighed, agreed, ground, gate_score)
    calibrated = radius_model.radius(difficulty) if radius_model else None
    only_text = _is_only_text(samples, weighed, agreed)
    found = _Found(agreed.chosen.place, calibrated, gazetteer)
    notes += _notes(samples, weighed, agreed, only_text=only_text)
    refused = _refusal(found, agreed, len(samples), limits, only_text=only_text)
    if refused is not None:
        reason, detail = refused
        return PredictionRecord(
            Status.NOT_LOCATABLE,
            request_hash,
            reason=reason,
            detail=detail,
            stated_place=stated,
            gate_score=gate_score,
            alternatives=tuple(_row(each) for each in (agreed.chosen, *agreed.alternatives)),
            suggestions=ground.suggestions,
            notes=notes,
            calibration_id=calibrated.calibration_id if calibrated else None,
            difficulty=difficulty,
        )
    place = found.named
    return PredictionRecord(
        Status.LOCATED,
        request_hash,
        lat=place.lat,
        lon=place.lon,
        radius_km=found.radius_km,
        coverage=calibrated.coverage if calibrated else None,
        granularity=place.granularity,
        country_code=place.country_code,
        region=place.region,
        city=place.city,
        geoname_id=place.geoname_id,
        stated_place=stated,
        confidence=calibrated.confidence_by_km.get(CONFIDENT_KM) if calibrated else None,
        gate_score=gate_score,
        alternatives=tuple(_row(each) for each in agreed.alternatives),
        suggestions=ground.suggestions,
        notes=notes,
        calibration_id=calibrated.calibration_id if calibrated else None,
        difficulty=difficulty,
    )


class _Found:
    """The chosen place with its radius, and named as finely as that allows."""

    def __init__(self, place: Opinion, calibrated: CalibratedRadius | None, gazetteer: Gazetteer) -> None:
        self.is_calibrated = calibrated is not None
        self.keeps_risk = None if calibrated is None else calibrated.keeps_risk
        self.radius_km = calibrated.radius_km if calibrated else place.radius_km
        self.widest_km = WIDEST_KM[Granularity.COUNTRY]
        if calibrated is None:  # the size of what was named says nothing of how sure it is
            self.named = place
        else:
            finest = supported(calibrated.radius_km) or Granularity.COUNTRY
            self.named = coarser(place, coarser_of(finest, place.granularity), gazetteer)


def _refusal(
    found: _Found, agreed: Consensus, samples: int, limits: Limits, *, only_text: bool
) -> tuple[Reason, str] | None:
    """Why the place is not good enough, if it is not."""
    if agreed.agreement < limits.min_agreement:
        detail = (
            f"{found.named.name} has {agreed.agreement:.0%} of the weight of {samples} answers and other signs;"
            f" {limits.min_agreement:.0%} are asked for."
        )
        return Reason.SAMPLES_DISAGREE, detail
    if only_text and limits.only_text == "refuse":
        return Reason.ONLY_TEXT_EVIDENCE, f"The text in the picture speaks for {found.named.name}."
    widest_km = limits.max_radius_km
    if found.is_calibrated:  # beyond the widest radius for a country nothing is left that could be named
        widest_km = found.widest_km if widest_km is None else min(widest_km, found.widest_km)
    if widest_km is not None and found.radius_km > widest_km:
        kind = "radius" if found.is_calibrated else "nominal radius"
        detail = f"The {kind} of {found.radius_km:,.0f} km is wider than {widest_km:,.0f} km."
        return Reason.TOO_UNCERTAIN, detail
    if found.keeps_risk is False:
        return (
            Reason.TOO_UNCERTAIN,
            "Answers about photographs as hard as this are wrong more often than is allowed.",
        )
    return None


def _difficulty(
    samples: Sequence[Sample], weighed: Weighed, agreed: Consensus, ground: Ground, gate_score: float
) -> Difficulty:
    return Difficulty(
        gate_score=gate_score,
        agreement=agreed.agreement,
        spread_km=agreed.spread_km,
        samples=len(samples),
        mean_logprob=samples[0].completion.mean_logprob,
        place_logprob=samples[0].place_logprob,
        nearest_cosine=ground.nearest_cosine,
        candidate_agreement=weighed.evidence_agreement,
        stated=agreed.chosen.place.granularity,
    )


def _is_only_text(samples: Sequence[Sample], weighed: Weighed, agreed: Consensus) -> bool:
    """Do only answers speak for the place, and does each of them rest on text in the picture?"""
    answers = [samples[n].answer for n in weighed.supporting]
    return agreed.chosen.sources == (ANSWER,) and all(
        isinstance(answer, Answer) and rests_on_text(answer.cues) for answer in answers
    )


def _notes(samples: Sequence[Sample], weighed: Weighed, agreed: Consensus, *, only_text: bool) -> tuple[str, ...]:
    notes = []
    if len(samples) > 1:
        notes.append(f"Asked {len(samples)} times; {len(weighed.supporting)} answers speak for this place.")
    images = sorted({each.image_id for each in agreed.chosen.members if each.image_id is not None})
    beside = [source for source in agreed.chosen.sources if source != ANSWER]
    if beside:
        named = f" (images {', '.join(map(str, images))})" if images else ""
        words = ", ".join(source.replace("_", " ") for source in beside)
        alone = "" if ANSWER in agreed.chosen.sources else " alone"
        notes.append(f"Supported{alone} by {words}{named}: inferred, not known.")
    if only_text:
        notes.append("All stated reasons rest on text in the picture, which may be from anywhere.")
    return tuple(notes)


def _row(hypothesis: Hypothesis) -> dict[str, Any]:
    """An entry of `prediction.alternatives`."""
    place = hypothesis.place
    return {
        "place": place.name,
        "lat": place.lat,
        "lon": place.lon,
        "granularity": place.granularity,
        "country_code": place.country_code,
        "region": place.region,
        "city": place.city,
        "geoname_id": place.geoname_id,
        "weight": round(hypothesis.share, 4),
        "sources": list(hypothesis.sources),
        "images": sorted({each.image_id for each in hypothesis.members if each.image_id is not None}),
    }
