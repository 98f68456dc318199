"""All figures of one run, with exact counts and intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer.judge.columns import Bools, Column, Columns
from trainer.judge.cues import CueHonesty, cue_honesty
from trainer.judge.intervals import (
    Resampling,
    bootstrap_means,
    bootstrap_medians,
    middle,
    percentile_interval,
)
from trainer.judge.pairing import Pairing, pairing
from trainer.judge.places import NO_CONTINENT
from trainer.judge.records import PLACEABLE, Judged, Outcome
from trainer.judge.selective import RadiusGroup, RiskCoverage, radius_groups, risk_coverage

_GROUP_FIGURES = (
    *(f"within_{km}_km" for km in (1, 25, 200, 750, 2500)),
    "answer_rate",
    "geoscore",
    "country_id",
    "city_id",
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over `of` images; `left_out` could not be judged (no truth of that kind), and `of + left_out` is n.

    `hits` is the exact count of a share, None for other units. `low`, `high`: 95 % interval, None where there is
    nothing to resample.
    """

    name: str
    title: str
    unit: str
    value: float | None
    hits: int | None
    of: int
    left_out: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A part of the images: a continent, or a level of `placeable`."""

    name: str
    n: int
    figures: tuple[Figure, ...]

    def figure(self, name: str) -> Figure:
        """The figure of that name. Raises `KeyError`."""
        return _by_name(self.figures, name)


@dataclass(frozen=True, slots=True)
class Reading:
    """How the raw answers could be read; the four sum to n.

    `strict`: in the form that was asked for. `tolerated`: only by overlooking deviations, which a stricter parser
    would have counted as misses. `unknown`: no raw text at hand.
    """

    strict: int
    tolerated: int
    unparsable: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that is told of one run. `outcomes` sum to `n`, and so do the continents.

    `unresolved` counts, by level, the answers whose stated name the gazetteer could not place;
    `unresolved_answers` those with at least one such name, whether a coarser point was found or none.
    """

    name: str
    notes: tuple[str, ...]
    distance: str
    n: int
    clusters: int
    replicates: int
    seed: int
    outcomes: dict[Outcome, int]
    reading: Reading
    unresolved: dict[str, int]
    unresolved_answers: int
    figures: tuple[Figure, ...]
    continents: tuple[Group, ...]
    placeable: tuple[Group, ...]
    risk: tuple[RiskCoverage, ...]
    radius: tuple[RadiusGroup, ...]
    cues: CueHonesty | None
    pairing: Pairing | None

    def figure(self, name: str) -> Figure:
        """The figure of that name. Raises `KeyError`."""
        return _by_name(self.figures, name)


def evaluate(columns: Columns, *, replicates: int = 1000, seed: int = 0) -> Evaluation:
    """Makes all figures. `replicates` 0 leaves the intervals out."""
    resampling = Resampling(columns.cluster_N, replicates=replicates, seed=seed)
    rows = columns.run.rows
    continents, placeable = _continents(columns), _placeable(columns)
    parts = [(list(columns.by_name.values()), columns.n)]
    parts += [(_part(columns, mask_N), int(mask_N.sum())) for _, mask_N in (*continents, *placeable)]
    figures, *of_groups = _figures(parts, resampling)
    groups = tuple(
        Group(name, int(mask_N.sum()), made)
        for (name, mask_N), made in zip((*continents, *placeable), of_groups, strict=True)
    )
    outcomes = {outcome: int(columns.outcome_is(outcome).sum()) for outcome in Outcome}
    return Evaluation(
        name=columns.run.name,
        notes=columns.run.notes,
        distance=columns.distance.describe(),
        n=columns.n,
        clusters=resampling.clusters,
        replicates=resampling.replicates,
        seed=seed,
        outcomes=outcomes,
        reading=_reading(rows),
        unresolved={
            level: sum(level in row.prediction.unresolved for row in rows)
            for level in ("country", "region", "city")
        },
        unresolved_answers=sum(bool(row.prediction.unresolved) for row in rows),
        figures=_with_medians(figures, columns, resampling),
        continents=groups[: len(continents)],
        placeable=groups[len(continents) :],
        risk=risk_coverage(columns),
        radius=radius_groups(columns),
        cues=cue_honesty(columns, resampling),
        pairing=pairing(columns, seed=seed),
    )


def _figures(parts: Sequence[tuple[Sequence[Column], int]], resampling: Resampling) -> list[tuple[Figure, ...]]:
    """The means of each part's columns, `n` images in all in a part; columns without a valid row are left away.

    One pass of the bootstrap serves all parts.
    """
    kept = [[column for column in columns if column.valid_N.any()] for columns, _ in parts]
    every = [column for columns in kept for column in columns]
    intervals = iter(
        [percentile_interval(mean_B) for mean_B in bootstrap_means(every, resampling).T] if every else []
    )
    return [
        tuple(_figure(column, n, *next(intervals)) for column in columns)
        for columns, (_, n) in zip(kept, parts, strict=True)
    ]


def _figure(column: Column, n: int, low: float | None, high: float | None) -> Figure:
    of = int(column.valid_N.sum())
    kept = column.value_N[column.valid_N]
    # Limits of the world are shares too, but each image's is a probability: they have no count.
    is_count = column.unit == "share" and bool(np.isin(kept, (0.0, 1.0)).all()) and "bayes" not in column.name
    hits = int(kept.sum()) if is_count else None
    value = hits / of if hits is not None else float(kept.mean())
    return Figure(column.name, column.title, column.unit, value, hits, of, n - of, low, high)


def _with_medians(figures: tuple[Figure, ...], columns: Columns, resampling: Resampling) -> tuple[Figure, ...]:
    all_km_N = np.where(np.isnan(columns.km_N), np.inf, columns.km_N)
    medians = (
        _median("median_km", "median distance, of the located", columns.km_N, resampling),
        _median("median_km_all", "median distance, no answer = infinite", all_km_N, resampling),
    )
    names = [figure.name for figure in figures]
    at = names.index("mean_km") + 1 if "mean_km" in names else names.index("geoscore") + 1
    return (*figures[:at], *(median for median in medians if median.of), *figures[at:])


def _median(name: str, title: str, km_N: np.ndarray, resampling: Resampling) -> Figure:
    kept = np.sort(km_N[~np.isnan(km_N)])
    if kept.size == 0:
        return Figure(name, title, "km", None, None, 0, km_N.size)
    value = middle(float(kept[(kept.size - 1) // 2]), float(kept[kept.size // 2]))
    low, high = percentile_interval(bootstrap_medians(km_N, resampling))
    return Figure(
        name, title, "km", _finite(value), None, kept.size, km_N.size - kept.size, _finite(low), _finite(high)
    )


def _finite(value: float | None) -> float | None:
    """JSON has no infinity; a median of "no answer" is no number of kilometres."""
    return None if value is None or np.isinf(value) else value


def _reading(rows: Sequence[Judged]) -> Reading:
    unparsable = sum(row.prediction.outcome is Outcome.UNPARSABLE for row in rows)
    strict = [row.prediction.strict for row in rows if row.prediction.outcome is not Outcome.UNPARSABLE]
    return Reading(strict.count(True), strict.count(False), unparsable, strict.count(None))


def _continents(columns: Columns) -> list[tuple[str, Bools]]:
    names = sorted(set(columns.continent), key=lambda name: (name == NO_CONTINENT, name))
    continent_N = np.array(columns.continent, dtype=object)
    return [("in no country" if name == NO_CONTINENT else name, continent_N == name) for name in names]


def _placeable(columns: Columns) -> list[tuple[str, Bools]]:
    """By what the picture gives away, and all that give away anything; none where the truth does not tell."""
    level_N = np.array([row.truth.placeable or "" for row in columns.run.rows], dtype=object)
    masks = [("something", (level_N != "") & (level_N != "none"))]
    masks += [(level, level_N == level) for level in PLACEABLE]
    return [(name, mask_N) for name, mask_N in masks if mask_N.any()]


def _part(columns: Columns, mask_N: Bools) -> list[Column]:
    whole = (columns.by_name[name] for name in _GROUP_FIGURES)
    return [replace(column, valid_N=column.valid_N & mask_N) for column in whole]


def _by_name(figures: Sequence[Figure], name: str) -> Figure:
    for figure in figures:
        if figure.name == name:
            return figure
    raise KeyError(name)
