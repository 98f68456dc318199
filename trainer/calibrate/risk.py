"""Up to which hardness may the system answer, if at most a given share of its answers is to be wrong?

Learn then test (Angelopoulos et al., arXiv 2110.01052): thresholds are tried in an order that photographs of the
other half have decided, from strict to lax, and the first that cannot be proven ends the trial. Each proof is a
betting test on the means of clusters (Waudby-Smith and Ramdas, J. R. Stat. Soc. B 86(1), 2024): the capital of
somebody who bets that the risk is kept exceeds 1 / delta by chance with probability delta at most, whatever the
distribution and however few the clusters are.
"""

import numpy as np
from numpy.typing import NDArray

from trainer.calibrate.sample import Bools, Floats

DELTA = 0.1
"""The chance, over calibrations, that the chosen threshold does not keep to the risk."""
_STEPS = 40
_BOLD = 0.75
"""Of the largest bet that cannot lose everything."""


def hardest_within_risk(
    hardness_N: Floats,
    wrong_N: Bools,
    cluster_N: NDArray[np.int64],
    *,
    candidates: Floats,
    max_risk: float,
    seed: int,
) -> float | None:
    """The largest of `candidates` (rising; chosen without these photographs) that keeps to `max_risk`.

    The risk is the share of wrong ones among the answered photographs of a place, in the mean of all places that
    have any. None where not even the first can be proven.
    """
    chosen = None
    for hardest in candidates.tolist():
        if _log_capital(hardness_N <= hardest, wrong_N, cluster_N, max_risk, seed) < np.log(1.0 / DELTA):
            break
        chosen = hardest
    return chosen


def order_of_trial(
    hardness_N: Floats, wrong_N: Bools, cluster_N: NDArray[np.int64], *, max_risk: float, seed: int
) -> Floats:
    """Thresholds from the one that is proven best on these photographs to the laxest."""
    step_T = np.unique(np.quantile(hardness_N, np.linspace(0.02, 1.0, _STEPS)))
    proof_T = [_log_capital(hardness_N <= hardest, wrong_N, cluster_N, max_risk, seed) for hardest in step_T]
    return np.asarray(step_T[int(np.argmax(proof_T)) :], dtype=np.float64)


def _log_capital(
    answered_N: Bools, wrong_N: Bools, cluster_N: NDArray[np.int64], max_risk: float, seed: int
) -> float:
    """The highest capital, as a logarithm, of one who bets on cluster after cluster that the risk is kept.

    Each bet is sized by the clusters before it alone, and can never lose everything.
    """
    _, of_M, size_C = np.unique(cluster_N[answered_N], return_inverse=True, return_counts=True)
    wrong_C = np.bincount(of_M, weights=wrong_N[answered_N], minlength=size_C.size) / np.maximum(1, size_C)
    excess_C = np.random.default_rng(seed).permutation(wrong_C) - max_risk
    most = _BOLD / (1.0 - max_risk)
    capital = best = 0.0
    total, squares = 0.0, max_risk**2
    for excess in excess_C.tolist():
        capital += float(np.log1p(-min(most, max(0.0, -total / squares)) * excess))
        best = max(best, capital)
        total += excess
        squares += excess**2
    return best
