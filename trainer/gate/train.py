"""Fits a head to an archive's outcomes, or says with counts why that cannot be done; then the zero-shot head
stays."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.gate.fit import FOLDS, NoSignal, cross_fit, fit_head, within
from trainer.gate.logistic import Bools, Floats
from trainer.gate.measures import figures
from trainer.gate.outcomes import CELL_KM, Outcomes
from trainer.gate.risk import CONFIDENCE, Choice, choose_threshold, risk_steps
from trainer.judge.ranking import Ranking
from worker.errors import SetupError
from worker.gate.head import Card, Head, array_hash, weights_hash
from worker.identity import ModelIdentity

RADII_KM = (25, 200, 750)
MIN_PHOTOGRAPHS = 200
MIN_CELLS = 10
MIN_OF_EACH = 30
"""So many must lie within the first radius, and so many must not."""
MIN_ELSEWHERE = 50
"""So many must lie outside of the fullest cell."""
MOST_PHOTOGRAPHS = 50_000
"""More are drawn by chance: the fit's time grows with their number, and no head of so few weights needs them."""

STAYS = "the zero-shot head stays"


def train_head(
    outcomes: Outcomes,
    *,
    backbone: ModelIdentity,
    reference_P_D: NDArray[np.float32],
    max_risk: float,
    zero_shot_N: Floats | None = None,
    seed: int = 0,
) -> Head:
    """The head, with a card that says how it does at places that it has not seen.

    `reference_P_D` are the backbone's embeddings of the reference pictures; `zero_shot_N` the zero-shot head's
    scores of the same photographs, for comparison. The same outcomes and seed give the same head. Raises
    `SetupError` with counts where there is too little to learn from, nothing to be learnt, or no threshold that is
    proven to keep the risk.
    """
    refuse_too_little(outcomes)
    drawn_N = _drawn(len(outcomes.id_N), seed)
    embedding_N_D = outcomes.embedding_N_D[drawn_N].astype(np.float64)
    km_N, cells = outcomes.km_N[drawn_N], [outcomes.cell_N[row] for row in drawn_N]
    within_N_R = within(km_N, RADII_KM)
    try:
        chance_N_R = cross_fit(embedding_N_D, within_N_R, cells, seed=seed)
        fitted = fit_head(embedding_N_D, within_N_R, cells, seed=seed)
    except NoSignal as error:
        raise _no_signal(outcomes, str(error)) from error
    metrics = _metrics(chance_N_R, within_N_R, km_N, cells)
    if metrics["within_km"][str(RADII_KM[0])]["auroc"] <= 0.5:
        raise _no_signal(outcomes, "at places that it has not seen it orders photographs no better than chance")
    metrics |= {"precision": fitted.precision, "slope": fitted.slope}
    if zero_shot_N is not None:
        metrics["zero_shot_auroc"] = Ranking(zero_shot_N[drawn_N], within_N_R[:, 0]).auroc()
    choice = _threshold(chance_N_R[:, 0], km_N, cells, max_risk)
    metrics["threshold"] = asdict(choice)
    weight_D, bias_R = fitted.fit.weight_D, fitted.fit.bias_R
    card = Card(
        backbone=backbone.name,
        backbone_version=backbone.version,
        pretrained=pretrained_tag(backbone.name),
        radii_km=RADII_KM,
        target=f"the pipeline's point lies within {', '.join(map(str, RADII_KM))} km of the known place",
        pipeline=outcomes.pipeline,
        threshold=choice.threshold,
        max_risk=max_risk,
        confidence=choice.confidence,
        data_hash=outcomes.data_hash,
        weights_hash=weights_hash(weight_D, bias_R, RADII_KM),
        reference_hash=array_hash(reference_P_D),
        metrics=metrics,
    )
    return Head(card, weight_D, bias_R, reference_P_D)


def refuse_too_little(outcomes: Outcomes) -> None:
    """Raises `SetupError` with counts where no head can be fitted and judged."""
    count, cells = len(outcomes.id_N), Counter(outcomes.cell_N)
    near = int((outcomes.km_N <= RADII_KM[0]).sum())
    told = f"{count:,} photographs in {len(cells):,} cells of {CELL_KM:.0f} km, {near:,} within {RADII_KM[0]} km"
    told += "".join(f"; left out {n:,}: {why}" for why, n in sorted(outcomes.left_out.items()))
    fullest = max(cells.values(), default=0)
    if count < MIN_PHOTOGRAPHS:
        fault = f"too few outcomes to fit a gate, at least {MIN_PHOTOGRAPHS} are needed"
    elif len(cells) < MIN_CELLS or count - fullest < MIN_ELSEWHERE:
        fault = (
            f"too few places to fit a gate: the fullest cell holds {fullest:,}; at least {MIN_CELLS} cells and"
            f" {MIN_ELSEWHERE} photographs outside of the fullest are needed"
        )
    elif min(near, count - near) < MIN_OF_EACH:
        fault = f"outcomes are too much alike to fit a gate, at least {MIN_OF_EACH} of each kind are needed"
    else:
        return
    raise SetupError(f"{fault} ({told}); {STAYS}")


def pretrained_tag(backbone: str) -> str | None:
    """The tag in open_clip's NAME:PRETRAINED; None for folders and hub repositories."""
    name, colon, tag = backbone.partition(":")
    return tag if colon and "/" not in backbone and name not in ("hf-hub", "local-dir") else None


def _metrics(chance_N_R: Floats, within_N_R: Bools, km_N: Floats, cells: list[str]) -> dict[str, Any]:
    return {
        "photographs": len(cells),
        "cells": len(set(cells)),
        "located": int(np.isfinite(km_N).sum()),
        "folds": FOLDS,
        "within_km": {str(km): figures(chance_N_R[:, r], within_N_R[:, r]) for r, km in enumerate(RADII_KM)},
    }


def _threshold(chance_N: Floats, km_N: Floats, cells: list[str], max_risk: float) -> Choice:
    """Chosen on cross-fitted chances; the head that serves saw a quarter more places than those that gave them."""
    located_N, wrong_N = np.isfinite(km_N), km_N > RADII_KM[0]
    choice = choose_threshold(chance_N, located_N, wrong_N, cells, max_risk=max_risk)
    if choice is not None:
        return choice
    steps = risk_steps(chance_N, located_N, wrong_N, cells)
    best = min(steps, key=lambda step: step.upper)
    raise SetupError(
        f"no threshold is proven to keep the share of points that are more than {RADII_KM[0]} km off at"
        f" {max_risk:.2f}: best are the {best.points:,} surest of {steps[-1].points:,} points, {best.risk:.3f} of"
        f" them wrong, at most {best.upper:.3f} with {CONFIDENCE:.0%} confidence; choose a larger --max-risk"
        f" or bring more places; {STAYS}"
    )


def _no_signal(outcomes: Outcomes, fault: str) -> SetupError:
    return SetupError(
        f"the embeddings tell nothing of where this pipeline succeeds ({fault}; {len(outcomes.id_N):,} photographs"
        f" in {len(set(outcomes.cell_N)):,} cells); {STAYS}"
    )


def _drawn(count: int, seed: int) -> NDArray[np.int64]:
    if count <= MOST_PHOTOGRAPHS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MOST_PHOTOGRAPHS, replace=False))
