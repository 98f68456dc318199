"""From photographs with known place to a radius that keeps its promise: the straight line of a calibration.

The clusters are dealt into two halves by chance. The first teaches the hardness and parts it into groups; the
second, which had no part in that, sets the radius of each group and proves the threshold of the risk. Only the
confidences use both: they are estimates and promise nothing.

Groups follow what a radius is for, the name that may be given: the easiest photographs of which enough lie within
a city are one group, the next of which enough lie within a region another, then a country, then the rest. A radius
that followed the hardness within a group would be wide for most of it: errors are of a street or of a continent
with little in between, so it would leap where the chance of the street falls below the coverage.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from trainer.calibrate.conformal import clustered_level, least_clusters
from trainer.calibrate.hardness import fit_hardness
from trainer.calibrate.risk import hardest_within_risk, order_of_trial
from trainer.calibrate.sample import Floats, Sample, deal_clusters
from trainer.calibrate.shares import fit_shares
from worker.errors import SetupError
from worker.place.hardness import Floor
from worker.place.radius import RadiusModel

WRONG_KM = 25.0
"""An answer farther off is wrong, for the risk."""
STEPS_KM = (25.0, 200.0, 750.0)
"""The widest radius at which a city, a region, a country may be named (`worker.place.granularity`)."""
_LEAST_VARIANCE = 0.01
_FOLDS = 4
_STRANGE = "unlike_archive"
_STRANGEST = 0.95
"""What is less like the archive's photographs than this share of those that were calibrated on goes to the hardest
group. How such photographs err cannot be learnt from those that were seen; on the weather that no calibration saw
they are 9 to 17 in a hundred, and a third of them are right where of the others more than half are."""
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
    shares = fit_shares(np.zeros(learn.n), learn.error_km_N)  # one radius for all of a group
    hardness = replace(hardness, floors=_floors(learn, max(crossed_L.max(), hardness.of(prove.signs).max())))
    for name, floor in hardness.floors.items():
        crossed_L = floor.raised(crossed_L, learn.signs[name])
    hardness_P = hardness.of(prove.signs)
    edge_G = _edges(crossed_L, learn.error_km_N, hardness_P, prove, parameters)
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


def _floors(learn: Sample, hardest: float) -> dict[str, Floor]:
    """What is stranger than nearly all of these is as hard as the hardest of all."""
    sign_N = learn.signs.get(_STRANGE, np.empty(0))
    known_M = sign_N[~np.isnan(sign_N)]
    return {_STRANGE: Floor(float(np.quantile(known_M, _STRANGEST)), float(hardest))} if known_M.size else {}


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


def _edges(
    crossed_L: Floats, error_km_L: Floats, hardness_P: Floats, prove: Sample, parameters: Parameters
) -> Floats:
    """The hardest of each group: as many as keep within a city, then a region, then a country, by the first half.

    Each group needs enough of the second half, whose errors have no say, so that the promise holds in each group
    by itself. A group is taken where its share, less a standard error, reaches the coverage.
    """
    order = np.argsort(crossed_L, kind="stable")
    level_L, error_km_L = crossed_L[order], error_km_L[order]
    edges: list[float] = []
    start = 0
    for km in STEPS_KM:
        inside_M = np.cumsum(error_km_L[start:] <= km)
        count_M = np.arange(1, inside_M.size + 1)
        share_M = inside_M / count_M
        error_M = np.sqrt(np.maximum(share_M * (1 - share_M), _LEAST_VARIANCE) / count_M)
        is_last_M = np.append(np.diff(level_L[start:]) > 0, False)
        reached = np.flatnonzero(is_last_M & (share_M - error_M >= parameters.coverage))[::-1]
        for place in reached.tolist():
            edge = float(level_L[start + place])
            if _are_enough(hardness_P, prove, [*edges, edge], parameters):
                edges.append(edge)
                start += place + 1
                break
    return np.array(edges)


def _are_enough(hardness_P: Floats, prove: Sample, edges: list[float], parameters: Parameters) -> bool:
    """Does each group hold enough photographs and clusters of the second half?"""
    group_P = np.searchsorted(np.array(edges), hardness_P, side="left")
    return all(
        (group_P == g).sum() >= parameters.group_photographs
        and np.unique(prove.cluster_N[group_P == g]).size >= parameters.group_clusters
        for g in range(len(edges) + 1)
    )
