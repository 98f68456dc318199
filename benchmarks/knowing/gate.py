"""Does the trained head know better than older scores which scenes this pipeline places?

The head is fitted to outcomes on `calibration`, for each of three seeds on two thirds of its photographers. Every
score then orders the scenes of `test` and `shift`; right is a greedy answer within 25 km, and one without a place
is wrong. Reported are AUROC, the area under the risk-coverage curve (AURC, lower is better) and the accuracy of
the surest 50, 70 and 90 %, as means over the seeds. Intervals are 95 %, by bootstrap over photographers. The
differences are paired: head and baseline on the same draws.

- zero-shot prompts: the gate without a trained head.
- class areas: the true areas of a scene's classes, weighted by how much a class tells of the country in this
  world. A segmentation model would see less, and GeoReasoner's weights come from text alone: it is an upper bound.
- country probability: the gate's backbone as a classifier of this world's countries.
- neighbour spread: among the ten most similar scenes of `calibration`.
- model says yes: stands for a yes-or-no question; the share of four sampled answers that name a place at all. It
  costs four answers for each scene, where the gate is asked so that none is needed.

Axes: N scenes, D embedding dimensions, C classes of `atlas.areas`, B replicates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from atlas.areas import CLASSES, area_shares
from atlas.cues import KINDS
from atlas.scenes import scene
from atlas.world import World
from benchmarks.knowing.scenes import ONE, Scenes
from benchmarks.knowing.store import Models
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
from trainer.gate.fit import cross_fit, fit_head, within
from trainer.gate.measures import calibration_error
from trainer.gate.outcomes import CELL_KM
from trainer.gate.risk import Choice, choose_threshold
from trainer.gate.train import RADII_KM
from trainer.judge.intervals import Resampling, percentile_interval
from trainer.judge.ranking import Ranking

COVERAGES = (0.5, 0.7, 0.9)
HEAD = "trained head"
SAMPLES = 4
SHARE_LEARNT = 2 / 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What the gate is judged by, of N scenes.

    `km_N` is how far off the greedy answer is, infinite where it names no place that is known. `named_N` is the
    share of four sampled answers that name one. `photographer_N` numbers the clusters. `area_N_C` are the true
    areas of classes; no column where nobody looked.
    """

    lat_N: Floats
    lon_N: Floats
    km_N: Floats
    named_N: Floats
    photographer_N: NDArray[np.int64]
    embedding_N_D: NDArray[np.float32]
    area_N_C: Floats

    def __len__(self) -> int:
        return len(self.km_N)

    @property
    def cells(self) -> list[str]:
        """The place cell of each."""
        grid = Grid(CELL_KM)
        return [grid.cell(lat, lon) for lat, lon in zip(self.lat_N.tolist(), self.lon_N.tolist(), strict=True)]

    def part(self, rows: NDArray[np.int64]) -> "Outcomes":
        """These scenes alone."""
        return Outcomes(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


def outcomes_of(scenes: Scenes, world: World | None = None) -> Outcomes:
    """Of stored answers; with a `world` the true areas of classes are measured too (10 ms a scene)."""
    drawn = [case.samples[1 : 1 + SAMPLES] for case in scenes.cases]
    areas = [area_shares(scene(world, scenes.split, n)) for n in range(len(scenes))] if world else []
    return Outcomes(
        lat_N=np.array([case.truth.lat for case in scenes.cases]),
        lon_N=np.array([case.truth.lon for case in scenes.cases]),
        km_N=np.array([case.weighed_off_km(case.ask(ONE)[1]) for case in scenes.cases]),
        named_N=np.array([np.mean([sample.is_placed for sample in samples]) for samples in drawn]),
        photographer_N=scenes.photographer_N,
        embedding_N_D=scenes.embedding_N_D,
        area_N_C=np.stack(areas) if areas else np.empty((len(scenes), 0)),
    )


@dataclass(frozen=True, slots=True)
class Score:
    """How well one score orders one split: values by figure, and those of each replicate of the bootstrap.

    `ece` is for chances alone.
    """

    values: Mapping[str, float]
    drawn_B: Mapping[str, Floats]
    ece: float | None = None


def baselines_of(world: World, models: Models, gallery: Outcomes) -> list[Baseline]:
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
    learnt: Outcomes, judged: Outcomes, baselines: Sequence[Baseline], seeds: Sequence[int], replicates: int
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


def head_chances(learnt: Outcomes, judged: Outcomes, seed: int) -> Floats:
    """P(within 25 km) of the judged scenes by a head that was fitted to two thirds of the photographers."""
    rng = np.random.default_rng(seed)
    photographers = np.unique(learnt.photographer_N)
    chosen = rng.choice(photographers, round(SHARE_LEARNT * photographers.size), replace=False)
    part = learnt.part(np.flatnonzero(np.isin(learnt.photographer_N, chosen)))
    return chances_of(part, judged, seed)


def chances_of(learnt: Outcomes, judged: Outcomes, seed: int = 0) -> Floats:
    """P(within 25 km) of the judged scenes by a head that was fitted to the others. Raises `NoSignal`."""
    within_N_R = within(learnt.km_N, RADII_KM)
    fitted = fit_head(learnt.embedding_N_D.astype(np.float64), within_N_R, learnt.cells, seed=seed)
    return fitted.chances(judged.embedding_N_D.astype(np.float64))[:, 0]


def threshold_for(learnt: Outcomes, max_risk: float, seed: int = 0) -> Choice | None:
    """The gate's threshold for a risk, from chances at places that the head had not seen; None if unproven."""
    embedding_N_D, within_N_R = learnt.embedding_N_D.astype(np.float64), within(learnt.km_N, RADII_KM)
    chance_N = cross_fit(embedding_N_D, within_N_R, learnt.cells, seed=seed)[:, 0]
    located_N = np.isfinite(learnt.km_N)
    wrong_N = learnt.km_N > RADII_KM[0]
    return choose_threshold(chance_N, located_N, wrong_N, learnt.cells, max_risk=max_risk)


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


def show(split: str, judged: Outcomes, scores: Mapping[str, Sequence[Score]]) -> None:
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
