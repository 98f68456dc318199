"""Makes P(yes) mean what it says, on places that were not trained on, and says how good it is there.

The figures after calibration are cross-fitted: each place cell's probabilities are calibrated by the other cells
alone. The calibration that is kept is fitted to all of them. Axes: N samples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.gate.folds import folds_by_cell
from trainer.gate.measures import figures
from trainer.rewards.calibration import Calibration
from worker.errors import SetupError

FOLDS = 5

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def calibrated(
    p_N: Sequence[float | None], yes_N: Sequence[bool], cells: Sequence[str], *, seed: int
) -> tuple[Calibration, dict[str, Any]]:
    """The calibration, and figures for the card: counts, `raw` and `calibrated` (`trainer.gate.measures.figures`).

    Samples about which the model says neither yes nor no are counted and left out. Raises `SetupError` where what
    is left has one kind of outcome only, or the model orders samples no better than chance.
    """
    told = [row for row, p in enumerate(p_N) if p is not None]
    p = np.array([p_N[row] for row in told], dtype=np.float64)
    yes = np.array([yes_N[row] for row in told], dtype=np.bool_)
    where = [cells[row] for row in told]
    whole = Calibration.fit(p.tolist(), yes.tolist())
    raw = figures(p, yes)
    if whole.slope <= 0 or raw["auroc"] <= 0.5:
        raise SetupError(
            f"on {len(told):,} samples of places that it has not seen the model orders yes and no no better than"
            f" chance (AUROC {raw['auroc']:.3f}); bring more samples, or train it longer"
        )
    crossed = cross_calibrated(p, yes, where, seed=seed)
    return whole, {
        "samples": len(p_N),
        "neither_yes_nor_no": len(p_N) - len(told),
        "cells": len(set(where)),
        "raw": raw,
        "calibrated": None if crossed is None else figures(crossed, yes),
    }


def cross_calibrated(p_N: Floats, yes_N: Bools, cells: Sequence[str], *, seed: int) -> Floats | None:
    """Each probability calibrated by the other cells; None where some of these have one kind of outcome only."""
    folds = min(FOLDS, len(set(cells)))
    if folds < 2:
        return None
    fold_N = folds_by_cell(cells, folds, seed=seed)
    found_N = np.empty(len(p_N))
    for fold in range(folds):
        others_N = fold_N != fold
        if yes_N[others_N].all() or not yes_N[others_N].any():
            return None
        calibration = Calibration.fit(p_N[others_N].tolist(), yes_N[others_N].tolist())
        found_N[~others_N] = [calibration(p) for p in p_N[~others_N].tolist()]
    return found_N
