"""The numbers that verification goes by, and the words for why a sample was dropped.

GLOBE (arXiv 2506.14674) publishes none of its thresholds. Those of agreement and of what is visible were chosen in
the Atlas, where the truth is known (docs/curation.md); the others follow from what they mean. Real teachers and
real checkers may need others: `benchmarks.curation` shows what each does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from trainer.curate.opinions import Step
from worker.errors import SetupError


class Why(StrEnum):
    """Why a sample was dropped: the closed list. `step` is the step that it belongs to."""

    ABSTAINS = "abstains"
    SAYS_NOT_LOCATABLE = "says_not_locatable"
    LOW_PROBABILITY = "low_probability"
    OUTVOTED = "outvoted"
    UNRESOLVED = "unresolved"
    UNCHECKED = "unchecked"
    OTHER_COUNTRY = "other_country"
    OTHER_REGION = "other_region"
    OTHER_CITY = "other_city"
    TOO_FAR = "too_far"
    NO_REASONING = "no_reasoning"
    UNCORROBORATED = "uncorroborated"
    PLACES_DIFFER = "places_differ"
    REASONS_DIFFER = "reasons_differ"
    NOTHING_NAMED = "nothing_named"
    NOT_VISIBLE = "not_visible"
    TOO_LITTLE_JUDGED = "too_little_judged"

    @property
    def step(self) -> Step:
        return _TOLD[self][0]

    @property
    def sentence(self) -> str:
        """Why, for a person."""
        return _TOLD[self][1]


_TOLD: Mapping[Why, tuple[Step, str]] = {
    Why.ABSTAINS: (Step.LOCATABLE, "its answer says that the place cannot be told"),
    Why.SAYS_NOT_LOCATABLE: (Step.LOCATABLE, "it calls the photograph not locatable"),
    Why.LOW_PROBABILITY: (Step.LOCATABLE, "it finds it too unlikely that the photograph can be located"),
    Why.OUTVOTED: (Step.LOCATABLE, "too few of the teachers call the photograph locatable"),
    Why.UNRESOLVED: (Step.PLACE, "the gazetteer knows no country that the answer names"),
    Why.UNCHECKED: (Step.PLACE, "the answer names a finer place than the gazetteer can find with certainty"),
    Why.OTHER_COUNTRY: (Step.PLACE, "the photograph was taken in another country"),
    Why.OTHER_REGION: (Step.PLACE, "the photograph was taken in another region"),
    Why.OTHER_CITY: (Step.PLACE, "the photograph was taken in another city nearby"),
    Why.TOO_FAR: (Step.PLACE, "the place named is too far from where the photograph was taken"),
    Why.NO_REASONING: (Step.AGREEMENT, "it gives no reasons"),
    Why.UNCORROBORATED: (Step.AGREEMENT, "too few other teachers name this place"),
    Why.PLACES_DIFFER: (Step.AGREEMENT, "too many other teachers name another place"),
    Why.REASONS_DIFFER: (Step.AGREEMENT, "no teacher of the same opinion gives similar reasons"),
    Why.NOTHING_NAMED: (Step.VISIBLE, "its reasons name too few things that are there"),
    Why.NOT_VISIBLE: (Step.VISIBLE, "its reasons name things that the photograph does not show"),
    Why.TOO_LITTLE_JUDGED: (Step.VISIBLE, "too few of the things that it names could be looked for"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Lower and upper bounds of the four steps. Raises `SetupError` for a value out of its range.

    (a) `min_p_locatable`: the teacher's own probability, where it gives one. `min_locatable_share`: of all
    teachers that give a verdict, itself included, this share says yes.

    (b) `city_km`: a city that is named lies at most so far from the photograph (GLOBE's and Im2GPS's "city").
    `allow_unchecked`: a city or region that the gazetteer does not know passes if the country is right.

    (c) `agree_km`: cities this near to each other are one opinion. `coordinate_km`: a coordinate teacher's point
    this near to the city agrees with it. `min_support`: the weight of the others that agree, at least; a language
    teacher weighs 1, a coordinate teacher its confidence. `min_agreeing_share`: the weight of those that agree of
    the weight of all others that name a place. `coarser_counts`: how much agreement it is where another names only
    what this place lies in. `min_similarity`: cosine of the reasons' sentence embeddings with those of at least
    `min_similar_others` teachers that agree on the place.

    (d) `max_unsupported_share`: of the things named that could be looked for, those that are not there.
    `min_supported`: how many things named are there, at least. `max_unjudged_share`: of the things named, those
    that nothing could tell.
    """

    min_p_locatable: float = 0.5
    min_locatable_share: float = 0.5
    city_km: float = 25.0
    allow_unchecked: bool = False
    agree_km: float = 25.0
    coordinate_km: float = 50.0
    min_support: float = 0.0
    min_agreeing_share: float = 0.2
    coarser_counts: float = 0.5
    min_similarity: float = 0.5
    min_similar_others: int = 1
    max_unsupported_share: float = 0.0
    min_supported: int = 1
    max_unjudged_share: float = 1.0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not (math.isfinite(value) and low <= value <= high):
                raise SetupError(f"threshold {name}: {value} is not in {low:g}..{high:g}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Thresholds":
        """From names and values, as of a file or a stored row. Raises `SetupError` for an unknown name."""
        known = {field.name: type(field.default) for field in fields(cls)}
        if strangers := given.keys() - known.keys():
            raise SetupError(f"no threshold is called {min(strangers)}; known are {', '.join(known)}")
        for name, value in given.items():
            wanted = (int, float) if known[name] is float else known[name]
            if not isinstance(value, wanted) or (isinstance(value, bool) and known[name] is not bool):
                raise SetupError(f"threshold {name}: {value!r} is no value for it")
        return cls(**given)


_RANGES = {
    "min_p_locatable": (0.0, 1.0),
    "min_locatable_share": (0.0, 1.0),
    "city_km": (0.0, 20_100.0),
    "agree_km": (0.0, 20_100.0),
    "coordinate_km": (0.0, 20_100.0),
    "min_support": (0.0, 1000.0),
    "min_agreeing_share": (0.0, 1.0),
    "coarser_counts": (0.0, 1.0),
    "min_similarity": (-1.0, 1.0),
    "min_similar_others": (0.0, 1000.0),
    "max_unsupported_share": (0.0, 1.0),
    "min_supported": (0.0, 1000.0),
    "max_unjudged_share": (0.0, 1.0),
}
