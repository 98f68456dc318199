"""From photographs with known place to a radius that keeps its promise: the straight line of a calibration.

The clusters are dealt into two halves by chance. The first teaches the hardness and the shares; the second, which
had no part in that, sets the level in each group of hardness and proves the threshold of the risk. Only the
confidences use both: they are estimates and promise nothing.
"""

import math
from dataclasses import dataclass

import numpy as np

from trainer.calibrate.conformal import clustered_level, least_clusters
from trainer.calibrate.hardness import fit_hardness
from trainer.calibrate.risk import hardest_within_risk, order_of_trial
from trainer.calibrate.sample import Floats, Sample, deal_clusters
from trainer.calibrate.shares import fit_shares
from worker.errors import SetupError
from worker.place.radius import RadiusModel

WRONG_KM = 25.0
"""An answer farther off is wrong, for the risk."""
_MAX_GROUPS = 4
_FOLDS = 4
_BEYOND_DECADES = 0.1
"""So much harder than the hardest of the second half a photograph may be and still get a radius."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is chosen. `coverage` and `max_risk` are shares, 0..1.

    Fewer photographs than `min_photographs`, or fewer clusters than `min_clusters`, are refused. A group of
    hardness has at least `group_photographs` photographs and `group_clusters` clusters of the second half; in
    smaller ones the level would be chance, and the radius with it.
    """

    coverage: float = 0.9
    max_risk: float = 0.1
    min_photographs: int = 100
    min_clusters: int = 30
    group_photographs: int = 100
    group_clusters: int = 30
    seed: int = 0


def fit(sample: Sample, parameters: Parameters) -> RadiusModel:
    """The calibration of these photographs. Raises `SetupError` with counts where they do not suffice."""
    refuse_too_few(sample, parameters)
    second_N = deal_clusters(sample.cluster_N, 2, seed=parameters.seed) == 1
    learn, prove = sample.part(~second_N), sample.part(second_N)
    hardness = fit_hardness(learn)
    crossed_L = _crossed(learn, parameters.seed)
    shares = fit_shares(crossed_L, learn.error_km_N)
    hardness_P = hardness.of(prove.signs)
    edge_G = _edges(hardness.of(learn.signs), hardness_P, prove, parameters)
    if not _narrows(crossed_L, learn, parameters):
        shares, edge_G = fit_shares(np.zeros(learn.n), learn.error_km_N), np.empty(0)  # one radius for all
    score_P = shares.within(hardness_P, prove.error_km_N)
    group_P = np.searchsorted(edge_G, hardness_P, side="left")
    level_G = [
        clustered_level(score_P[group_P == g], prove.cluster_N[group_P == g], parameters.coverage)
        for g in range(edge_G.size + 1)
    ]
    trial_T = order_of_trial(
        crossed_L,
        learn.error_km_N > WRONG_KM,
        learn.cluster_N,
        max_risk=parameters.max_risk,
        seed=parameters.seed,
    )
    return RadiusModel(
        coverage=parameters.coverage,
        hardness=hardness,
        shares=shares,
        edge_G=edge_G,
        level_G=np.array(level_G),
        farthest=float(hardness_P.max()) + _BEYOND_DECADES,
        confident=fit_shares(
            np.concatenate([crossed_L, hardness_P]), np.concatenate([learn.error_km_N, prove.error_km_N])
        ),
        max_risk=parameters.max_risk,
        hardest=hardest_within_risk(
            hardness_P,
            prove.error_km_N > WRONG_KM,
            prove.cluster_N,
            candidates=trial_T,
            max_risk=parameters.max_risk,
            seed=parameters.seed,
        ),
    )


def plain_radius_km(sample: Sample, coverage: float) -> float:
    """The radius that one would state for every photograph alike: clustered split conformal, not normalised."""
    level = clustered_level(sample.error_km_N, sample.cluster_N, coverage)
    return math.inf if math.isnan(level) else level


def refuse_too_few(sample: Sample, parameters: Parameters) -> None:
    """Raises `SetupError`, with counts, unless a radius can be promised from so many photographs and places."""
    clusters = sample.clusters
    least = max(parameters.min_clusters, 2 * least_clusters(parameters.coverage))
    if sample.n < parameters.min_photographs or clusters < least:
        raise SetupError(
            f"{sample.n:,} located photographs of {clusters:,} places or series are too few to promise a radius at"
            f" {parameters.coverage:.0%}: {parameters.min_photographs:,} of {least:,} are needed; label more, in"
            " other places, and ask about them with `globetag run --verify`"
        )
    if float(np.ptp(sample.error_km_N)) == 0.0:
        raise SetupError(
            f"all {sample.n:,} answers are equally far off ({sample.error_km_N[0]:,.1f} km): that is no archive's"
            " doing, look at the labels"
        )


def _crossed(learn: Sample, seed: int) -> Floats:
    """The hardness of each photograph by curves that were fitted without its fold of clusters.

    In its own curves a photograph looks better understood than a new one will be.
    """
    fold_N = deal_clusters(learn.cluster_N, min(_FOLDS, learn.clusters), seed=seed + 1)
    crossed_N = np.empty(learn.n)
    for fold in np.unique(fold_N):
        of_fold_N = fold_N == fold
        crossed_N[of_fold_N] = fit_hardness(learn.part(~of_fold_N)).of(learn.part(of_fold_N).signs)
    return crossed_N


def _narrows(crossed_L: Floats, learn: Sample, parameters: Parameters) -> bool:
    """Would half of the radii be narrower than one for all? Signs that tell too little only add noise.

    Asked of the first half alone, so that the promise is not touched; each quarter by the shares of the other.
    """
    quarter_L = deal_clusters(learn.cluster_N, 2, seed=parameters.seed + 3)
    shares = {
        quarter: fit_shares(crossed_L[quarter_L != quarter], learn.error_km_N[quarter_L != quarter])
        for quarter in (0, 1)
    }
    score_L, radius_L = np.empty(learn.n), np.empty(learn.n)
    for quarter, of_others in shares.items():
        here_L = quarter_L == quarter
        score_L[here_L] = of_others.within(crossed_L[here_L], learn.error_km_N[here_L])
    level = clustered_level(score_L, learn.cluster_N, parameters.coverage)
    for quarter, of_others in shares.items():
        here_L = quarter_L == quarter
        radius_L[here_L] = of_others.distance_km(crossed_L[here_L], np.full(here_L.sum(), level))
    return float(np.median(radius_L)) < plain_radius_km(learn, parameters.coverage)


def _edges(learnt_N: Floats, hardness_P: Floats, prove: Sample, parameters: Parameters) -> Floats:
    """Quantiles of the first half's hardness, as many as leave each group enough of the second half.

    The errors of the second half have no say, so that the promise holds in each group by itself.
    """
    for groups in range(_MAX_GROUPS, 1, -1):
        edge_G = np.unique(np.quantile(learnt_N, np.linspace(0, 1, groups + 1)[1:-1]))
        group_P = np.searchsorted(edge_G, hardness_P, side="left")
        enough = [
            (group_P == g).sum() >= parameters.group_photographs
            and np.unique(prove.cluster_N[group_P == g]).size >= parameters.group_clusters
            for g in range(edge_G.size + 1)
        ]
        if all(enough):
            return np.asarray(edge_G, dtype=np.float64)
    return np.empty(0)
