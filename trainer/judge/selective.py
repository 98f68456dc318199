"""Does a system know when it is wrong? Risk against coverage, and whether the stated radius holds the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.judge.columns import Bools, Columns
from trainer.judge.distance import Floats

RISK_THRESHOLDS_KM = (25, 200, 750)
COVERAGES = (0.5, 0.7, 0.9)
_RADIUS_BINS = 10


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Images in the order of falling sureness; an answer is wrong when it is farther off than `threshold_km`.

    `coverage` and `risk` are the curve's points: the share of all images that is answered down to some sureness,
    and the share of wrong ones among these. Answers of equal sureness make one point, since no threshold parts
    them.

    `aurc` is the mean risk over all coverages 1/n … n/n (Geifman and El-Yaniv 2017), lower is better. Images
    without an answer come last and are wrong: refusing does not shorten the area. `aurc_answered` is that of the
    answered alone, `aurc_best` that of an order which puts all wrong ones last (with the same answers). `augrc` is
    the same area under wrong / all (Traub et al., arXiv 2407.01032), which does not overrate the first few.
    `auroc` is the chance that a right answer is surer than a wrong one; None without both.
    `accuracy_at` gives the accuracy of the surest 50, 70 and 90 % of all images, None beyond the answered.
    """

    threshold_km: int
    ordered_by: str
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    aurc: float
    aurc_answered: float | None
    aurc_best: float
    augrc: float
    auroc: float | None
    accuracy_at: dict[float, float | None]


@dataclass(frozen=True, slots=True)
class RadiusBin:
    """Answers of similar radius: how many, their mean radius, and how many of the truths it holds."""

    count: int
    mean_radius_km: float
    inside: int


@dataclass(frozen=True, slots=True)
class RadiusGroup:
    """Answers that state one coverage (None: the radius is nominal and promises nothing)."""

    stated_coverage: float | None
    count: int
    inside: int
    mean_km: float
    median_km: float
    p90_km: float
    bins: tuple[RadiusBin, ...]


def sureness(columns: Columns) -> tuple[Floats, str] | None:
    """Each image's sureness (-inf without one) and what it is: the confidence, else the radius turned round.

    None where no answer has either.
    """
    for name, values in (
        ("confidence", [row.prediction.confidence for row in columns.run.rows]),
        (
            "radius, narrow first",
            [None if (km := row.prediction.radius_km) is None else -km for row in columns.run.rows],
        ),
    ):
        sure_N = np.array([-np.inf if value is None else value for value in values], dtype=np.float64)
        sure_N[np.isnan(columns.km_N)] = -np.inf
        if np.isfinite(sure_N).any():
            return sure_N, name
    return None


def risk_coverage(columns: Columns) -> tuple[RiskCoverage, ...]:
    """One for each of `RISK_THRESHOLDS_KM`; none where the system says nothing of its sureness."""
    found = sureness(columns)
    if found is None:
        return ()
    sure_N, ordered_by = found
    answered_N = ~np.isnan(columns.km_N)
    return tuple(
        _curve(sure_N, answered_N, columns.distance.within(columns.km_N, km), km, ordered_by)
        for km in RISK_THRESHOLDS_KM
    )


def _curve(sure_N: Floats, answered_N: Bools, right_N: Bools, km: int, ordered_by: str) -> RiskCoverage:
    n, answered = sure_N.size, int(answered_N.sum())
    wrong_N = (~right_N).astype(np.float64)
    sure_A, wrong_A = sure_N[answered_N], wrong_N[answered_N]
    order = np.argsort(-sure_A, kind="stable")
    sure_A, wrong_A = sure_A[order], wrong_A[order]
    ends = _ends_of_ties(sure_A)
    wrong_to_A = _spread_over_ties(np.cumsum(wrong_A), ends)
    rank_A = np.arange(1, answered + 1, dtype=np.float64)
    # Unanswered images follow, all wrong.
    wrong_to_N = np.concatenate([wrong_to_A, wrong_A.sum() + np.arange(1, n - answered + 1)])
    rank_N = np.arange(1, n + 1, dtype=np.float64)
    right = int(right_N.sum())
    best_to_N = np.maximum(0.0, rank_N - right)
    return RiskCoverage(
        threshold_km=km,
        ordered_by=ordered_by,
        coverage=tuple(float(rank_A[end] / n) for end in ends),
        risk=tuple(float(wrong_to_A[end] / rank_A[end]) for end in ends),
        aurc=float(np.mean(wrong_to_N / rank_N)),
        aurc_answered=float(np.mean(wrong_to_A / rank_A)) if answered else None,
        aurc_best=float(np.mean(best_to_N / rank_N)),
        augrc=float(np.mean(wrong_to_N / n)),
        auroc=_auroc(sure_A, wrong_A),
        accuracy_at={share: _accuracy_at(share, n, wrong_to_A) for share in COVERAGES},
    )


def _ends_of_ties(sorted_A: Floats) -> Sequence[int]:
    """The last index of each run of equal values."""
    if sorted_A.size == 0:
        return ()
    last = np.flatnonzero(sorted_A[1:] != sorted_A[:-1]).tolist()
    return [*last, sorted_A.size - 1]


def _spread_over_ties(wrong_to_A: Floats, ends: Sequence[int]) -> Floats:
    """Inside a run of equal sureness the order is open: the expected count rises evenly."""
    if not ends:
        return wrong_to_A
    knots = np.array([-1, *ends], dtype=np.float64)
    counts = np.array([0.0, *wrong_to_A[list(ends)]])
    spread_A: Floats = np.interp(np.arange(wrong_to_A.size, dtype=np.float64), knots, counts)
    return spread_A


def _accuracy_at(share: float, n: int, wrong_to_A: Floats) -> float | None:
    answered = round(share * n)
    if not 1 <= answered <= wrong_to_A.size:
        return None
    return float(1.0 - wrong_to_A[answered - 1] / answered)


def _auroc(sure_A: Floats, wrong_A: Floats) -> float | None:
    """Mann and Whitney's statistic with mid-ranks for ties."""
    wrong = int(wrong_A.sum())
    right = wrong_A.size - wrong
    if not wrong or not right:
        return None
    _, group_A, count_G = np.unique(sure_A, return_inverse=True, return_counts=True)
    midrank_G = np.cumsum(count_G) - (count_G - 1) / 2
    ranks_of_right = float(midrank_G[group_A][wrong_A == 0].sum())
    return (ranks_of_right - right * (right + 1) / 2) / (right * wrong)


def radius_groups(columns: Columns) -> tuple[RadiusGroup, ...]:
    """Coverage and size of the radius, by the coverage that the answers state. Unanswered images have none."""
    by_coverage: dict[float | None, list[tuple[float, bool]]] = {}
    for row, km in zip(columns.run.rows, columns.km_N.tolist(), strict=True):
        radius_km = row.prediction.radius_km
        if radius_km is not None and not np.isnan(km):
            by_coverage.setdefault(row.prediction.coverage, []).append((radius_km, km <= radius_km))
    ordered = sorted(by_coverage.items(), key=lambda item: (item[0] is None, item[0] or 0.0))
    return tuple(_radius_group(coverage, pairs) for coverage, pairs in ordered)


def _radius_group(coverage: float | None, pairs: list[tuple[float, bool]]) -> RadiusGroup:
    radius_M = np.array([radius for radius, _ in pairs])
    inside_M = np.array([inside for _, inside in pairs])
    # About equally many in each bin, and answers of one radius never in two.
    first_M = np.searchsorted(np.sort(radius_M), radius_M, side="left")
    bin_M = first_M * _RADIUS_BINS // radius_M.size
    parts = [np.flatnonzero(bin_M == number) for number in np.unique(bin_M)]
    return RadiusGroup(
        stated_coverage=coverage,
        count=radius_M.size,
        inside=int(inside_M.sum()),
        mean_km=float(radius_M.mean()),
        median_km=float(np.median(radius_M)),
        p90_km=float(np.quantile(radius_M, 0.9)),
        bins=tuple(
            RadiusBin(part.size, float(radius_M[part].mean()), int(inside_M[part].sum())) for part in parts
        ),
    )
