"""Order and calibration of the reward model beside the gate's head, on the same scenes.

Two questions are put. Of answers that name a place: is it within 25 km? And of all scenes, as the gate is judged:
does the pipeline come within 25 km? There an answer without a place is wrong, and its score is 0, since the
reward model is asked after the answer is known. That costs an answer; the gate is asked so that none is needed.

AUROC is the mean over the seeds, each on its own third of the places; its intervals are 95 %, by bootstrap over
photographers, paired for the difference. Brier and ECE are over the scenes of all seeds together: each scene is
judged once. Axes: N scenes, B replicates.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.reward_model.answers import Row, Study
from trainer.gate.measures import brier, calibration_error, reliability
from trainer.judge.intervals import Resampling, percentile_interval
from trainer.judge.ranking import Ranking

REPLICATES = 1000
UNSAID = 0.5
"""Stands for a P(yes) where neither yes nor no was said."""

Floats = NDArray[np.float64]
Scorer = Callable[[Study, Row], float]

MODEL, GATE = "reward model", "gate's head"


def _p(row: Row, value: float | None) -> float:
    return 0.0 if not row.named else UNSAID if value is None else value


SCORERS: Mapping[str, Scorer] = {
    MODEL: lambda _, row: _p(row, row.p),
    "with another picture": lambda _, row: _p(row, row.p_swapped),
    "before training": lambda _, row: _p(row, row.p_untrained),
    "its own words": lambda _, row: row.own if row.named else -np.inf,
    GATE: lambda _, row: row.gate,
}
"""Higher is surer."""


def figures_of(studies: Sequence[Study], split: str, replicates: int = REPLICATES) -> dict[str, float | None]:
    """All figures of one split, and a table for people."""
    figures: dict[str, float | None] = {}
    table = Table(title=f"{split}: within 25 km, places not trained on", title_justify="left")
    for heading in ("score", "AUROC, answers that name a place", "AUROC, all scenes"):
        table.add_column(heading)
    drawn: dict[str, dict[str, Floats]] = {}
    for name, scorer in SCORERS.items():
        cells = []
        for which, suffix in (("named", ""), ("all", "_all")):
            value, drawn_B = auroc(studies, split, scorer, named=which == "named", replicates=replicates)
            drawn.setdefault(which, {})[name] = drawn_B
            figures[f"auroc_{short(name)}{suffix}_{split}"] = value
            low, high = percentile_interval(drawn_B)
            cells.append(f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})"))
        table.add_row(name, *cells)
    Console(width=120).print(table)
    for which, suffix in (("named", ""), ("all", "_all")):
        low, high = percentile_interval(drawn[which][MODEL] - drawn[which][GATE])
        gain = (figures[f"auroc_{short(MODEL)}{suffix}_{split}"] or 0.0) - (
            figures[f"auroc_{short(GATE)}{suffix}_{split}"] or 0.0
        )
        figures |= {f"auroc_gain{suffix}_{split}": gain, f"auroc_gain{suffix}_low_{split}": low,
                    f"auroc_gain{suffix}_high_{split}": high}  # fmt: skip
        bounds = "no interval" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"
        print(f"{split}, {which}: AUROC of the reward model - the gate's head: {gain:+.3f} ({bounds})", flush=True)
    return figures | _calibration(studies, split)


def auroc(
    studies: Sequence[Study], split: str, scorer: Scorer, *, named: bool, replicates: int
) -> tuple[float, Floats]:
    """The mean over the seeds, and the same for each replicate of the bootstrap."""
    rows = {study.seed: [row for row in study.rows[split] if row.named or not named] for study in studies}
    photographers = sorted({row.photographer for each in rows.values() for row in each})
    number = {photographer: place for place, photographer in enumerate(photographers)}
    rankings = [
        (
            Ranking(np.array([scorer(study, row) for row in rows[study.seed]]),
                    np.array([row.right for row in rows[study.seed]])),
            np.array([number[row.photographer] for row in rows[study.seed]]),
        )
        for study in studies
    ]  # fmt: skip
    resampling = Resampling(np.arange(len(photographers)), replicates=replicates, seed=0)
    drawn = [
        float(np.mean([ranking.auroc(weight_C[cluster_N]) for ranking, cluster_N in rankings]))
        for weight_C in resampling.weights()
    ]
    return float(np.mean([ranking.auroc() for ranking, _ in rankings])), np.array(drawn)


def _calibration(studies: Sequence[Study], split: str) -> dict[str, float | None]:
    """Brier and ECE of chances, over answers that name a place."""
    pairs = [(study, row) for study in studies for row in study.rows[split] if row.named]
    right_N = np.array([row.right for _, row in pairs])
    chances: dict[str, Floats] = {
        "raw": np.array([_p(row, row.p) for _, row in pairs]),
        "calibrated": np.array([study.calibration(_p(row, row.p)) for study, row in pairs]),
        "gate": np.array([row.gate for _, row in pairs]),
    }
    figures: dict[str, float | None] = {
        f"scenes_{split}": float(len({row.id for study in studies for row in study.rows[split]})),
        f"answers_{split}": float(len(pairs)),
        f"right_share_{split}": float(right_N.mean()),
    }
    for name, chance_N in chances.items():
        figures[f"brier_{name}_{split}"] = brier(chance_N, right_N)
        figures[f"ece_{name}_{split}"] = calibration_error(chance_N, right_N)
        tenths = ", ".join(
            f"{each.mean_chance:.2f} {each.share_within:.2f}" for each in reliability(chance_N, right_N)
        )
        said = f"Brier {figures[f'brier_{name}_{split}']:.3f}, ECE {figures[f'ece_{name}_{split}']:.3f}"
        print(f"{split}, {name}: {said}; chance and share by tenths: {tenths}", flush=True)
    share = float(right_N.mean())
    figures[f"brier_same_for_all_{split}"] = share * (1 - share)
    return figures


def short(name: str) -> str:
    """Of a score, for a figure's name."""
    return {MODEL: "model", GATE: "gate", "with another picture": "other_picture", "before training": "untrained",
            "its own words": "own_words"}[name]  # fmt: skip
