"""Makes a judge's P(yes) mean what it says: Platt scaling on the log-odds (Platt 1999).

P' = 1 / (1 + exp(-(slope * log(p / (1 - p)) + intercept))), with slope and intercept fitted to outcomes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.errors import SetupError

_CLIP = 1e-6
"""A judge that names only one of yes and no gives exactly 0 or 1, whose log-odds are infinite."""
_MAX_STEPS = 100
_CONVERGED = 1e-10


@dataclass(frozen=True, slots=True)
class Calibration:
    """The default changes nothing but the clipping to 1e-6..1 - 1e-6."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, p: float) -> float:
        """The calibrated probability, in 0..1."""
        clipped = min(max(p, _CLIP), 1 - _CLIP)
        odds = self.slope * math.log(clipped / (1 - clipped)) + self.intercept
        return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))

    @classmethod
    def fit(cls, p_N: Sequence[float], placed_N: Sequence[bool]) -> "Calibration":
        """Maximum likelihood with Platt's targets, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so that it stays finite
        where the judge is never wrong. Newton's method with halved steps; convex, so the start does not matter.

        Raises `SetupError` unless there are outcomes of both kinds and as many of them as probabilities.
        """
        p = np.clip(np.asarray(p_N, dtype=np.float64), _CLIP, 1 - _CLIP)
        placed = np.asarray(placed_N, dtype=bool)
        if p.shape != placed.shape or placed.all() or not placed.any():
            raise SetupError(
                f"a calibration needs placeable and other pictures: {p.size} probabilities with {placed.size}"
                f" outcomes, {int(placed.sum())} of them placeable"
            )
        yes, no = int(placed.sum()), int((~placed).sum())
        target_N = np.where(placed, (yes + 1) / (yes + 2), 1 / (no + 2))
        odds_N_2 = np.stack([np.log(p / (1 - p)), np.ones_like(p)], axis=-1)
        found = np.array([1.0, 0.0])

        def loss(weights: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
            z = odds_N_2 @ weights
            return float(np.sum(np.logaddexp(0.0, z) - target_N * z))

        for _ in range(_MAX_STEPS):
            q_N = 1 / (1 + np.exp(-np.clip(odds_N_2 @ found, -500, 500)))
            gradient = odds_N_2.T @ (q_N - target_N)
            hessian = (odds_N_2 * (q_N * (1 - q_N))[:, None]).T @ odds_N_2 + 1e-9 * np.eye(2)
            step = np.linalg.solve(hessian, gradient)
            while loss(found - step) > loss(found) and float(np.abs(step).max()) > _CONVERGED:
                step = step / 2
            found = found - step
            if float(np.abs(step).max()) <= _CONVERGED:
                break
        return cls(float(found[0]), float(found[1]))


UNCALIBRATED = Calibration()
