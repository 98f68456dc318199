"""The LVLM's answers so far against all else that is known: which outcome has the most weight behind it.

An outcome is a place, or one of three reasons why there is none: the answers decline, name what the gazetteer does
not know, or lie outside the region that was given. A place needs more weight than each of these: on a tie there is
none, since a wrong place does more harm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from schema.reasons import Reason
from worker.place.consensus import Consensus, Opinion, consensus
from worker.place.gazetteer import Gazetteer
from worker.place.region import Constraint
from worker.place.sphere import distance_km
from worker.place.votes import NEAR_DUPLICATE, Sample, answer_opinion, sample_weights, within

NEAR_KM = 25.0
"""A similar photograph agrees with a place within this distance."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known beside the answers. `evidence` are similar photographs, `caption` what the records name.
    `suggestions` are for people alone, and decide nothing."""

    evidence: tuple[Opinion, ...] = ()
    caption: tuple[Opinion, ...] = ()
    constraint: Constraint | None = None
    nearest_cosine: float | None = None
    suggestions: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Weighed:
    """The outcome: `place`, or `refusal` with its `detail`. `agreement` is its share, 0..1, of all weight.

    `shown` is the index of the answer that speaks for it: the first, where that one does; where none does, the
    first that can be read. `evidence_agreement` is the share of the similar photographs' weight within `NEAR_KM`
    of the place. None and None: no answer could be read.
    """

    place: Consensus | None = None
    refusal: Reason | None = None
    detail: str | None = None
    agreement: float = 0.0
    shown: int = 0
    supporting: tuple[int, ...] = field(default=())
    evidence_agreement: float | None = None


def weigh(samples: Sequence[Sample], ground: Ground, gazetteer: Gazetteer) -> Weighed:
    """What the answers and the rest come to."""
    weights = sample_weights(samples)
    if not any(weights):
        return Weighed()
    against = _against(samples, weights)
    answers = {
        n: opinion
        for n, (sample, weight) in enumerate(zip(samples, weights, strict=True))
        if sample.place is not None and (opinion := answer_opinion(sample.place, weight)) is not None
    }
    admitted = {
        n: inside[0] for n, each in answers.items() if (inside := within([each], ground.constraint, gazetteer))
    }
    beside = [*ground.evidence, *ground.caption]
    beside_inside = within(beside, ground.constraint, gazetteer)
    outside = [each for n, each in answers.items() if n not in admitted]
    excluded = [each for each in beside if each not in beside_inside]
    # What merely looks alike elsewhere was mistaken, and only lowers the agreement; the same scene contradicts.
    outside += [each for each in excluded if each.source == NEAR_DUPLICATE]
    against[Reason.OUTSIDE_REGION] = math.fsum(each.weight for each in outside)
    mistaken = math.fsum(each.weight for each in excluded if each.source != NEAR_DUPLICATE)
    agreed = consensus([*admitted.values(), *beside_inside], unplaced=math.fsum([mistaken, *against.values()]))
    total = math.fsum([1.0, *(each.weight for each in beside)])
    readable = next(n for n, weight in enumerate(weights) if weight > 0)
    reason = max(against, key=lambda reason: against[reason])
    contrary = against[reason] / total
    if agreed is None or contrary >= agreed.agreement - 1e-9:
        supporting = tuple(n for n in range(len(samples)) if _says(reason, n, samples, admitted, weights))
        shown = supporting[0] if supporting else readable
        detail = _detail(reason, samples[shown], outside, ground.constraint)
        return Weighed(None, reason, detail, contrary, shown, supporting)
    points = {(member.lat, member.lon) for member in agreed.chosen.members}
    supporting = tuple(n for n, each in admitted.items() if (each.lat, each.lon) in points)
    heaviest = max(supporting, key=lambda n: (n == 0, weights[n]), default=readable)
    return Weighed(
        agreed,
        agreement=agreed.agreement,
        shown=heaviest,
        supporting=supporting,
        evidence_agreement=_near_share(agreed.chosen.place, ground.evidence),
    )


def _against(samples: Sequence[Sample], weights: Sequence[float]) -> dict[Reason, float]:
    """The weight of answers that decline, and of those that name what nobody knows."""
    declined = [weight for sample, weight in zip(samples, weights, strict=True) if sample.abstains]
    unknown = [
        weight
        for sample, weight in zip(samples, weights, strict=True)
        if sample.place is not None and not sample.abstains and not sample.is_placed
    ]
    return {Reason.NO_PLACE_STATED: math.fsum(declined), Reason.PLACE_UNKNOWN: math.fsum(unknown)}


def _says(
    reason: Reason, n: int, samples: Sequence[Sample], admitted: dict[int, Opinion], weights: Sequence[float]
) -> bool:
    sample = samples[n]
    if reason is Reason.NO_PLACE_STATED:
        return sample.abstains
    if reason is Reason.PLACE_UNKNOWN:
        return weights[n] > 0 and not sample.abstains and not sample.is_placed
    return sample.is_placed and n not in admitted


def _detail(
    reason: Reason, shown: Sample, outside: Sequence[Opinion], constraint: Constraint | None
) -> str | None:
    if reason is Reason.PLACE_UNKNOWN and shown.place is not None:
        return f"The gazetteer does not know “{shown.place.stated_place}”."
    found = consensus(outside) if reason is Reason.OUTSIDE_REGION else None
    if found is not None and constraint is not None:
        return f"{found.chosen.place.name} is not in {constraint.stated}."
    return None


def _near_share(place: Opinion, evidence: Sequence[Opinion]) -> float | None:
    total = math.fsum(each.weight for each in evidence)
    if total <= 0:
        return None
    near = [each.weight for each in evidence if distance_km(place.lat, place.lon, each.lat, each.lon) <= NEAR_KM]
    return min(1.0, math.fsum(near) / total)
