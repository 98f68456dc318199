"""Several opinions about one place -> hypotheses on the sphere, one of which is chosen. Pure, and without chance.

Method. Opinions with the same content are joined, their weights added. Then, again and again: of all opinions that
are left, the one with the most weight within `SAME_PLACE_KM` of it is taken together with those neighbours as one
hypothesis (the mode of a flat kernel, found by trying every opinion as its centre). A hypothesis stands where its
weighted medoid stands, so always at a point that somebody gave, never at a mean that may lie in the sea.

Every tie is broken by content (cost, then latitude, longitude, names), never by position, and weights are compared
after rounding. So neither the order of the opinions nor giving each of them twice changes anything.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from schema.reasons import Granularity
from worker.place import sphere

SAME_PLACE_KM = 50.0
"""Opinions this near to each other mean one place. As for homonyms in the gazetteer: two suburbs of one city are
that far apart at most, and two cities that anybody would tell apart are seldom nearer."""
MAX_ALTERNATIVES = 5
_DIGITS = 9
_TIE_DIGITS = 6
"""Coarser, so that sums of rounded weights tie whichever of them were joined before."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """One voice for one place. `radius_km` is nominal: how large the named place is.

    `source`: "answer" for the LVLM's, "caption" for the archive's words, else an `Evidence.source`, with the
    photograph that it comes from.
    """

    lat: float
    lon: float
    weight: float
    source: str
    granularity: Granularity
    radius_km: float
    country_code: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    image_id: int | None = None

    @property
    def name(self) -> str:
        """As a person says it."""
        named = [self.city, self.region, self.country_code]
        return ", ".join(filter(None, named)) or f"{self.lat:.2f}, {self.lon:.2f}"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A place that some opinions share: `place` is the medoid of `members`, `share` their part (0..1) of all."""

    place: Opinion
    share: float
    members: tuple[Opinion, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Who speaks for it, each once, by name."""
        return tuple(sorted({member.source for member in self.members}))


@dataclass(frozen=True, slots=True)
class Consensus:
    """What the opinions come to. `agreement` is the chosen hypothesis's share; `spread_km` the weighted mean
    distance of all opinions from its point. `alternatives` are the others, the heaviest first."""

    chosen: Hypothesis
    alternatives: tuple[Hypothesis, ...]
    agreement: float
    spread_km: float


def consensus(opinions: Iterable[Opinion], *, unplaced: float = 0.0) -> Consensus | None:
    """The hypothesis with the most weight, with its rivals; None without opinions of any weight.

    `unplaced` is weight that speaks for no place (answers that decline or cannot be looked up): it lowers all
    shares.
    """
    joined = _joined(opinions)
    if not joined:
        return None
    total = math.fsum([unplaced, *(opinion.weight for opinion in joined)])
    hypotheses = [
        Hypothesis(_medoid(members), _rounded(math.fsum(each.weight for each in members) / total), members)
        for members in _clusters(joined)
    ]
    chosen = hypotheses[0]
    here = chosen.place
    placed = math.fsum(opinion.weight for opinion in joined)
    spread_km = math.fsum(opinion.weight * _apart_km(here, opinion) for opinion in joined) / placed
    return Consensus(chosen, tuple(hypotheses[1 : MAX_ALTERNATIVES + 1]), chosen.share, spread_km)


def _joined(opinions: Iterable[Opinion]) -> list[Opinion]:
    """One opinion for each content, weights added up, in an order that depends on content alone."""
    weights: dict[Opinion, list[float]] = {}
    for opinion in opinions:
        if opinion.weight > 0:
            weights.setdefault(replace(opinion, weight=0.0), []).append(opinion.weight)
    joined = [replace(content, weight=_rounded(math.fsum(parts))) for content, parts in weights.items()]
    return sorted((opinion for opinion in joined if opinion.weight > 0), key=_content)


def _clusters(opinions: Sequence[Opinion]) -> list[tuple[Opinion, ...]]:
    """All opinions in groups, the heaviest group first."""
    if len(opinions) == 1:  # nearly every photograph has one answer, and arrays of one cost as much as long ones
        return [tuple(opinions)]
    between_N_N = _between(opinions)
    weight_N = np.array([opinion.weight for opinion in opinions])
    near_N_N = between_N_N <= SAME_PLACE_KM
    left_N = np.ones(len(opinions), dtype=bool)
    groups = []
    while left_N.any():
        support_N = np.where(left_N, near_N_N @ (weight_N * left_N), -1.0).round(_TIE_DIGITS)
        cost_N = (between_N_N @ weight_N).round(3)  # to a metre
        centre = min(np.flatnonzero(left_N), key=lambda n: (-support_N[n], cost_N[n], n))
        members_N = near_N_N[centre] & left_N
        groups.append(tuple(opinions[n] for n in np.flatnonzero(members_N)))
        left_N &= ~members_N
    return groups


def _medoid(members: Sequence[Opinion]) -> Opinion:
    """The member with the least weighted sum of distances; of several at one point the heaviest."""
    if len(members) == 1:
        return members[0]
    weight_N = np.array([member.weight for member in members])
    cost_N = (_between(members) @ weight_N).round(3)
    heaviest_N = -weight_N.round(_TIE_DIGITS)
    best = min(range(len(members)), key=lambda n: (cost_N[n], heaviest_N[n], n))
    return members[best]


def _between(opinions: Sequence[Opinion]) -> sphere.Floats:
    lat = np.array([opinion.lat for opinion in opinions])
    lon = np.array([opinion.lon for opinion in opinions])
    return sphere.distances_km(lat[:, None], lon[:, None], lat[None, :], lon[None, :])


def _apart_km(one: Opinion, other: Opinion) -> float:
    return sphere.distance_km(one.lat, one.lon, other.lat, other.lon)


def _content(opinion: Opinion) -> tuple[object, ...]:
    names = (opinion.country_code or "", opinion.region or "", opinion.city or "")
    numbers = (opinion.geoname_id or 0, opinion.image_id or 0, opinion.radius_km)
    return (opinion.lat, opinion.lon, opinion.granularity, *names, opinion.source, *numbers)


def _rounded(weight: float) -> float:
    return round(weight, _DIGITS)
