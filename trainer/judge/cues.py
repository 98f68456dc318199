"""Cue honesty: the reasons that an answer states against what the picture really shows.

From two lists for each image: `stated_cues` of the prediction, `true_cues` of the truth. They are sets, so that
repeating a true cue gains nothing, and naming more is paid for by each invented one (GLOBE's published reward
only measures recall, and never punishes an invention).
"""

from dataclasses import dataclass

import numpy as np

from trainer.judge.columns import Columns
from trainer.judge.distance import Floats
from trainer.judge.intervals import Resampling, percentile_interval
from trainer.judge.records import Outcome

_ANSWERS = frozenset({Outcome.LOCATED, Outcome.REFUSED, Outcome.UNRESOLVED})


@dataclass(frozen=True, slots=True)
class Ratio:
    """`over` of `under`, with its interval. `value` is None for a share of nothing."""

    over: int
    under: int
    low: float | None
    high: float | None

    @property
    def value(self) -> float | None:
        return self.over / self.under if self.under else None


@dataclass(frozen=True, slots=True)
class CueHonesty:
    """Over the answers (located, refused or unresolved) with both lists; `left_out` have no answer or no lists.

    `precision`: of the stated cues, those that are there. `recall`: of the true cues, those that are stated.
    `invented`: stated but not there, per answer. `honest`: answers without any invented cue.
    """

    images: int
    left_out: int
    precision: Ratio
    recall: Ratio
    invented: Ratio
    honest: Ratio

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; 0 where nothing is right."""
        precision, recall = self.precision.value, self.recall.value
        if precision is None or recall is None:
            return None
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def cue_honesty(columns: Columns, resampling: Resampling) -> CueHonesty | None:
    """None where no answer has both lists."""
    counts_N_5 = np.zeros((columns.n, 5))
    for number, row in enumerate(columns.run.rows):
        stated, true = row.prediction.stated_cues, row.truth.true_cues
        if row.prediction.outcome in _ANSWERS and stated is not None and true is not None:
            right, invented = len(stated & true), len(stated - true)
            counts_N_5[number] = right, len(stated), len(true), invented, 1
    right_N, stated_N, true_N, invented_N, judged_N = counts_N_5.T
    images = int(judged_N.sum())
    if images == 0:
        return None
    honest_N = judged_N * (invented_N == 0)
    pairs = ((right_N, stated_N), (right_N, true_N), (invented_N, judged_N), (honest_N, judged_N))
    precision, recall, invented_ratio, honest = _ratios(pairs, resampling)
    return CueHonesty(images, columns.n - images, precision, recall, invented_ratio, honest)


def _ratios(pairs: tuple[tuple[Floats, Floats], ...], resampling: Resampling) -> list[Ratio]:
    over_F_C = np.array([resampling.sums(over_N) for over_N, _ in pairs])
    under_F_C = np.array([resampling.sums(under_N) for _, under_N in pairs])
    values_B_F = np.full((resampling.replicates, len(pairs)), np.nan)
    for replicate, weight_C in enumerate(resampling.weights()):
        under_F = under_F_C @ weight_C
        np.divide(over_F_C @ weight_C, under_F, out=values_B_F[replicate], where=under_F > 0)
    return [
        Ratio(int(over_N.sum()), int(under_N.sum()), *percentile_interval(values_B_F[:, number]))
        for number, (over_N, under_N) in enumerate(pairs)
    ]
