"""What a radius keeps on photographs that it has not seen, with intervals over clusters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.calibrate.fit import Parameters, fit, plain_radius_km
from trainer.calibrate.sample import Bools, Floats, Sample, deal_clusters
from trainer.judge.columns import Column
from trainer.judge.intervals import Resampling, bootstrap_means, percentile_interval

FOLDS = 5
_REPLICATES = 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """Shares 0..1, distances km. `low`, `high`: the central 95 % over clusters; None where there is but one.

    `infinite`: for how many no radius could be promised; they count as covered, and in the median.
    """

    n: int
    clusters: int
    coverage: float
    low: float | None
    high: float | None
    median_km: float
    infinite: int


@dataclass(frozen=True, slots=True)
class Checked:
    """Cross-validated. `radius` is the calibrated, `plain` the one radius for all from the same photographs.

    `matched_km`: the single radius that has just the coverage of ours on the same photographs; `ratio` is the
    median radius to it. `confidence_error`: mean difference between confidence and share right at 25 km, over
    ten bins.
    """

    radius: Kept
    plain: Kept
    by_group: tuple[Kept, ...]
    matched_km: float
    ratio: float
    confidence_error: float


def kept(radius_km_N: Floats, error_km_N: Floats, cluster_N: NDArray[np.int64], *, seed: int = 0) -> Kept:
    """How often the error was within the radius, and how wide it was. N is 1 or more."""
    inside_N = error_km_N <= radius_km_N
    _, of_N = np.unique(cluster_N, return_inverse=True)
    resampling = Resampling(of_N.astype(np.int64), replicates=_REPLICATES, seed=seed)
    column = Column("inside", "inside the radius", "share", inside_N.astype(float), np.ones(of_N.size, dtype=bool))
    low, high = percentile_interval(bootstrap_means([column], resampling)[:, 0])
    return Kept(
        n=int(inside_N.size),
        clusters=resampling.clusters,
        coverage=float(inside_N.mean()),
        low=low,
        high=high,
        median_km=float(np.quantile(radius_km_N, 0.5, method="higher")),
        infinite=int(np.isinf(radius_km_N).sum()),
    )


def matched_radius_km(radius_km_N: Floats, error_km_N: Floats) -> float:
    """The single radius for all that holds exactly as many of these photographs as theirs do."""
    inside = int((error_km_N <= radius_km_N).sum())
    return float(np.sort(error_km_N)[max(0, inside - 1)])


def cross_validate(sample: Sample, parameters: Parameters) -> Checked:
    """Calibrates on four fifths of the clusters and looks at the fifth, five times over.

    Raises `SetupError` where four fifths are too few.
    """
    fold_N = deal_clusters(sample.cluster_N, FOLDS, seed=parameters.seed + 2)
    radius_N, plain_N, sure_N = np.empty(sample.n), np.empty(sample.n), np.empty(sample.n)
    group_N = np.zeros(sample.n, dtype=np.int64)
    for fold in range(FOLDS):
        new_N = fold_N == fold
        seen, new = sample.part(~new_N), sample.part(new_N)
        model = fit(seen, parameters)
        hardness_M = model.hardness.of(new.signs)
        radius_N[new_N] = model.radii_km(hardness_M)
        plain_N[new_N] = plain_radius_km(seen, parameters.coverage)
        group_N[new_N] = model.groups(hardness_M)
        sure_N[new_N] = model.confident.within(hardness_M, np.full(new.n, 25.0))
    whole = kept(radius_N, sample.error_km_N, sample.cluster_N)
    matched_km = matched_radius_km(radius_N, sample.error_km_N)
    return Checked(
        radius=whole,
        plain=kept(plain_N, sample.error_km_N, sample.cluster_N),
        by_group=tuple(
            kept(radius_N[group_N == g], sample.error_km_N[group_N == g], sample.cluster_N[group_N == g])
            for g in np.unique(group_N)
        ),
        matched_km=matched_km,
        ratio=whole.median_km / matched_km if matched_km > 0 else float("nan"),
        confidence_error=confidence_error(sure_N, sample.error_km_N <= 25.0),
    )


def confidence_error(sure_N: Floats, right_N: Bools, bins: int = 10) -> float:
    """Mean difference between stated confidence and share right, over bins of equally many photographs."""
    order = np.argsort(sure_N, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    return float(sum(part.size * abs(sure_N[part].mean() - right_N[part].mean()) for part in parts) / sure_N.size)
