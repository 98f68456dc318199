"""Shares of scenes with 95 % intervals, by bootstrap over photographers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.judge.columns import Column
from trainer.judge.intervals import Resampling, bootstrap_means, percentile_interval

REPLICATES = 1000

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Share:
    """`value` over `n` scenes; `low` and `high` are None where one photographer took them all."""

    value: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        bounds = "–" if self.low is None or self.high is None else f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.value:.3f} ({bounds})"

    @property
    def signed(self) -> str:
        """For differences."""
        bounds = "–" if self.low is None or self.high is None else f"{self.low:+.3f} to {self.high:+.3f}"
        return f"{self.value:+.3f} ({bounds})"


def share(value_N: Bools | Floats, clusters_N: NDArray[np.int64]) -> Share:
    """The mean of N values, N is 1 or more."""
    clusters_N = np.unique(clusters_N, return_inverse=True)[1].astype(np.int64)
    column = Column("share", "share", "share", value_N.astype(np.float64), np.ones(value_N.size, dtype=bool))
    resampling = Resampling(clusters_N, replicates=REPLICATES, seed=0)
    low, high = percentile_interval(bootstrap_means([column], resampling)[:, 0])
    return Share(float(column.value_N.mean()), low, high, int(value_N.size))


def difference(one_N: Bools, other_N: Bools, clusters_N: NDArray[np.int64]) -> Share:
    """How much larger the first share is, on the same scenes and the same draws."""
    return share(one_N.astype(np.float64) - other_N.astype(np.float64), clusters_N)
