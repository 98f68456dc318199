"""The four steps of verification (GLOBE, arXiv 2506.14674), each a function of one sample and all opinions.

No step looks at what another decided. So each may be left out, which keeps all that was kept and perhaps more, and
a sample that was dropped early still counts as a witness for and against others.

A check that nobody could make is no yes: the ruling says so (`unjudged`), and it is counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainer.curate.claims import Claim, Stance, Truth, fault_of, stance
from trainer.curate.opinions import CueSeen, Opinion
from trainer.curate.thresholds import Thresholds, Why
from worker.place.gazetteer import Gazetteer
from worker.place.sphere import distance_km

_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Ruling:
    """`why` a sample is dropped, None to keep it; the figures that the step went by; could it be judged at all?"""

    why: Why | None
    measures: dict[str, float] = field(default_factory=dict)
    unjudged: bool = False


# ------------------------------------------------------------ (a) verdicts


def verdict(opinion: Opinion) -> bool | None:
    """Does this teacher call the photograph locatable? An answer that abstains says no, whatever else it says."""
    if opinion.answer is not None and opinion.answer.abstains:
        return False
    if opinion.locatable is not None:
        return opinion.locatable
    return None if opinion.p_locatable is None else opinion.p_locatable >= _EVEN


def locatable(own: Opinion, others: Sequence[Opinion], thresholds: Thresholds) -> Ruling:
    """The teacher's own verdict and probability, then the share of all verdicts that say yes."""
    votes = [vote for opinion in (own, *others) if (vote := verdict(opinion)) is not None]
    measures: dict[str, float] = {}
    if votes:
        measures["locatable_share"] = sum(votes) / len(votes)
    if own.p_locatable is not None:
        measures["p_locatable"] = own.p_locatable
    why = None
    if own.answer is not None and own.answer.abstains:
        why = Why.ABSTAINS
    elif own.locatable is False:
        why = Why.SAYS_NOT_LOCATABLE
    elif own.p_locatable is not None and not own.p_locatable >= thresholds.min_p_locatable:
        why = Why.LOW_PROBABILITY
    elif votes and measures["locatable_share"] < thresholds.min_locatable_share:
        why = Why.OUTVOTED
    return Ruling(why, measures, unjudged=not votes)


# ------------------------------------------------------------ (b) the known place


def place(claim: Claim, truth: Truth, thresholds: Thresholds) -> Ruling:
    """Was the photograph taken where the sample says, as fine as it says? See `claims.fault_of`."""
    measures = {"fineness": float(claim.fineness)}
    if claim.at.lat is not None and claim.at.lon is not None:
        measures["distance_km"] = distance_km(claim.at.lat, claim.at.lon, truth.lat, truth.lon)
    return Ruling(fault_of(claim, truth, thresholds), measures)


# ------------------------------------------------------------ (c) the other teachers


def weight(opinion: Opinion) -> float:
    """What an opinion of a place weighs: a language teacher 1, a coordinate teacher its confidence, 0 without."""
    if opinion.answer is not None:
        return 1.0
    confidence = opinion.confidence
    return min(1.0, max(0.0, confidence)) if confidence is not None and math.isfinite(confidence) else 0.0


def stances(claim: Claim, others: Sequence[Opinion], gazetteer: Gazetteer, thresholds: Thresholds) -> list[Stance]:
    """What each of the others says to the place that a sample claims."""
    return [stance(claim, other, gazetteer, thresholds) for other in others]


def alike(others: Sequence[Opinion], said: Sequence[Stance]) -> list[Opinion]:
    """Those whose reasons are to be compared with the sample's: for another place they are of course others."""
    return [
        other
        for other, one in zip(others, said, strict=True)
        if one in (Stance.AGREES, Stance.COARSER) and reasoning(other)
    ]


def reasoning(opinion: Opinion) -> str:
    return "" if opinion.answer is None else opinion.answer.reasoning.strip()


def same_place(others: Sequence[Opinion], said: Sequence[Stance], thresholds: Thresholds) -> Ruling:
    """Do enough of the others name the same place?

    The share is that of the weight of the *other* opinions. So one dissenter among three teachers costs the others
    nothing and is itself dropped: of A, A, B the first two have one of two and the last has none. To ask all to
    agree (`min_agreeing_share` 1) would give each single teacher a veto, and to ask for half of them lets two who
    share a fault outvote the one who is right.
    """
    counts = {Stance.AGREES: 1.0, Stance.COARSER: thresholds.coarser_counts, Stance.CONTRADICTS: 0.0}
    voting = [(weight(other), counts[one]) for other, one in zip(others, said, strict=True) if one in counts]
    support = math.fsum(sorted(heavy * count for heavy, count in voting))
    total = math.fsum(sorted(heavy for heavy, _ in voting))
    measures = {"support": support}
    if total > 0:
        measures["agreeing_share"] = support / total
    why = None
    if total > 0 and _below(support / total, thresholds.min_agreeing_share):
        why = Why.PLACES_DIFFER
    elif _below(support, thresholds.min_support):
        why = Why.UNCORROBORATED
    return Ruling(why, measures, unjudged=total == 0)


def same_reasons(similarities: Sequence[float] | None, thresholds: Thresholds) -> Ruling:
    """Are the reasons like those of enough teachers who agree on the place?

    `similarities` are cosines with each of `alike`, of whom `min_similar_others` must reach the bound, or
    all where they are fewer. None, and a cosine that is not a number: nobody could tell.
    """
    told = sorted((one for one in similarities or () if not math.isnan(one)), reverse=True)
    if not told:
        return Ruling(None, unjudged=True)
    worst = told[min(max(thresholds.min_similar_others, 1), len(told)) - 1]
    drop = thresholds.min_similar_others > 0 and worst < thresholds.min_similarity
    return Ruling(Why.REASONS_DIFFER if drop else None, {"similarity": worst})


# ------------------------------------------------------------ (d) what is visible


def visible_things(cues: Sequence[CueSeen], thresholds: Thresholds) -> Ruling:
    """Are the things there that the reasons name? What nothing could tell counts neither way, but is bounded."""
    there = sum(cue.visible is True for cue in cues)
    missing = sum(cue.visible is False for cue in cues)
    judged = there + missing
    measures = {"cues": float(len(cues)), "cues_visible": float(there), "cues_missing": float(missing)}
    if judged:
        measures["unsupported_share"] = missing / judged
    if cues:
        measures["unjudged_share"] = 1 - judged / len(cues)
    why = None
    if judged and _above(missing / judged, thresholds.max_unsupported_share):
        why = Why.NOT_VISIBLE
    elif cues and _above(1 - judged / len(cues), thresholds.max_unjudged_share):
        why = Why.TOO_LITTLE_JUDGED
    elif (judged or not cues) and there < thresholds.min_supported:
        why = Why.NOTHING_NAMED
    return Ruling(why, measures, unjudged=bool(cues) and not judged)


def _below(value: float, bound: float) -> bool:
    """Without what rounding does to a share such as 2/3."""
    return value < bound - 1e-9


def _above(value: float, bound: float) -> bool:
    return value > bound + 1e-9
