"""Two runs on the same images: which is better, and may it be chance?

Paired, since two systems err on the same hard images: the difference is far surer than either figure. McNemar's
exact test counts images and so takes them for independent; the interval by photographers does not, and is the one
to believe where the two disagree.
"""

from dataclasses import dataclass

import numpy as np

from trainer.judge.columns import Column, Columns
from trainer.judge.intervals import Resampling, bootstrap_means, percentile_interval
from worker.errors import SetupError


@dataclass(frozen=True, slots=True)
class Difference:
    """Run A against run B on the images where both can be judged; `value` is A - B.

    Shares: `both`, `only_a`, `only_b` and `neither` count images that were right and sum to `of`; `p_value` is
    McNemar's, two-sided and exact. None for other units.
    """

    name: str
    title: str
    unit: str
    a: float
    b: float
    value: float
    low: float | None
    high: float | None
    of: int
    both: int | None = None
    only_a: int | None = None
    only_b: int | None = None
    neither: int | None = None
    p_value: float | None = None

    @property
    def is_clear(self) -> bool:
        """The interval does not hold zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`a` and `b` are the runs' names."""

    a: str
    b: str
    n: int
    clusters: int
    replicates: int
    differences: tuple[Difference, ...]


def compare(a: Columns, b: Columns, *, replicates: int = 1000, seed: int = 0) -> Comparison:
    """Compares figure by figure. Raises `SetupError` where the runs are not over the same images."""
    if [row.truth for row in a.run.rows] != [row.truth for row in b.run.rows]:
        raise SetupError(f"{a.run.name} and {b.run.name} are not over the same truth and cannot be compared")
    if a.distance != b.distance:
        raise SetupError(f"{a.run.name} and {b.run.name} were measured by different formulas")
    resampling = Resampling(a.cluster_N, replicates=replicates, seed=seed)
    pairs = [
        (ours, theirs, ours.valid_N & theirs.valid_N)
        for name, ours in a.by_name.items()
        if (theirs := b.by_name[name]) is not None and not name.startswith("bayes")
    ]
    pairs = [pair for pair in pairs if pair[2].any()]
    columns = [
        Column(one.name, one.title, one.unit, one.value_N - two.value_N, valid) for one, two, valid in pairs
    ]
    means_B_F = bootstrap_means(columns, resampling) if columns else np.empty((0, 0))
    differences = tuple(
        _difference(one, two, valid, percentile_interval(means_B_F[:, number]))
        for number, (one, two, valid) in enumerate(pairs)
    )
    return Comparison(a.run.name, b.run.name, a.n, resampling.clusters, resampling.replicates, differences)


def _difference(
    a: Column, b: Column, valid_N: np.ndarray, interval: tuple[float | None, float | None]
) -> Difference:
    a_M, b_M = a.value_N[valid_N], b.value_N[valid_N]
    value = float(a_M.mean() - b_M.mean())
    common = (a.name, a.title, a.unit, float(a_M.mean()), float(b_M.mean()), value, *interval, a_M.size)
    if a.unit != "share":
        return Difference(*common)
    both, only_a = int(np.sum((a_M == 1) & (b_M == 1))), int(np.sum((a_M == 1) & (b_M == 0)))
    only_b, neither = int(np.sum((a_M == 0) & (b_M == 1))), int(np.sum((a_M == 0) & (b_M == 0)))
    return Difference(*common, both, only_a, only_b, neither, mcnemar_p(only_a, only_b))


def mcnemar_p(only_a: int, only_b: int) -> float:
    """The two-sided exact test: how likely discordant images split so unevenly if both runs were equal."""
    discordant = only_a + only_b
    if discordant == 0:
        return 1.0
    term = total = 1  # "discordant choose k" for k = 0, in whole numbers, so that nothing is rounded away
    for k in range(1, min(only_a, only_b) + 1):
        term = term * (discordant - k + 1) // k
        total += term
    # Both are too large for a float; their quotient is not.
    return min(1.0, 2 * total / (1 << discordant))
