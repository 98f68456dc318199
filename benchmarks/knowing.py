"""Knowing when not: does the trained head know better than older scores which scenes this pipeline places?

The Atlas model answers scenes of the splits `calibration`, `test` and `shift` (weather that no training
showed), each once. The head is fitted to outcomes on `calibration`, for each of three seeds on two thirds of
its photographers. Every score then orders the scenes of `test` and `shift`; right is a greedy answer within 25
km, and one without a place is wrong. Reported are AUROC, the area under the risk-coverage curve (AURC, lower
is better) and the accuracy of the surest 50, 70 and 90 %, as means over the seeds. Intervals are 95 %, by
bootstrap over photographers. The differences beneath are paired: head and baseline on the same draws.

- zero-shot prompts: the gate without a trained head.
- class areas: the true areas of a scene's classes, weighted by how much a class tells of the country in this
  world. A segmentation model would see less, and GeoReasoner's weights come from text alone: it is an upper bound.
- country probability: the gate's backbone as a classifier of this world's countries.
- neighbour spread: among the ten most similar scenes of `calibration`.
- model says yes: stands for a yes-or-no question; the share of four sampled answers that name a place at all. It
  costs four answers for each scene, where the gate is asked so that none is needed.

`auroc_head` and `auroc_best_baseline` are of `test`. Answers are stored below GLOBETAG_HOME. `--quick` takes
what is stored, and where little is, answers few scenes: its intervals are wide then.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from atlas.areas import CLASSES
from atlas.cues import KINDS
from atlas.world import World, load_world
from benchmarks import harness
from benchmarks.knowing_store import Answered, Models, answered, stored_count
from trainer.curate.cells import Grid
from trainer.gate.baselines import (
    Baseline,
    ClassAreas,
    CountryProbability,
    ModelSaysYes,
    NeighbourSpread,
    Photographs,
    ZeroShotPrompts,
)
from trainer.gate.fit import fit_head, within
from trainer.gate.measures import calibration_error
from trainer.gate.outcomes import CELL_KM
from trainer.gate.train import RADII_KM
from trainer.judge.intervals import Resampling, percentile_interval
from trainer.judge.ranking import Ranking
from worker.settings import load

COVERAGES = (0.5, 0.7, 0.9)
HEAD = "trained head"
SAMPLES = 4
SHARE_LEARNT = 2 / 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Size:
    """How many scenes of each split, and how many replicates of the bootstrap."""

    calibration: int
    judged: int
    replicates: int


FULL = Size(calibration=1500, judged=1000, replicates=1000)
QUICK = Size(calibration=240, judged=64, replicates=200)
SEEDS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Score:
    """How well one score orders one split: values by figure, and those of each replicate of the bootstrap.

    `ece` is for chances alone.
    """

    values: Mapping[str, float]
    drawn_B: Mapping[str, Floats]
    ece: float | None = None


def main() -> None:
    """Measures and reports."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--store", type=Path, help="folder of stored answers  [default: below GLOBETAG_HOME]")
    given: argparse.Namespace = parser.parse_args()
    folder = given.store or load()[0].home / "benchmarks" / "knowing"
    world, models = load_world(), Models()
    try:
        learnt, judged = scenes_of(folder, world, models, quick=given.quick)
        baselines = baselines_of(world, models, learnt)
    finally:
        models.close()
    size = QUICK if given.quick else FULL
    figures: dict[str, float | None] = {}
    for split, scenes in judged.items():
        scores = compare(learnt, scenes, baselines, SEEDS, size.replicates)
        show(split, scenes, scores)
        figures |= figures_of(split, scores)
    figures |= {name: figures[f"{name}_test"] for name in ("auroc_head", "auroc_best_baseline")}
    figures |= {"scenes_learnt": len(learnt), "scenes_judged": len(judged["test"])}
    units = {name: "count" if name.startswith("scenes") else "share" for name in figures}
    harness.report("knowing", figures, units)


def scenes_of(folder: Path, world: World, models: Models, *, quick: bool) -> tuple[Answered, dict[str, Answered]]:
    """The answered scenes to learn from, and those to judge by, by split."""

    def get(split: str, few: int, many: int, samples: int) -> Answered:
        there = stored_count(folder, world, split, models, samples=samples)
        count = max(few, min(many, there)) if quick else many
        return answered(folder, world, split, count, models, samples=samples)

    learnt = get("calibration", QUICK.calibration, FULL.calibration, 0)
    return learnt, {split: get(split, QUICK.judged, FULL.judged, SAMPLES) for split in ("test", "shift")}


def baselines_of(world: World, models: Models, gallery: Answered) -> list[Baseline]:
    """All of them, for this world."""
    countries = sorted({city.country for city in world.cities if city.geoname_id not in world.unseen})
    return [
        ZeroShotPrompts(models.gate.zero_shot),
        ClassAreas(class_weights(world)),
        CountryProbability(
            models.gate.encode_texts([f"a photo taken in {country}" for country in countries]),
            models.gate.logit_scale,
        ),
        NeighbourSpread(gallery.embedding_N_D, gallery.lat_N, gallery.lon_N),
        ModelSaysYes(),
    ]


def class_weights(world: World) -> dict[str, float]:
    """How much each kind of cue tells of the country: mutual information over the entropy of countries, in 0..1.

    Classes that stand everywhere tell nothing.
    """
    codes = [city.country_code for city in world.cities]
    groups = [np.flatnonzero([code == each for code in codes]) for each in dict.fromkeys(codes)]
    share_Y = np.array([world.prior_C[rows].sum() for rows in groups])
    kept = share_Y > 0
    entropy = -float(share_Y[kept] @ np.log(share_Y[kept]))
    weights = {}
    for kind in KINDS:
        probs_C_V = world.probs_C_V[kind.name]
        joint_Y_V = np.stack([world.prior_C[rows] @ probs_C_V[rows] for rows in groups])[kept]
        apart_Y_V = joint_Y_V.sum(axis=1, keepdims=True) * joint_Y_V.sum(axis=0)
        some = joint_Y_V > 0
        weights[kind.name] = float(np.sum(joint_Y_V[some] * np.log(joint_Y_V[some] / apart_Y_V[some]))) / entropy
    return weights


def compare(
    learnt: Answered, judged: Answered, baselines: Sequence[Baseline], seeds: Sequence[int], replicates: int
) -> dict[str, list[Score]]:
    """Every score on one split: by name, one `Score` for each seed. Baselines have one, they learn nothing."""
    right_N = judged.km_N <= RADII_KM[0]
    clusters_N = np.unique(judged.photographer_N, return_inverse=True)[1]
    areas = [dict(zip(CLASSES, row_C.tolist(), strict=True)) for row_C in judged.area_N_C]
    photographs = Photographs(judged.embedding_N_D, areas, judged.named_N)
    scores: dict[str, list[Score]] = {}
    resampling = Resampling(clusters_N, replicates=replicates, seed=0)
    for seed in seeds:
        chance_N = head_chances(learnt, judged, seed)
        found = _score(chance_N, right_N, resampling, ece=calibration_error(chance_N, right_N))
        scores.setdefault(HEAD, []).append(found)
    for baseline in baselines:
        scores[baseline.name] = [_score(baseline.scores(photographs), right_N, resampling)]
    return scores


def head_chances(learnt: Answered, judged: Answered, seed: int) -> Floats:
    """P(within 25 km) of the judged scenes by a head that was fitted to two thirds of the photographers."""
    rng = np.random.default_rng(seed)
    photographers = np.unique(learnt.photographer_N)
    chosen = rng.choice(photographers, round(SHARE_LEARNT * photographers.size), replace=False)
    part = learnt.part(np.flatnonzero(np.isin(learnt.photographer_N, chosen)))
    grid = Grid(CELL_KM)
    cells = [grid.cell(lat, lon) for lat, lon in zip(part.lat_N.tolist(), part.lon_N.tolist(), strict=True)]
    fitted = fit_head(part.embedding_N_D.astype(np.float64), within(part.km_N, RADII_KM), cells, seed=seed)
    return fitted.chances(judged.embedding_N_D.astype(np.float64))[:, 0]


def _score(score_N: Floats, right_N: NDArray[np.bool_], resampling: Resampling, ece: float | None = None) -> Score:
    ranking = Ranking(score_N, right_N)
    values = _figures(ranking, None)
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for weight_C in resampling.weights():
        for name, value in _figures(ranking, weight_C[resampling.cluster_N]).items():
            drawn[name].append(value)
    return Score(values, {name: np.array(each) for name, each in drawn.items()}, ece)


def _figures(ranking: Ranking, weight_N: Floats | None) -> dict[str, float]:
    at = {f"accuracy_{share:.0%}": ranking.accuracy_at(share, weight_N) for share in COVERAGES}
    return {"auroc": ranking.auroc(weight_N), "aurc": ranking.aurc(weight_N), **at}


def best_baseline(scores: Mapping[str, Sequence[Score]]) -> str:
    """The one with the highest AUROC."""
    return max((name for name in scores if name != HEAD), key=lambda name: mean_of(scores[name], "auroc"))


def mean_of(scores: Sequence[Score], figure: str) -> float:
    """Over the seeds."""
    return float(np.mean([score.values[figure] for score in scores]))


def drawn_of(scores: Sequence[Score], figure: str) -> Floats:
    """The mean over the seeds in each replicate, shape (B,)."""
    mean_B: Floats = np.mean([score.drawn_B[figure] for score in scores], axis=0)
    return mean_B


def gain(
    scores: Mapping[str, Sequence[Score]], baseline: str, figure: str = "auroc"
) -> tuple[float, float | None, float | None]:
    """What the head has more than a baseline, with the interval of the paired difference."""
    value = mean_of(scores[HEAD], figure) - mean_of(scores[baseline], figure)
    return value, *percentile_interval(drawn_of(scores[HEAD], figure) - drawn_of(scores[baseline], figure))


def figures_of(split: str, scores: Mapping[str, Sequence[Score]]) -> dict[str, float | None]:
    """For the result line: the head, the best baseline, and every baseline's AUROC."""
    best = best_baseline(scores)
    figures: dict[str, float | None] = {}
    for figure in ("auroc", "aurc", *(f"accuracy_{share:.0%}" for share in COVERAGES)):
        plain = figure.replace("%", "").replace("accuracy_", "accuracy_at_")
        figures[f"{plain}_head_{split}"] = mean_of(scores[HEAD], figure)
        figures[f"{plain}_best_baseline_{split}"] = mean_of(scores[best], figure)
    for name, found in scores.items():
        if name != HEAD:
            figures[f"auroc_{name.replace(' ', '_').replace('-', '_')}_{split}"] = mean_of(found, "auroc")
    names = ("auroc_gain", "auroc_gain_low", "auroc_gain_high")
    figures |= {f"{name}_{split}": value for name, value in zip(names, gain(scores, best), strict=True)}
    figures[f"ece_head_{split}"] = float(np.mean([score.ece or 0.0 for score in scores[HEAD]]))
    return {name: None if value is None or math.isnan(value) else value for name, value in figures.items()}


def show(split: str, judged: Answered, scores: Mapping[str, Sequence[Score]]) -> None:
    """A table for people."""
    within_km = float(np.mean(judged.km_N <= RADII_KM[0]))
    photographers = np.unique(judged.photographer_N).size
    table = Table(
        title=f"{split}: {len(judged):,} scenes of {photographers:,} photographers, {within_km:.3f} within 25 km",
        title_justify="left",
    )
    names = ("auroc", "aurc", *(f"accuracy_{share:.0%}" for share in COVERAGES))
    for heading in ("score", "AUROC", "AURC", *(f"accuracy at {share:.0%}" for share in COVERAGES), "ECE"):
        table.add_column(heading)
    for name, found in sorted(scores.items(), key=lambda item: -mean_of(item[1], "auroc")):
        cells = [f"{mean_of(found, figure):.3f} {_interval(found, figure)}" for figure in names]
        ece = "" if found[0].ece is None else f"{np.mean([score.ece or 0.0 for score in found]):.3f}"
        table.add_row(name, *cells, ece)
    Console(width=180).print(table)
    for name in scores:
        if name != HEAD:
            value, low, high = gain(scores, name)
            bounds = "no interval" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"
            print(f"{split}: AUROC of the head - {name}: {value:+.3f} ({bounds})", flush=True)


def _interval(found: Sequence[Score], figure: str) -> str:
    low, high = percentile_interval(drawn_of(found, figure))
    return "(–)" if low is None or high is None else f"({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
