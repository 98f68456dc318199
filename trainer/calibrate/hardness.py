"""Fits the hardness: the mean decades of the error, as a sum of curves that never fall.

Each curve is made of ramps between quantiles of its sign, with weights that are not negative: so it is monotone by
construction, and with some dozens of numbers for hundreds of photographs it stays readable and steady. A free
regression would learn, from few labels, that agreement makes photographs harder. The loss is squared, on decades:
one answer on the wrong continent must not outweigh a hundred in the right street.
"""

import numpy as np
from numpy.typing import NDArray

from trainer.calibrate.sample import Floats, Sample
from worker.place.hardness import Curve, Hardness

_QUANTILES = (0.02, 0.2, 0.4, 0.6, 0.8, 0.98)
_RIDGE = 3.0
"""As strong as so many photographs whose signs say that nothing is known."""
_SWEEPS = 400
_UNKNOWN = 0.75
"""An unknown sign counts as hard as this share of the known ones are at most: not knowing is no good sign."""


def fit_hardness(sample: Sample) -> Hardness:
    """The curves for these photographs; signs that never differ get none."""
    decades_N = np.log10(1.0 + sample.error_km_N)
    made = {name: _ramps(sign_N) for name, sign_N in sample.signs.items()}
    ramps = {name: found for name, found in made.items() if found is not None}
    if not ramps:
        return Hardness(float(decades_N.mean()), {})
    basis_N_K = np.concatenate([ramp_N_K for _, ramp_N_K in ramps.values()], axis=1)
    mean_K = basis_N_K.mean(axis=0)
    weight_K = _nonnegative_ridge(basis_N_K - mean_K, decades_N - decades_N.mean())
    base = float(decades_N.mean() - mean_K @ weight_K)
    curves, start = {}, 0
    for name, (knot_K, ramp_N_K) in ramps.items():
        steps = weight_K[start : start + ramp_N_K.shape[1]]
        start += steps.size
        decades_K = np.concatenate([[0.0], np.cumsum(steps)])
        known_M = sample.signs[name][~np.isnan(sample.signs[name])]
        unknown = float(np.interp(np.quantile(known_M, _UNKNOWN), knot_K, decades_K))
        curves[name] = Curve(tuple(knot_K.tolist()), tuple(decades_K.tolist()), unknown)
    return Hardness(base, curves)


def _ramps(sign_N: Floats) -> tuple[Floats, Floats] | None:
    """The knots (K + 1,) and how far each photograph has come on each ramp (N, K), 0..1."""
    known_M = sign_N[~np.isnan(sign_N)]
    if known_M.size == 0:
        return None
    ends = known_M.min(), known_M.max()
    knot_K = np.unique(np.concatenate([ends, np.quantile(known_M, _QUANTILES)]))
    knot_K = knot_K[np.concatenate([[True], np.diff(knot_K) > 1e-9 * max(1.0, float(np.abs(knot_K).max()))])]
    if knot_K.size < 2:
        return None
    filled_N = np.where(np.isnan(sign_N), np.quantile(known_M, _UNKNOWN), sign_N)
    return knot_K, np.clip((filled_N[:, None] - knot_K[None, :-1]) / np.diff(knot_K)[None, :], 0.0, 1.0)


def _nonnegative_ridge(basis_N_K: Floats, target_N: Floats) -> NDArray[np.float64]:
    """Least squares with weights of at least 0, by coordinate descent (the problem is convex)."""
    gram_K_K = basis_N_K.T @ basis_N_K + _RIDGE * np.eye(basis_N_K.shape[1])
    pull_K = basis_N_K.T @ target_N
    weight_K = np.zeros(pull_K.size)
    for _ in range(_SWEEPS):
        before_K = weight_K.copy()
        for k in range(weight_K.size):
            rest = pull_K[k] - gram_K_K[k] @ weight_K + gram_K_K[k, k] * weight_K[k]
            weight_K[k] = max(0.0, rest / gram_K_K[k, k])
        if np.abs(weight_K - before_K).max() < 1e-7:
            break
    return weight_K
