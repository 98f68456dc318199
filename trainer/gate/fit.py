"""From embeddings and outcomes to a calibrated head, everything cross-fitted by place cell.

1. The prior's precision is the one of `PRECISIONS` whose models say best (log loss over all radii) what
   happened in cells that they have not seen.
2. The same cross-fitted scores show how much too sure or unsure such models are at new places: one factor on the
   slope and a bias for each radius (Platt, 1999), fitted by the same regression on the score alone.
3. The slope is fitted once more to everything, and gets that factor and those biases.

Figures for a card come from the whole of this done again without each outer fold (`cross_fit`): no place that
a chance is judged at had any part in it, not in the precision and not in the calibration either.

Axes: N pictures, D embedding dimensions, R radii.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.gate.folds import folds_by_cell
from trainer.gate.logistic import Bools, Fit, Floats, fit_logistic
from worker.gate.head import sigmoid

PRECISIONS = (3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
"""For inputs of mean 0 and mean square 1 over all dimensions together (`_Scale`), flattest first."""
FOLDS = 5
_TUNING_ROWS = 4000
"""The precision is chosen on so many pictures at most, drawn by chance: a prior does not hang on their number."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibrated model in terms of raw embeddings. `slope` is Platt's factor: 1 is a model that knew how
    sure."""

    fit: Fit
    precision: float
    slope: float

    def chances(self, embedding_N_D: Floats) -> Floats:
        """Shape (N, R), rising along R."""
        return sigmoid(self.fit.logits(embedding_N_D))


class NoSignal(ValueError):
    """At places that it has not seen the model does not do better than the same chance for all."""


def within(km_N: Floats, radii_km: Sequence[int]) -> Bools:
    """Which pictures lie within which radius, shape (N, R); infinite where there was no place."""
    return km_N[:, None] <= np.array(radii_km, dtype=np.float64)


def fit_head(embedding_N_D: Floats, within_N_R: Bools, cells: Sequence[str], *, seed: int) -> Fitted:
    """Chooses, calibrates and fits. Raises `NoSignal` where embeddings tell nothing of the outcomes."""
    rows = _tuning_rows(len(cells), seed)
    tuned = [cells[row] for row in rows]
    precision = _choose(embedding_N_D[rows], within_N_R[rows], tuned, seed)
    score_N = _cross_scores(embedding_N_D, within_N_R, cells, (precision,), seed)[0]
    scale = float(score_N.std())
    if scale <= 1e-9:
        raise NoSignal("all photographs get the same score")
    platt = fit_logistic((score_N / scale)[:, None], within_N_R, precision=1e-6)
    slope = float(platt.weight_D[0]) / scale
    if slope <= 0:
        raise NoSignal("photographs with higher scores are placed less often")
    whole = _fit_scaled(embedding_N_D, within_N_R, precision)
    centre = float(_mean_logit(whole, embedding_N_D))
    # Cross-fitted scores are w . (x - mean); the biases go with that origin.
    return Fitted(Fit(slope * whole.weight_D, platt.bias_R - slope * centre), precision, slope)


def cross_fit(embedding_N_D: Floats, within_N_R: Bools, cells: Sequence[str], *, seed: int) -> Floats:
    """The chances of each picture by a head that saw no picture of its cell, shape (N, R)."""
    fold_N = folds_by_cell(cells, FOLDS, seed=seed)
    chance_N_R = np.empty(within_N_R.shape)
    for fold in range(FOLDS):
        learnt_N = fold_N != fold
        seen = [cell for cell, learnt in zip(cells, learnt_N, strict=True) if learnt]
        model = fit_head(embedding_N_D[learnt_N], within_N_R[learnt_N], seen, seed=seed + 1 + fold)
        chance_N_R[~learnt_N] = model.chances(embedding_N_D[~learnt_N])
    return chance_N_R


def _choose(embedding_N_D: Floats, within_N_R: Bools, cells: Sequence[str], seed: int) -> float:
    """The precision with the least cross-fitted log loss, each calibrated as it would be."""
    losses = []
    for score_N in _cross_scores(embedding_N_D, within_N_R, cells, PRECISIONS, seed):
        scale = float(score_N.std())
        if scale <= 1e-9:
            losses.append(np.inf)
            continue
        platt = fit_logistic((score_N / scale)[:, None], within_N_R, precision=1e-6)
        z_N_R = platt.logits((score_N / scale)[:, None])
        losses.append(float(np.sum(np.logaddexp(0.0, z_N_R) - within_N_R * z_N_R)))
    return PRECISIONS[int(np.argmin(losses))]


def _cross_scores(
    embedding_N_D: Floats, within_N_R: Bools, cells: Sequence[str], precisions: Sequence[float], seed: int
) -> list[Floats]:
    """For each precision the score w . (x - mean) of each picture by a model that saw none of its cell."""
    fold_N = folds_by_cell(cells, FOLDS, seed=seed)
    found = [np.empty(len(cells)) for _ in precisions]
    for fold in range(FOLDS):
        learnt_N = fold_N != fold
        scale = _Scale.of(embedding_N_D[learnt_N])
        x_N_D = scale.apply(embedding_N_D[learnt_N])
        unseen_N_D = scale.apply(embedding_N_D[~learnt_N])
        fit: Fit | None = None
        for score_N, precision in zip(found, precisions, strict=True):
            fit = fit_logistic(x_N_D, within_N_R[learnt_N], precision=precision, start=fit)
            score_N[~learnt_N] = unseen_N_D @ fit.weight_D
    return found


@dataclass(frozen=True, slots=True)
class _Scale:
    """Embeddings made comparable: centred, and of mean square length D. Turning the space changes nothing."""

    mean_D: Floats
    length: float

    @classmethod
    def of(cls, embedding_N_D: Floats) -> "_Scale":
        mean_D = embedding_N_D.mean(axis=0)
        return cls(mean_D, max(float(np.sqrt(np.mean((embedding_N_D - mean_D) ** 2))), 1e-12))

    def apply(self, embedding_N_D: Floats) -> Floats:
        scaled_N_D: Floats = (embedding_N_D - self.mean_D) / self.length
        return scaled_N_D


def _fit_scaled(embedding_N_D: Floats, within_N_R: Bools, precision: float) -> Fit:
    """Fitted on scaled embeddings; in terms of raw ones."""
    scale = _Scale.of(embedding_N_D)
    fit = fit_logistic(scale.apply(embedding_N_D), within_N_R, precision=precision)
    weight_D = fit.weight_D / scale.length
    return Fit(weight_D, fit.bias_R - weight_D @ scale.mean_D)


def _mean_logit(fit: Fit, embedding_N_D: Floats) -> float:
    return float(embedding_N_D.mean(axis=0) @ fit.weight_D)


def _tuning_rows(count: int, seed: int) -> NDArray[np.int64]:
    if count <= _TUNING_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, _TUNING_ROWS, replace=False))
