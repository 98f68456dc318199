"""Photographs of the archive that may tell where another was taken, and what they are worth. Pure functions.

Three reasons to look at a photograph with a known place, told apart from here to the row in the database:

- "near_duplicate": so alike that both show the same scene (a crop, another scan, the next frame of a burst).
- "series": the same folder and nearly the same time; the place is likely near, whatever the pictures show.
- "recall": merely among the most alike.

None of them makes a label. A suggestion says whose place it is, so that a person can look at both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from schema.reasons import LabelSource
from worker.place.evidence import Evidence
from worker.place.sphere import distance_km

NEAR_DUPLICATE = "near_duplicate"
SERIES = "series"
RECALL = "recall"

SERIES_MINUTES = 30.0
"""As in the curation of training data (`series_minutes`)."""

ONE_SCENE_KM = 25.0

_DUPLICATE_WEIGHT = 1.5
_SERIES_WEIGHT = 0.5
_RECALL_WEIGHT = 0.5
_TEMPERATURE = 0.05
"""Weights that nobody has fitted: they order the kinds of evidence against the model's answers, which weigh 1
together. A near-duplicate settles it. All that merely look alike have together half an answer's weight, in
shares by the softmax of cosine / 0.05: 0.1 less alike counts a seventh."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A photograph with a known place, seen from the one that is to be placed.

    `cosine` of the two embeddings, in [-1, 1]. `lat`, `lon` degrees (WGS 84) and names of the label that counts,
    and its `source`. `minutes_apart` is None unless `same_series`. `share_nearby`, in [0, 1]: how much of the
    searched gallery lies within 25 km of it, that is how little it says that it is one of the nearest.
    """

    image_id: int
    sha256: str
    cosine: float
    lat: float
    lon: float
    country_code: str | None
    region: str | None
    city: str | None
    geoname_id: int | None
    source: LabelSource
    near_duplicate: bool
    same_series: bool
    minutes_apart: float | None = None
    share_nearby: float = 0.0

    @property
    def kind(self) -> str:
        """The strongest reason to look at it."""
        return NEAR_DUPLICATE if self.near_duplicate else SERIES if self.same_series else RECALL


def credible(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates; their near-duplicates are merely alike where they were taken in different places.

    One scene is in one place. What looks the same in several, as bare walls and clouded skies do, shows none.
    """
    same = [candidate for candidate in candidates if candidate.near_duplicate]
    pairs = combinations(same, 2)
    if all(distance_km(one.lat, one.lon, other.lat, other.lon) <= ONE_SCENE_KM for one, other in pairs):
        return tuple(candidates)
    return tuple(replace(candidate, near_duplicate=False) for candidate in candidates)


def evidence(candidates: Sequence[Candidate], *, series_minutes: float = SERIES_MINUTES) -> tuple[Evidence, ...]:
    """What candidates say for places, in their order; those that say nothing (weight 0) are left out.

    One that merely looks alike is discounted by `share_nearby`: where the whole gallery is one town, its
    neighbours are in that town whatever the picture shows, which is no evidence that this one is.
    """
    alike = [candidate for candidate in candidates if candidate.kind == RECALL]
    best = max((candidate.cosine for candidate in alike), default=0.0)
    mass = sum(math.exp((candidate.cosine - best) / _TEMPERATURE) for candidate in alike)

    def weight(candidate: Candidate) -> float:
        if candidate.near_duplicate:
            return _DUPLICATE_WEIGHT
        if candidate.same_series:
            return _SERIES_WEIGHT * max(0.0, 1.0 - (candidate.minutes_apart or 0.0) / series_minutes)
        share = math.exp((candidate.cosine - best) / _TEMPERATURE) / mass
        return _RECALL_WEIGHT * share * max(0.0, 1.0 - candidate.share_nearby)

    weighed = ((candidate, weight(candidate)) for candidate in candidates)
    return tuple(
        Evidence(each.lat, each.lon, weight, each.kind, each.image_id, each.geoname_id)
        for each, weight in weighed
        if weight > 0
    )


def suggestions(candidates: Sequence[Candidate]) -> tuple[dict[str, Any], ...]:
    """The places that a photograph could inherit, as entries of `prediction.suggestions`, best first.

    From near-duplicates and series only; the view `suggestion` shows them. They are offers to a person: nothing
    makes a label of them.
    """
    return tuple(
        {
            "source": each.kind,
            "lat": each.lat,
            "lon": each.lon,
            "country_code": each.country_code,
            "region": each.region,
            "city": each.city,
            "geoname_id": each.geoname_id,
            "from_image_id": each.image_id,
            "from_sha256": each.sha256,
            "from_source": str(each.source),
            "cosine": round(each.cosine, 4),
            "minutes_apart": None if each.minutes_apart is None else round(each.minutes_apart, 1),
        }
        for each in candidates
        if each.kind != RECALL
    )
