"""What is known of how hard a photograph was to place, before anybody knows how far off the answer is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from schema.reasons import Granularity


@dataclass(frozen=True, slots=True)
class Difficulty:
    """The signs from which a radius is promised. None where the part did not run or has nothing to say.

    `agreement`: share, 0..1, of all weight that stands behind the chosen place. `spread_km`: weighted mean
    distance of everything that was considered from the chosen point. `samples`: answers that the LVLM gave, 1 or
    more. `mean_logprob`: of the tokens of the first answer; `place_logprob`: of those that name its place, in sum
    (`worker.reason.certainty`). `nearest_cosine`: of the most similar photograph with known place.
    `candidate_agreement`: share, 0..1, of the similar photographs' weight that lies within 25 km of the chosen
    point. `stated`: how finely the model named the place.
    """

    gate_score: float | None
    agreement: float
    spread_km: float
    samples: int
    mean_logprob: float | None
    place_logprob: float | None
    nearest_cosine: float | None
    candidate_agreement: float | None
    stated: Granularity

    def to_json(self) -> dict[str, Any]:
        """As `prediction.difficulty` keeps it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Difficulty":
        """What `to_json` gave. Raises `ValueError` for anything else: a guessed sign would promise a radius."""
        names = {each.name for each in fields(cls)}
        if stored.keys() != names:
            raise ValueError(f"difficulty with the signs {sorted(stored)}; expected {sorted(names)}")
        numbers = {name: _number(name, stored[name]) for name in names - {"samples", "stated"}}
        agreement, spread_km = numbers.pop("agreement"), numbers.pop("spread_km")
        if agreement is None or spread_km is None:
            raise ValueError("difficulty without agreement or spread_km")
        samples = stored["samples"]
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise ValueError(f"difficulty with samples={samples!r}: expected a whole number of 1 or more")
        stated = Granularity(stored["stated"])
        return cls(**numbers, agreement=agreement, spread_km=spread_km, samples=samples, stated=stated)


def _number(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"difficulty with {name}={value!r}: expected a finite number")
    return float(value)
