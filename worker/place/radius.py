"""A radius that keeps its promise: how far off an answer may be, at a stated coverage.

A calibration (`globetag train calibrate`) knows, for photographs of each hardness, which share lay within which
distance. The radius is that distance at which this share reaches a level, and the level is set by conformal
prediction on photographs that had no part in the rest: so the promise holds even where the shares are wrong, and
wrong shares cost only width. Where the photographs did not suffice for any finite promise the radius is infinite.

Pure: no input, no output, no clock. `trainer/calibrate` makes the parameters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.place.difficulty import Difficulty
from worker.place.hardness import Hardness, signs_of
from worker.place.sphere import HALF_CIRCUMFERENCE_KM

Floats = NDArray[np.float64]

CONFIDENCE_KM = (25, 200, 750)
RADII_KM = (
    0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 18.0, 25.0, 40.0, 60.0, 90.0, 130.0, 200.0, 300.0, 450.0, 750.0,
    1100.0, 1600.0, 2500.0, 4000.0, 6000.0, 9000.0, 13000.0, HALF_CIRCUMFERENCE_KM,
)  # fmt: skip
"""Where the shares are known; between two of them they follow the logarithm of the distance."""
FORM = 2
"""Of the parameters; another number is refused."""


@dataclass(frozen=True, slots=True)
class CalibratedRadius:
    """The true place lies within `radius_km` for `coverage` (share, 0..1) of such photographs.

    Infinite: the calibration cannot promise any radius for a photograph as hard as this. `confidence_by_km` is the
    chance that the error is at most so many km; it never falls with the distance. `keeps_risk`: is it easy enough
    that answers such as this are wrong (by more than 25 km) at most at the risk that was asked for? None where no
    such limit could be proven.
    """

    radius_km: float
    coverage: float
    confidence_by_km: Mapping[int, float]
    calibration_id: int | None
    keeps_risk: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """`share_L_Z[l, z]`: which share of photographs of hardness `level_L[l]` lie within `RADII_KM[z]`.

    Rises strictly with the distance and never with the hardness; in between, straight lines.
    """

    level_L: Floats
    share_L_Z: Floats

    def __post_init__(self) -> None:
        """Raises `ValueError` where the shares are none."""
        if self.share_L_Z.shape != (self.level_L.size, len(RADII_KM)) or not self.level_L.size:
            raise ValueError(f"shares of shape {self.share_L_Z.shape} for {self.level_L.size} levels of hardness")
        if (np.diff(self.level_L) <= 0).any():
            raise ValueError("the levels of hardness must rise")
        if (np.diff(self.share_L_Z, axis=1) <= 0).any() or (np.diff(self.share_L_Z, axis=0) > 1e-9).any():
            raise ValueError("shares must rise with the distance and not with the hardness")
        if self.share_L_Z.min() < 0 or self.share_L_Z.max() > 1:
            raise ValueError("shares must lie between 0 and 1")

    def at(self, hardness_N: Floats) -> Floats:
        """Shape (N, Z)."""
        columns = [np.interp(hardness_N, self.level_L, self.share_L_Z[:, z]) for z in range(len(RADII_KM))]
        return np.stack(columns, axis=-1)

    def within(self, hardness_N: Floats, km_N: Floats) -> Floats:
        """The share of photographs as hard as each that are off by at most `km_N`: shape (N,)."""
        log_N = np.log1p(np.minimum(km_N, HALF_CIRCUMFERENCE_KM))
        pairs = zip(log_N, self.at(hardness_N), strict=True)
        return np.array([np.interp(log, _LOG_Z, share_Z) for log, share_Z in pairs], dtype=np.float64)

    def distance_km(self, hardness_N: Floats, share_N: Floats) -> Floats:
        """The distance within which that share lies: shape (N,), the inverse of `within`. Infinite for NaN."""
        pairs = zip(share_N, self.at(hardness_N), strict=True)
        log_N = np.array([np.interp(share, share_Z, _LOG_Z) for share, share_Z in pairs], dtype=np.float64)
        return np.where(np.isnan(share_N), np.inf, np.expm1(log_N))


_LOG_Z = np.log1p(RADII_KM)


@dataclass(frozen=True, slots=True, eq=False)
class RadiusModel:
    """What a row of `calibration` promises.

    Photographs up to the hardness `edge_G[g]` are of group g, harder ones of the next; `level_G` has one entry
    more: the share at which the radius of each group stands, NaN where none can be promised. Nothing is promised
    beyond the hardness `farthest`, since nothing as hard was seen. `confident` gives the confidences. `hardest`:
    up to this hardness answers keep to `max_risk`; None where none do.
    """

    coverage: float
    hardness: Hardness
    shares: Shares
    edge_G: Floats
    level_G: Floats
    farthest: float
    confident: Shares
    max_risk: float
    hardest: float | None
    calibration_id: int | None = None

    def radius(self, difficulty: Difficulty) -> CalibratedRadius | None:
        """The radius for one photograph. Never None here: whoever has no calibration says so by that."""
        hardness_1 = self.hardness_of(difficulty)
        confidence_Z = self.confident.at(hardness_1)[0]
        return CalibratedRadius(
            radius_km=float(self.radii_km(hardness_1)[0]),
            coverage=self.coverage,
            confidence_by_km={km: float(confidence_Z[RADII_KM.index(km)]) for km in CONFIDENCE_KM},
            calibration_id=self.calibration_id,
            keeps_risk=None if self.hardest is None else bool(hardness_1[0] <= self.hardest),
        )

    def hardness_of(self, difficulty: Difficulty) -> Floats:
        """Shape (1,)."""
        return self.hardness.of({name: np.array([value]) for name, value in signs_of(difficulty).items()})

    def groups(self, hardness_N: Floats) -> NDArray[np.int64]:
        """The group of each."""
        return np.searchsorted(self.edge_G, hardness_N, side="left").astype(np.int64)

    def radii_km(self, hardness_N: Floats) -> Floats:
        """Shape (N,); infinite where nothing can be promised."""
        radius_N = self.shares.distance_km(hardness_N, self.level_G[self.groups(hardness_N)])
        return np.where(hardness_N <= self.farthest, radius_N, np.inf)

    def to_json(self) -> dict[str, Any]:
        """As `calibration.parameters` keeps it."""
        return {
            "form": FORM,
            "coverage": self.coverage,
            "hardness": self.hardness.to_json(),
            "radii_km": list(RADII_KM),
            "shares": _shares_to_json(self.shares),
            "edges": self.edge_G.tolist(),
            "levels": [None if math.isnan(level) else level for level in self.level_G.tolist()],
            "farthest": self.farthest,
            "confident": _shares_to_json(self.confident),
            "max_risk": self.max_risk,
            "hardest": self.hardest,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], *, calibration_id: int | None = None) -> "RadiusModel":
        """What `to_json` gave. Raises `ValueError`, one line, for anything else."""
        try:
            if stored["form"] != FORM or list(stored["radii_km"]) != list(RADII_KM):
                raise ValueError(f"it is of form {stored['form']}, this version reads form {FORM}")
            levels = [math.nan if level is None else float(level) for level in stored["levels"]]
            model = cls(
                coverage=float(stored["coverage"]),
                hardness=Hardness.from_json(stored["hardness"]),
                shares=_shares(stored["shares"]),
                edge_G=np.array(stored["edges"], dtype=np.float64),
                level_G=np.array(levels, dtype=np.float64),
                farthest=float(stored["farthest"]),
                confident=_shares(stored["confident"]),
                max_risk=float(stored["max_risk"]),
                hardest=None if stored["hardest"] is None else float(stored["hardest"]),
                calibration_id=calibration_id,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"these parameters are no calibration of the radius: {error}") from error
        if model.level_G.size != model.edge_G.size + 1 or (np.diff(model.edge_G) <= 0).any():
            raise ValueError("these parameters are no calibration of the radius: its groups are not in order")
        if not 0 < model.coverage < 1:
            raise ValueError(f"these parameters are no calibration of the radius: coverage {model.coverage}")
        return model


def _shares_to_json(shares: Shares) -> dict[str, Any]:
    return {"levels": shares.level_L.tolist(), "shares": shares.share_L_Z.tolist()}


def _shares(stored: Mapping[str, Any]) -> Shares:
    return Shares(np.array(stored["levels"], dtype=np.float64), np.array(stored["shares"], dtype=np.float64))
