"""The lowest threshold whose risk is proven to be low enough, not the lowest at which it happened to be.

Risk is the share of wrong points among the points that are given: a photograph that the pipeline refuses by itself
is no wrong pin. From each of three starts, fixed beforehand, thresholds are tried downwards, twenty more points at
a time, until the upper bound of the risk exceeds the target: fixed-sequence testing with several starts, as in
Learn then Test (Angelopoulos et al., arXiv 2110.01052), which needs a correction for the three starts and none
for the number of steps.

The bound at each step is the exact binomial one (Clopper and Pearson, Biometrika 26, 1934), which holds for any
number of photographs if they are independent. Photographs of one place are not: their number is divided by the
design effect of the cells (Korn and Graubard, Survey Methodology 24, 1998), and by what few cells leave open about
that effect. So with cells it is the survey statistician's bound: of the stated level where there are many
cells, near it where there are few.

Axes: N photographs, L those with a point, C cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trainer.gate.logistic import Bools, Floats

CONFIDENCE = 0.9
STARTS = (0.1, 0.25, 0.5)
"""Shares of the points: where all is well the search may begin low, where little is, high."""
_STEP = 20
_CELL_CORRELATION = 0.05
"""What is assumed of outcomes in a cell where not one is wrong: no cell counts for more than twenty points."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Choice:
    """`risk` was seen among the `points` at or above `threshold`; `upper` is its upper bound at `confidence`.

    `coverage` is the share of all photographs, with a point or without, that pass.
    """

    threshold: float
    coverage: float
    points: int
    risk: float
    upper: float
    confidence: float


def choose_threshold(
    chance_N: Floats,
    located_N: Bools,
    wrong_N: Bools,
    cells: Sequence[str],
    *,
    max_risk: float,
    confidence: float = CONFIDENCE,
) -> Choice | None:
    """The choice that lets the most pass; None where no threshold is proven to keep the risk at `max_risk`.

    `chance_N` must come from models that did not see these photographs' cells (`trainer.gate.fit.cross_fit`).
    """
    level = 1 - (1 - confidence) / len(STARTS)
    steps = risk_steps(chance_N, located_N, wrong_N, cells, confidence=level)
    chosen: Choice | None = None
    for start in STARTS:
        for step in steps:
            if step.points < start * int(located_N.sum()):
                continue
            if step.upper > max_risk:
                break
            if chosen is None or step.points > chosen.points:
                chosen = step
    return None if chosen is None else replace(chosen, confidence=confidence)


def risk_steps(
    chance_N: Floats, located_N: Bools, wrong_N: Bools, cells: Sequence[str], *, confidence: float = CONFIDENCE
) -> list[Choice]:
    """The risk at falling thresholds, every twenty points; equal chances are never parted."""
    cell_N = np.unique(np.array(cells), return_inverse=True)[1]
    chance_L, wrong_L, cell_L = chance_N[located_N], wrong_N[located_N].astype(np.float64), cell_N[located_N]
    order = np.argsort(-chance_L, kind="stable")
    chance_L, wrong_L, cell_L = chance_L[order], wrong_L[order], cell_L[order]
    steps: list[Choice] = []
    count = 0
    while count < chance_L.size:
        count = min(count + _STEP, chance_L.size)
        count = int(np.searchsorted(-chance_L, -chance_L[count - 1], side="right"))
        threshold = float(chance_L[count - 1])
        risk = float(wrong_L[:count].mean())
        upper = upper_bound(wrong_L[:count], cell_L[:count], confidence=confidence)
        coverage = float(np.mean(chance_N >= threshold))
        steps.append(Choice(threshold, coverage, count, risk, upper, confidence))
    return steps


def upper_bound(wrong_L: Floats, cell_L: Ints, *, confidence: float) -> float:
    """The upper bound of the risk, given which points are wrong and in which cell (numbered) each lies."""
    n, risk = wrong_L.size, float(wrong_L.mean())
    effective = n / _design_effect(wrong_L - risk, cell_L)
    size = max(1, math.floor(effective))
    return binomial_upper(math.ceil(risk * size - 1e-9), size, confidence=confidence)


def binomial_upper(wrong: int, n: int, *, confidence: float) -> float:
    """Clopper and Pearson's: the largest p at which `wrong` or fewer of `n` still have chance 1 - `confidence`."""
    if wrong >= n:
        return 1.0
    counts = np.arange(wrong + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_ways = log_factorial[n] - log_factorial[counts] - log_factorial[n - counts]
    low, high = wrong / n, 1.0
    for _ in range(60):
        p = (low + high) / 2
        log_tail = log_ways + counts * math.log(p) + (n - counts) * math.log1p(-p) if p < 1 else None
        tail = 0.0 if log_tail is None else float(np.exp(log_tail).sum())
        low, high = (p, high) if tail > 1 - confidence else (low, p)
    return high


def _design_effect(residual_L: Floats, cell_L: Ints) -> float:
    """How many times the variance of the mean exceeds that of independent points, 1 at least; times the square of
    Student's t over the normal quantile, since it is estimated from few cells.

    With one cell nothing is known of other places: all its points count as one.
    """
    size_C = np.bincount(cell_L)
    cells, n = int(np.count_nonzero(size_C)), residual_L.size
    if cells < 2:
        return float(n)
    independent = float(residual_L @ residual_L)
    if independent > 0:
        sums_C = np.bincount(cell_L, weights=residual_L)
        effect = max(1.0, float(sums_C @ sums_C) * cells / (cells - 1) / independent)
    else:
        effect = 1.0 + (float(size_C @ size_C) / n - 1.0) * _CELL_CORRELATION
    z = NormalDist().inv_cdf(0.975)
    student = z + (z**3 + z) / (4 * (cells - 1))  # the first term of Cornish and Fisher
    return effect * (student / z) ** 2
