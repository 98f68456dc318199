"""The rule that decides whether a trained model may serve: better where it counts, and no less honest.

Better: the share of held-out photographs placed within the chosen radius is higher than the serving model's, and
the interval of the paired difference (bootstrap over photographers or places, 95 %) lies above 0. A small gain on
few photographs is no gain.

No less honest: by at most a tolerance may it state more cues that are not in the picture, be worse calibrated,
answer less often, or answer more often where nothing can be told. What cannot be judged is said to be so and
decides nothing. Nothing here is chance but the bootstrap, whose seed is given.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.judge.columns import THRESHOLDS_KM, Columns
from trainer.judge.compare import Comparison, Difference, compare
from trainer.judge.cues import cue_honesty
from trainer.judge.distance import Floats
from trainer.judge.intervals import Resampling
from worker.errors import SetupError

_BINS = 10


@dataclass(frozen=True, slots=True)
class Rule:
    """What promotion asks for. Tolerances are differences: new model minus serving model.

    `least_clusters`: with fewer photographers or places than this, no interval is believed. The other figures are
    cues per answer, points of the calibration error (0..1), and shares of the photographs (0..1).
    """

    radius_km: int = 25
    least_clusters: int = 20
    more_invented: float = 0.05
    worse_calibrated: float = 0.05
    fewer_answers: float = 0.05
    more_hopeless_answers: float = 0.05
    replicates: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.radius_km not in THRESHOLDS_KM:
            raise SetupError(f"models are judged at {', '.join(map(str, THRESHOLDS_KM))} km, not {self.radius_km}")


@dataclass(frozen=True, slots=True)
class Honesty:
    """How honest one model is; None where that cannot be judged.

    `invented`: stated cues that are not in the picture, per answer. `calibration_error`: see `calibration_error`.
    `answered` and `answered_hopeless`: shares with a point, of all photographs and of those that tell nothing.
    """

    invented: float | None
    calibration_error: float | None
    answered: float
    answered_hopeless: float | None


@dataclass(frozen=True, slots=True)
class Check:
    """One condition. `passed` None: it could not be judged, and decides nothing."""

    name: str
    passed: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`gain` is new minus serving, in shares of the photographs. Promoted: all checks passed, the gain's too."""

    promoted: bool
    gain: Difference
    n: int
    clusters: int
    candidate: Honesty
    serving: Honesty
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """In words: why it is promoted, or what stands against it; then what could not be judged."""
        deciding = [check for check in self.checks if check.passed is self.promoted]
        unknown = [check for check in self.checks if check.passed is None]
        return tuple(check.sentence for check in (*deciding, *unknown))

    def to_json(self) -> dict[str, Any]:
        """Everything, for the database."""
        return {**asdict(self), "reasons": list(self.reasons), "checks": [asdict(check) for check in self.checks]}


def decide(candidate: Columns, serving: Columns, rule: Rule) -> tuple[Verdict, Comparison]:
    """The verdict over two runs on the same photographs, and the comparison that it rests on.

    Raises `SetupError` where the photographs are not the same.
    """
    comparison = compare(candidate, serving, replicates=rule.replicates, seed=rule.seed)
    return weigh(comparison, honesty(candidate, rule), honesty(serving, rule), rule), comparison


def weigh(comparison: Comparison, candidate: Honesty, serving: Honesty, rule: Rule) -> Verdict:
    """The rule itself, on figures that are known."""
    gain = _difference(comparison, f"within_{rule.radius_km}_km")
    checks = (
        _enough(comparison, rule),
        _gained(gain, rule),
        _not_more(
            "invented cues",
            candidate.invented,
            serving.invented,
            rule.more_invented,
            "no held-out photograph says which cues it shows, so that invented ones cannot be told",
            lambda value: f"{value:.3f} invented cues per answer",
        ),
        _not_more(
            "calibration",
            candidate.calibration_error,
            serving.calibration_error,
            rule.worse_calibrated,
            "the models state no confidence, so that its calibration cannot be judged",
            lambda value: f"a calibration error of {100 * value:.1f} points",
        ),
        _answers(candidate.answered, serving.answered, rule.fewer_answers),
        _not_more(
            "hopeless answers",
            candidate.answered_hopeless,
            serving.answered_hopeless,
            rule.more_hopeless_answers,
            "no held-out photograph is known to tell nothing, so that answers to such cannot be judged",
            lambda value: f"{100 * value:.1f} % of the photographs that tell nothing answered",
        ),
    )
    promoted = all(check.passed is not False for check in checks)
    return Verdict(promoted, gain, comparison.n, comparison.clusters, candidate, serving, checks)


def honesty(columns: Columns, rule: Rule) -> Honesty:
    """The honesty of one run."""
    cues = cue_honesty(columns, Resampling(columns.cluster_N, replicates=0, seed=0))
    hopeless = columns.by_name["none_answered"]
    return Honesty(
        invented=None if cues is None else cues.invented.value,
        calibration_error=_calibration_error_of(columns, rule.radius_km),
        answered=float(columns.by_name["answer_rate"].value_N.mean()) if columns.n else 0.0,
        answered_hopeless=float(hopeless.value_N[hopeless.valid_N].mean()) if hopeless.valid_N.any() else None,
    )


def calibration_error(confidence_N: Floats, right_N: Floats, bins: int = _BINS) -> float:
    """How far stated confidence and the share of right answers are apart, on average, in 0..1.

    The expected calibration error over bins of equally many answers (Nguyen and O'Connor, EMNLP 2015; over bins
    of equal width it is known from Guo et al., ICML 2017, arXiv 1706.04599).
    """
    order = np.argsort(confidence_N, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    gaps = [part.size * abs(float(confidence_N[part].mean() - right_N[part].mean())) for part in parts]
    return sum(gaps) / confidence_N.size


def _calibration_error_of(columns: Columns, radius_km: int) -> float | None:
    stated = [row.prediction.confidence for row in columns.run.rows]
    confidence_N = np.array([np.nan if value is None else value for value in stated], dtype=np.float64)
    usable_N = ~np.isnan(confidence_N) & ~np.isnan(columns.km_N)
    if not usable_N.any():
        return None
    right_N = columns.by_name[f"within_{radius_km}_km"].value_N
    return calibration_error(confidence_N[usable_N], right_N[usable_N])


def _difference(comparison: Comparison, name: str) -> Difference:
    for difference in comparison.differences:
        if difference.name == name:
            return difference
    raise SetupError(f"{comparison.a} and {comparison.b} have no photograph in common that both can be judged by")


def _enough(comparison: Comparison, rule: Rule) -> Check:
    counts = f"{comparison.n:,} photographs of {comparison.clusters:,} photographers or places"
    if comparison.clusters >= rule.least_clusters:
        return Check("enough", True, f"judged on {counts}")
    return Check("enough", False, f"judged on {counts} only, where {rule.least_clusters} are the least to go by")


def _gained(gain: Difference, rule: Rule) -> Check:
    was = f"{100 * gain.a:.1f} % within {rule.radius_km:,} km against {100 * gain.b:.1f} %"
    if gain.low is None or gain.high is None:
        return Check("gain", False, f"{was}, and no interval can be had of it")
    told = f"{was}: {100 * gain.value:+.1f} points, interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    if gain.low > 0:
        return Check("gain", True, told)
    if gain.high < 0:
        return Check("gain", False, f"{told}: it is worse")
    return Check("gain", False, f"{told}: that may be chance")


def _not_more(
    name: str,
    new: float | None,
    old: float | None,
    tolerance: float,
    unknown: str,
    words: Callable[[float], str],
) -> Check:
    if new is None and old is not None:
        return Check(name, None, "the new model gave no answer by which this could be judged")
    if new is None or old is None:
        return Check(name, None, unknown)
    told = f"{words(new)} against {words(old)}"
    if new - old <= tolerance:
        return Check(name, True, told)
    return Check(name, False, f"{told}: worse by more than the tolerated {tolerance:g}")


def _answers(new: float, old: float, tolerance: float) -> Check:
    told = f"{100 * new:.1f} % answered against {100 * old:.1f} %"
    if old - new <= tolerance:
        return Check("answers", True, told)
    return Check("answers", False, f"{told}: fewer by more than the tolerated {100 * tolerance:g} points")


def figures_of(comparison: Comparison) -> dict[str, Mapping[str, float | None]]:
    """The paired figures by name, for the database: both means, the difference and its interval."""
    return {
        each.name: {"new": each.a, "serving": each.b, "difference": each.value, "low": each.low, "high": each.high}
        for each in comparison.differences
    }
