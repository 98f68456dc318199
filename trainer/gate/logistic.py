"""Logistic regression for several radii at once: one slope, a bias for each radius, an L2 prior on the slope.

It minimises the sum over pictures n and radii r of the log loss of sigmoid(w . x_n + b_r) against y_nr, plus
a/2 |w|². That is McCullagh's cumulative logit model (J. R. Stat. Soc. B 42, 1980) fitted by the sum of its binary
likelihoods. Since a picture within 25 km is within 200 km as well, the column sums of y never fall; and as the
optimum makes the sum of chances of each radius equal to its column sum, the biases never fall either. So the
chances are monotone across radii by construction, whatever the embedding.

To each radius one success and one failure at x = 0 are added, so that a radius at which all or none succeed has a
finite bias (the rule of succession); the sums stay in order.

Axes: N pictures, D embedding dimensions, R radii.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.gate.head import sigmoid

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MAX_STEPS = 100
_CONVERGED = 1e-8


@dataclass(frozen=True, slots=True)
class Fit:
    """`weight_D` and `bias_R`: the chance at radius r is sigmoid(w . x + b_r)."""

    weight_D: Floats
    bias_R: Floats

    def logits(self, x_N_D: Floats) -> Floats:
        """Shape (N, R)."""
        return (x_N_D @ self.weight_D)[:, None] + self.bias_R


def fit_logistic(x_N_D: Floats, within_N_R: Bools, *, precision: float, start: Fit | None = None) -> Fit:
    """The optimum, by Newton's method. `precision` (a above) is the prior's, the larger the flatter the slope.

    `x_N_D` should be centred: the added successes and failures stand at 0. `start` may save steps and changes
    nothing. Raises `ValueError` where a picture is within a radius and not within a larger one.
    """
    if (np.diff(within_N_R.astype(np.int8), axis=1) < 0).any():
        raise ValueError("a picture within a radius is within every larger one")
    d, radii = x_N_D.shape[1], within_N_R.shape[1]
    x_M_D = np.vstack([x_N_D, np.zeros((2, d))])
    y_M_R = np.vstack([within_N_R.astype(np.float64), np.zeros((1, radii)), np.ones((1, radii))])
    rate_R = y_M_R.mean(axis=0)
    theta = np.concatenate([np.zeros(d), np.log(rate_R / (1 - rate_R))])
    if start is not None:
        theta = np.concatenate([start.weight_D, start.bias_R])
    loss = _loss(theta, x_M_D, y_M_R, precision)
    for _ in range(_MAX_STEPS):
        step = _newton_step(theta, x_M_D, y_M_R, precision)
        size, scale = float(np.abs(step).max()), 1.0
        while (trial := _loss(theta - scale * step, x_M_D, y_M_R, precision)) > loss and scale * size > _CONVERGED:
            scale /= 2
        if trial > loss:
            break
        theta, loss = theta - scale * step, trial
        if size <= _CONVERGED:
            break
    # In exact arithmetic the biases are in order already; rounding must not undo it where two radii agree.
    return Fit(theta[:d], np.maximum.accumulate(theta[d:]))


def _loss(theta: Floats, x_M_D: Floats, y_M_R: Floats, precision: float) -> float:
    d = x_M_D.shape[1]
    z_M_R = (x_M_D @ theta[:d])[:, None] + theta[d:]
    return float(np.sum(np.logaddexp(0.0, z_M_R) - y_M_R * z_M_R) + precision / 2 * theta[:d] @ theta[:d])


def _newton_step(theta: Floats, x_M_D: Floats, y_M_R: Floats, precision: float) -> Floats:
    d = x_M_D.shape[1]
    p_M_R = sigmoid((x_M_D @ theta[:d])[:, None] + theta[d:])
    gap_M_R, curve_M_R = p_M_R - y_M_R, p_M_R * (1 - p_M_R)
    gradient = np.concatenate([x_M_D.T @ gap_M_R.sum(axis=1) + precision * theta[:d], gap_M_R.sum(axis=0)])
    hessian = np.zeros((theta.size, theta.size))
    hessian[:d, :d] = (x_M_D * curve_M_R.sum(axis=1)[:, None]).T @ x_M_D
    hessian[:d, d:] = x_M_D.T @ curve_M_R
    hessian[d:, :d] = hessian[:d, d:].T
    hessian[d:, d:] = np.diag(curve_M_R.sum(axis=0))
    hessian[np.arange(d), np.arange(d)] += precision
    hessian[np.diag_indices(theta.size)] += 1e-10
    step: Floats = np.linalg.solve(hessian, gradient)
    return step
