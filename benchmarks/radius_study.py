"""Does the calibrated radius keep its promise on new photographs, and how much narrower is it than one for all?

Calibrated on one split, looked at on others: `test` comes from the same world, `shift` shows weather that neither
the model nor the calibration has seen. Nothing of `test` and `shift` has a say in any choice.

Functions over stored answers; `benchmarks.knowing` reports their figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.reasons import Granularity
from trainer.calibrate.check import Kept, kept, matched_radius_km
from trainer.calibrate.fit import Parameters, fit, plain_radius_km
from trainer.calibrate.sample import Bools, Floats, make_sample
from worker.place.difficulty import Difficulty
from worker.place.radius import RadiusModel

GRANULARITY_KM = {Granularity.STREET: 1, Granularity.CITY: 25, Granularity.REGION: 200, Granularity.COUNTRY: 750}
WIDER = "wider"


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """The located answers to photographs of one split. `asked`: how many photographs there were in all.

    `cluster_N` numbers what stands or falls together, as photographers; `continents` are those of the true places.
    """

    difficulties: tuple[Difficulty, ...]
    error_km_N: Floats
    cluster_N: NDArray[np.int64]
    continents: tuple[str, ...]
    asked: int


@dataclass(frozen=True, slots=True)
class OnSplit:
    """`plain` is the one radius for all from the same calibration photographs.

    `matched_km`: the single radius that holds as many of these photographs as ours; `ratio` is our median radius
    to it, so both have the same coverage. `by_continent` and `by_granularity` (which follows the radius) have
    the parts; `risk` is the share of wrong ones (> 25 km) among what keeps to the risk, `answered` the share of
    those.
    """

    radius: Kept
    plain: Kept
    matched_km: float
    ratio: float
    by_continent: Mapping[str, Kept]
    by_granularity: Mapping[str, Kept]
    risk: float | None
    answered: float


@dataclass(frozen=True, slots=True)
class Study:
    """`splits` by name. `model` is what the calibration photographs came to."""

    model: RadiusModel
    splits: Mapping[str, OnSplit]

    @property
    def figures(self) -> dict[str, float | None]:
        """`coverage_<split>` for each, and `radius_ratio` on the split `test`."""
        found: dict[str, float | None] = {
            f"coverage_{name}": each.radius.coverage for name, each in self.splits.items()
        }
        found["radius_ratio"] = self.splits["test"].ratio if "test" in self.splits else None
        return found


def study(calibration: Answered, splits: Mapping[str, Answered], parameters: Parameters) -> Study:
    """Calibrates on the one and looks at the others. Raises `SetupError` where the one is too small."""
    sample = make_sample(calibration.difficulties, calibration.error_km_N, calibration.cluster_N)
    model = fit(sample, parameters)
    plain_km = plain_radius_km(sample, parameters.coverage)
    return Study(model, {name: look(model, plain_km, answered) for name, answered in splits.items()})


def look(model: RadiusModel, plain_km: float, answered: Answered) -> OnSplit:
    """What the radius of `model` and the one radius `plain_km` keep on these photographs; N is 1 or more."""
    sample = make_sample(answered.difficulties, answered.error_km_N, answered.cluster_N)
    hardness_N = model.hardness.of(sample.signs)
    radius_N = model.radii_km(hardness_N)
    whole = kept(radius_N, sample.error_km_N, sample.cluster_N)
    matched_km = matched_radius_km(radius_N, sample.error_km_N)
    safe_N = hardness_N <= (-np.inf if model.hardest is None else model.hardest)
    return OnSplit(
        radius=whole,
        plain=kept(np.full(sample.n, plain_km), sample.error_km_N, sample.cluster_N),
        matched_km=matched_km,
        ratio=whole.median_km / matched_km if matched_km > 0 else float("nan"),
        by_continent=_by(answered.continents, radius_N, answered),
        by_granularity=_by([granularity_of(km) for km in radius_N.tolist()], radius_N, answered),
        risk=float((sample.error_km_N[safe_N] > GRANULARITY_KM[Granularity.CITY]).mean())
        if safe_N.any()
        else None,
        answered=float(safe_N.sum() / answered.asked),
    )


def granularity_of(radius_km: float) -> str:
    """How fine a place is promised by such a radius."""
    return next((name.value for name, km in GRANULARITY_KM.items() if radius_km <= km), WIDER)


def _by(names: Sequence[str], radius_N: Floats, answered: Answered) -> dict[str, Kept]:
    """What is kept in each part by itself."""
    parts: dict[str, Bools] = {name: np.array([each == name for each in names]) for name in sorted(set(names))}
    return {
        name: kept(radius_N[part_N], answered.error_km_N[part_N], answered.cluster_N[part_N])
        for name, part_N in parts.items()
    }
