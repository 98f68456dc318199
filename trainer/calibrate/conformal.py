"""The level of a score that a new photograph stays below with a stated chance, when photographs come in clusters.

Photographs of one place cell or one series stand or fall together: a hundred of them are not a hundred witnesses.
So clusters are the unit. With K of them, each photograph of a cluster of n weighs 1 / (K + 1) / n, and the weight
1 / (K + 1) that is left over stands at infinity, for the cluster that has not been seen (hierarchical conformal
prediction: Lee, Barber, Willett, arXiv 2306.06342; with clusters of one it is split conformal prediction).

What is promised: for a photograph drawn from a *new* cluster, which comes by chance from where the calibration's
clusters came, the score is at most the level with at least the stated chance, on average over calibrations and
over clusters, each of which counts alike. It is no promise for each single place, nor where the archive changes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from trainer.calibrate.sample import Floats


def clustered_level(score_N: Floats, cluster_N: NDArray[np.int64], coverage: float) -> float:
    """The level for `coverage`, 0..1. NaN where there are too few clusters for any: coverage / (1 - coverage)."""
    if not score_N.size:
        return math.nan
    _, of_N, size_C = np.unique(cluster_N, return_inverse=True, return_counts=True)
    weight_N = 1.0 / ((size_C.size + 1) * size_C[of_N])
    order = np.argsort(score_N, kind="stable")
    reached_N = np.cumsum(weight_N[order])
    place = int(np.searchsorted(reached_N, coverage - 1e-12, side="left"))
    return math.nan if place == score_N.size else float(score_N[order][place])


def least_clusters(coverage: float) -> int:
    """So many clusters are needed for a finite level."""
    return math.ceil(coverage / (1.0 - coverage) - 1e-9)
