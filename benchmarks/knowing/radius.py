"""Does the calibrated radius keep its promise on new photographs, and how much narrower is it than one for all?

Calibrated on one split, looked at on others: `test` comes from the same world, `shift` shows weather that neither
the model nor the calibration has seen. Nothing of `test` and `shift` has a say in any choice.

A radius is promised for what the worker would state: answers drawn by its own rule, weighed with similar
photographs of other photographers by its own consensus, and refused where too little weight stands behind a place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.knowing.scenes import ALL, NEAR_KM, Scenes
from schema.reasons import Granularity, Status
from trainer.calibrate.check import Kept, cross_validate, kept, matched_radius_km
from trainer.calibrate.fit import Parameters, fit, plain_radius_km
from trainer.calibrate.sample import Bools, Floats, make_sample
from trainer.judge.places import continent_of
from worker.place.difficulty import Difficulty
from worker.place.doubt import Doubt
from worker.place.radius import RadiusModel
from worker.place.verdict import Limits

GRANULARITY_KM = {Granularity.STREET: 1, Granularity.CITY: 25, Granularity.REGION: 200, Granularity.COUNTRY: 750}
WIDER = "wider"


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """The located answers to photographs of one split. `asked`: how many photographs there were in all.

    `cluster_N` numbers what stands or falls together, as photographers; `continents` are those of the true places.
    """

    difficulties: tuple[Difficulty, ...]
    error_km_N: Floats
    cluster_N: NDArray[np.int64]
    continents: tuple[str, ...]
    asked: int


def located(scenes: Scenes, doubt: Doubt) -> Answered:
    """What the worker would locate without any calibration, with the signs that it would keep."""
    rows, difficulties, errors = [], [], []
    for n, case in enumerate(scenes.cases):
        record = case.record(doubt, Limits())
        if record.status is Status.LOCATED and record.difficulty is not None:
            rows.append(n)
            difficulties.append(record.difficulty)
            errors.append(case.off_km(record.lat, record.lon))
    return Answered(
        difficulties=tuple(difficulties),
        error_km_N=np.array(errors, dtype=np.float64),
        cluster_N=scenes.part(rows).clusters_N,
        continents=tuple(continent_of(scenes.cases[n].truth.country_code) for n in rows),
        asked=len(scenes),
    )


@dataclass(frozen=True, slots=True)
class OnSplit:
    """`plain` is the one radius for all from the same calibration photographs.

    `matched_km`: the single radius that holds as many of these photographs as ours; `ratio` is our median radius
    to it, so both have the same coverage. `named` is the share of located ones with a radius of 750 km at most;
    the worker refuses the others. `by_continent` and `by_granularity` (which follows the radius) have the parts;
    `risk` is the share of wrong ones (> 25 km) among what keeps to the risk, `answered` the share of those.
    """

    radius: Kept
    plain: Kept
    matched_km: float
    ratio: float
    named: float
    by_continent: Mapping[str, Kept]
    by_granularity: Mapping[str, Kept]
    risk: float | None
    answered: float


@dataclass(frozen=True, slots=True)
class Study:
    """`splits` by name. `model` is what the calibration photographs came to."""

    model: RadiusModel
    splits: Mapping[str, OnSplit]

    @property
    def figures(self) -> dict[str, float | None]:
        """`coverage_<split>` and `named_<split>` for each, and `radius_ratio` on the split `test`."""
        found: dict[str, float | None] = {
            f"coverage_{name}": each.radius.coverage for name, each in self.splits.items()
        }
        found |= {f"named_{name}": each.named for name, each in self.splits.items()}
        found["radius_ratio"] = self.splits["test"].ratio if "test" in self.splits else None
        return found


def study(calibration: Answered, splits: Mapping[str, Answered], parameters: Parameters) -> Study:
    """Calibrates on the one and looks at the others. Raises `SetupError` where the one is too small."""
    sample = make_sample(calibration.difficulties, calibration.error_km_N, calibration.cluster_N)
    model = fit(sample, parameters)
    plain_km = plain_radius_km(sample, parameters.coverage)
    return Study(model, {name: look(model, plain_km, answered) for name, answered in splits.items()})


def look(model: RadiusModel, plain_km: float, answered: Answered) -> OnSplit:
    """What the radius of `model` and the one radius `plain_km` keep on these photographs; N is 1 or more."""
    sample = make_sample(answered.difficulties, answered.error_km_N, answered.cluster_N)
    hardness_N = model.hardness.of(sample.signs)
    radius_N = model.radii_km(hardness_N)
    whole = kept(radius_N, sample.error_km_N, sample.cluster_N)
    matched_km = matched_radius_km(radius_N, sample.error_km_N)
    safe_N = hardness_N <= (-np.inf if model.hardest is None else model.hardest)
    return OnSplit(
        radius=whole,
        plain=kept(np.full(sample.n, plain_km), sample.error_km_N, sample.cluster_N),
        matched_km=matched_km,
        ratio=whole.median_km / matched_km if matched_km > 0 else float("nan"),
        named=float((radius_N <= GRANULARITY_KM[Granularity.COUNTRY]).mean()),
        by_continent=_by(answered.continents, radius_N, answered),
        by_granularity=_by([granularity_of(km) for km in radius_N.tolist()], radius_N, answered),
        risk=float((sample.error_km_N[safe_N] > NEAR_KM).mean()) if safe_N.any() else None,
        answered=float(safe_N.sum() / answered.asked),
    )


def granularity_of(radius_km: float) -> str:
    """How fine a place is promised by such a radius."""
    return next((name.value for name, km in GRANULARITY_KM.items() if radius_km <= km), WIDER)


def studies(
    calibration: Answered, splits: Mapping[str, Answered], parameters: Parameters, seeds: Sequence[int]
) -> list[Study]:
    """One for each seed, which deals the calibration's photographers into the half that teaches and the other."""
    return [study(calibration, splits, replace(parameters, seed=seed)) for seed in seeds]


def mean_figures(found: Sequence[Study]) -> dict[str, float | None]:
    """The figures of `Study`, as means over the seeds."""
    known = {name: [one.figures[name] for one in found] for name in found[0].figures}
    return {name: _mean([value for value in values if value is not None]) for name, values in known.items()}


def show(title: str, found: Sequence[Study], split: str) -> None:
    """Tables for people: one row for each seed, and the parts of the first."""
    table = Table(title=f"{title}: the radius at {found[0].model.coverage:.0%}, by seed", title_justify="left")
    for heading in (
        "",
        "located",
        "coverage",
        "median km",
        "one for all",
        "its km",
        "ratio",
        "without",
        "risk kept",
    ):
        table.add_column(heading)
    for seed, one in enumerate(each.splits[split] for each in found):
        risk = "not proven" if one.risk is None else f"{one.risk:.3f} of {one.answered:.3f}"
        plain = f"{one.plain.coverage:.3f}", f"{one.plain.median_km:,.0f}"
        row = (*_cells(one.radius), *plain, f"{one.ratio:.2f}", f"{one.named:.3f}", risk)
        table.add_row(f"seed {seed}", *row)
    Console(width=150).print(table)
    first = found[0].splits[split]
    for kind, parts in (("continent", first.by_continent), ("granularity", first.by_granularity)):
        table = Table(title=f"{title}, seed 0, by {kind}", title_justify="left")
        for heading in (kind, "located", "coverage", "median km"):
            table.add_column(heading)
        for name, part in parts.items():
            table.add_row(name, *_cells(part))
        Console(width=150).print(table)


def by_answers(scenes: Scenes, counts: Sequence[int], parameters: Parameters, seeds: Sequence[int]) -> None:
    """What the radius keeps when each scene is asked so many times, cross-validated: a table for people."""
    table = Table(title=f"{scenes.split}, cross-validated, means over {len(seeds)} seeds", title_justify="left")
    for heading in ("answers", "located", "coverage", "median km", "ratio"):
        table.add_column(heading)
    for count in counts:
        answers = located(scenes, replace(ALL, most_answers=count, step=count))
        sample = make_sample(answers.difficulties, answers.error_km_N, answers.cluster_N)
        found = [cross_validate(sample, replace(parameters, seed=seed)) for seed in seeds]
        coverage = np.mean([one.radius.coverage for one in found])
        medians = ", ".join(f"{one.radius.median_km:,.0f}" for one in found)
        ratio = np.mean([one.ratio for one in found])
        table.add_row(str(count), f"{sample.n:,}", f"{coverage:.3f}", medians, f"{ratio:.2f}")
    Console(width=150).print(table)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _cells(part: Kept) -> tuple[str, str, str]:
    """How many, which share is covered, how wide."""
    bounds = "–" if part.low is None or part.high is None else f"{part.low:.3f} to {part.high:.3f}"
    return f"{part.n:,}", f"{part.coverage:.3f} ({bounds})", f"{part.median_km:,.0f}"


def _by(names: Sequence[str], radius_N: Floats, answered: Answered) -> dict[str, Kept]:
    """What is kept in each part by itself."""
    parts: dict[str, Bools] = {name: np.array([each == name for each in names]) for name in sorted(set(names))}
    return {
        name: kept(radius_N[part_N], answered.error_km_N[part_N], answered.cluster_N[part_N])
        for name, part_N in parts.items()
    }
