"""How well scores put right answers before wrong ones, with whole weights, as a bootstrap needs them.

Equal scores are in no order: each figure is the mean over the orders that they could be in. With weights of 1 the
figures are those of `trainer.judge.selective`.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Ranking:
    """Scores (higher = surer) and which answers were right, sorted once for many sets of weights. N answers."""

    def __init__(self, score_N: Floats, right_N: Bools) -> None:
        """Raises `ValueError` for scores that have no order."""
        if np.isnan(score_N).any():
            raise ValueError("a score is not a number")
        order_N = np.argsort(-score_N, kind="stable")
        sorted_N = score_N[order_N]
        self._order_N = order_N
        self._right_N = right_N[order_N]
        self._start_G = np.flatnonzero(np.concatenate([[True], sorted_N[1:] != sorted_N[:-1]]))

    def auroc(self, weight_N: Floats | None = None) -> float:
        """The chance that a right answer has a higher score than a wrong one; NaN without either."""
        right_G, wrong_G = self._by_score(weight_N)
        right, wrong = right_G.sum(), wrong_G.sum()
        if right == 0 or wrong == 0:
            return float("nan")
        below_G = wrong - np.cumsum(wrong_G)
        return float(right_G @ (below_G + wrong_G / 2) / (right * wrong))

    def aurc(self, weight_N: Floats | None = None) -> float:
        """The mean risk over all coverages 1/n ... n/n (Geifman and El-Yaniv 2017), lower is better."""
        rank_M, wrong_M = self._wrong_to_rank(weight_N)
        return float(np.mean(wrong_M / rank_M)) if rank_M.size else float("nan")

    def accuracy_at(self, coverage: float, weight_N: Floats | None = None) -> float:
        """The share of right ones among the surest share of all; NaN where that is less than one answer."""
        rank_M, wrong_M = self._wrong_to_rank(weight_N)
        count = round(coverage * rank_M.size)
        return float(1 - wrong_M[count - 1] / count) if count else float("nan")

    def _by_score(self, weight_N: Floats | None) -> tuple[Floats, Floats]:
        """How many right and wrong ones have each score, from the highest down."""
        weight_N = np.ones(self._right_N.size) if weight_N is None else weight_N[self._order_N]
        if weight_N.size == 0:
            return np.zeros(0), np.zeros(0)
        right_G = np.add.reduceat(weight_N * self._right_N, self._start_G)
        return right_G, np.add.reduceat(weight_N, self._start_G) - right_G

    def _wrong_to_rank(self, weight_N: Floats | None) -> tuple[Floats, Floats]:
        """The expected number of wrong ones among the first 1, 2, ... answers."""
        right_G, wrong_G = self._by_score(weight_N)
        to_G = np.concatenate([[0.0], np.cumsum(right_G + wrong_G)])
        rank_M = np.arange(1.0, round(to_G[-1]) + 1)
        return rank_M, np.interp(rank_M, to_G, np.concatenate([[0.0], np.cumsum(wrong_G)]))
