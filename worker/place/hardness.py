"""One number for how hard a photograph was to place: the expected size of the error, in decades of a kilometre.

It is a sum of curves, one for each sign. A curve never falls: more doubt never makes a photograph easier. So a
person can read off each curve what a sign is worth (0.3 decades double the error that is to be expected). A curve
knows what was seen; for what is unlike all that, there are floors.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.reasons import Granularity
from worker.place.difficulty import Difficulty

Floats = NDArray[np.float64]

_COARSENESS = {Granularity.STREET: 0.0, Granularity.CITY: 1.0, Granularity.REGION: 2.0, Granularity.COUNTRY: 3.0}


def _turned(value: float | None) -> float:
    return math.nan if value is None else 1.0 - value


SIGNS: Mapping[str, Callable[[Difficulty], float]] = {
    "disagreement": lambda known: 1.0 - known.agreement,
    "spread": lambda known: math.log10(1.0 + known.spread_km),
    "improbable": lambda known: math.nan if known.mean_logprob is None else -known.mean_logprob,
    "improbable_place": lambda known: math.nan if known.place_logprob is None else -known.place_logprob,
    "gate_doubt": lambda known: _turned(known.gate_score),
    "unlike_archive": lambda known: _turned(known.nearest_cosine),
    "candidates_disagree": lambda known: _turned(known.candidate_agreement),
    "coarse": lambda known: _COARSENESS[known.stated],
}
"""Each sign grows with the difficulty; NaN where it is not known."""


def signs_of(known: Difficulty) -> dict[str, float]:
    """The signs of one photograph, by name."""
    return {name: sign(known) for name, sign in SIGNS.items()}


@dataclass(frozen=True, slots=True)
class Curve:
    """Decades that a sign adds: straight lines between `knots`, which rise; `decades` start at 0 and never fall.

    Outside the knots it is level. `unknown` is added where the sign is not known.
    """

    knots: tuple[float, ...]
    decades: tuple[float, ...]
    unknown: float

    def __post_init__(self) -> None:
        """Raises `ValueError` where the curve falls, or is none."""
        numbers = (*self.knots, *self.decades, self.unknown)
        if not self.knots or len(self.knots) != len(self.decades) or not all(map(math.isfinite, numbers)):
            raise ValueError("a curve needs as many decades as knots, all of them finite")
        if (np.diff(self.knots) <= 0).any() or (np.diff(self.decades) < 0).any():
            raise ValueError("the knots of a curve rise, and its decades do not fall")

    def added(self, sign_N: Floats) -> Floats:
        """Decades for each value; NaN means unknown."""
        known_N = np.interp(np.nan_to_num(sign_N), self.knots, self.decades)
        return np.where(np.isnan(sign_N), self.unknown, known_N)


@dataclass(frozen=True, slots=True)
class Floor:
    """A photograph whose sign exceeds `beyond` is as hard as `decades` at least, whatever else is said of it."""

    beyond: float
    decades: float

    def raised(self, hardness_N: Floats, sign_N: Floats) -> Floats:
        """The hardness of N photographs with this floor; an unknown sign (NaN) exceeds nothing."""
        return np.where(sign_N > self.beyond, np.maximum(hardness_N, self.decades), hardness_N)


@dataclass(frozen=True, slots=True)
class Hardness:
    """`base` decades, and what each sign adds. `floors` are by sign, and say nothing where it is not known."""

    base: float
    curves: Mapping[str, Curve]
    floors: Mapping[str, Floor] = field(default_factory=dict)

    def of(self, signs: Mapping[str, Floats]) -> Floats:
        """The hardness of N photographs; `signs` gives (N,) values by name. Raises `KeyError` without one."""
        n = max((sign_N.size for sign_N in signs.values()), default=0)
        total_N = np.full(n, self.base, dtype=np.float64)
        for name, curve in self.curves.items():
            total_N = total_N + curve.added(signs[name])
        for name, floor in self.floors.items():
            total_N = floor.raised(total_N, signs[name])
        return total_N

    def to_json(self) -> dict[str, Any]:
        """As `calibration.parameters` keeps it."""
        curves = {
            name: {"knots": list(curve.knots), "decades": list(curve.decades), "unknown": curve.unknown}
            for name, curve in self.curves.items()
        }
        floors = {name: {"beyond": each.beyond, "decades": each.decades} for name, each in self.floors.items()}
        return {"base": self.base, "curves": curves, "floors": floors}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Hardness":
        """Raises `KeyError`, `TypeError` or `ValueError` for what `to_json` would not give."""
        curves = {
            str(name): Curve(tuple(map(float, each["knots"])), tuple(map(float, each["decades"])), each["unknown"])
            for name, each in stored["curves"].items()
        }
        floors = {
            str(name): Floor(float(each["beyond"]), float(each["decades"]))
            for name, each in stored["floors"].items()
        }
        return cls(float(stored["base"]), curves, floors)
