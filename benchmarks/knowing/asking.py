"""What further answers are worth: one greedy answer, eight, and as many as there is doubt.

Every rule is played over the same stored answers, so that rules differ in nothing but what they ask for. The
log-probability of a whole answer differs from model to model, so a threshold fits one model only: it is chosen on
`calibration`, as the one at which the mean number of answers stays within the budget, and judged elsewhere.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.knowing.scenes import ALL, NEAR_KM, ONE, Case, Scenes
from benchmarks.knowing.shares import Bools, Floats, Share, difference, share
from worker.place.doubt import Doubt
from worker.place.weighing import Weighed

BUDGET = 2.0
"""The mean number of answers stays below it, as the issue asks."""
BY_RULE = {"one": ONE, "most": ALL}


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What the worker would have answered under a rule, for N scenes in order. `generations_N`: what each cost."""

    country_N: Bools
    city25_N: Bools
    placeable_N: Bools
    generations_N: Floats

    @property
    def generations(self) -> float:
        """The mean over all scenes, placeable or not."""
        return float(self.generations_N.mean())

    @property
    def country(self) -> float:
        """The share of placeable scenes."""
        return float(self.country_N[self.placeable_N].mean())

    @property
    def city25(self) -> float:
        """The share of placeable scenes within 25 km."""
        return float(self.city25_N[self.placeable_N].mean())


@dataclass(frozen=True, slots=True)
class Worth:
    """The rules on one split, `one`, `most` and `doubt`: shares of placeable scenes, and what each has more than
    one answer within 25 km, paired."""

    country: Mapping[str, Share]
    city25: Mapping[str, Share]
    generations: Mapping[str, float]
    over_one: Mapping[str, Share]


def play(cases: Sequence[Case], doubt: Doubt) -> Played:
    """The scenes under this rule."""
    asked = [case.ask(doubt) for case in cases]
    return Played(
        country_N=np.array([_country_right(*pair) for pair in _pairs(cases, asked)]),
        city25_N=np.array([case.weighed_off_km(weighed) <= NEAR_KM for case, weighed in _pairs(cases, asked)]),
        placeable_N=np.array([case.is_placeable for case in cases]),
        generations_N=np.array([count for count, _ in asked], dtype=np.float64),
    )


def within_budget(cases: Sequence[Case], doubt: Doubt, budget: float = BUDGET) -> Doubt:
    """The rule with the highest threshold whose mean number of answers is at most `budget`; else the one that asks
    once."""
    seen = sorted({case.samples[0].completion.mean_logprob or 0.0 for case in cases})
    rules = [replace(doubt, min_logprob=threshold) for threshold in seen]
    # A higher threshold never costs fewer answers, so the rules are in order of their cost.
    fit = bisect_right(rules, budget, key=lambda rule: float(np.mean([case.ask(rule)[0] for case in cases])))
    return rules[fit - 1] if fit else replace(doubt, most_answers=1)


def worth(scenes: Scenes, rule: Doubt) -> Worth:
    """One, all, and as many as the rule asks for."""
    played = {name: play(scenes.cases, each) for name, each in {**BY_RULE, "doubt": rule}.items()}
    kept_N = played["one"].placeable_N
    clusters_N = scenes.photographer_N[kept_N]
    return Worth(
        country={name: share(each.country_N[kept_N], clusters_N) for name, each in played.items()},
        city25={name: share(each.city25_N[kept_N], clusters_N) for name, each in played.items()},
        generations={name: each.generations for name, each in played.items()},
        over_one={
            name: difference(played[name].city25_N[kept_N], played["one"].city25_N[kept_N], clusters_N)
            for name in ("most", "doubt")
        },
    )


def show(split: str, found: Worth, rule: Doubt) -> None:
    """A table for people."""
    asked = "never" if rule.most_answers == 1 else f"below a log-probability of {rule.min_logprob:.3f}"
    table = Table(title=f"{split}: answers, placeable scenes; the rule doubts {asked}", title_justify="left")
    for heading in ("answers", "country", "within 25 km", "more than one answer", "generations"):
        table.add_column(heading)
    for name, generations in found.generations.items():
        more = found.over_one[name].signed if name in found.over_one else ""
        table.add_row(name, str(found.country[name]), str(found.city25[name]), more, f"{generations:.2f}")
    Console(width=140).print(table)


def _pairs(cases: Sequence[Case], asked: Sequence[tuple[int, Weighed]]) -> list[tuple[Case, Weighed]]:
    return [(case, weighed) for case, (_, weighed) in zip(cases, asked, strict=True)]


def _country_right(case: Case, weighed: Weighed) -> bool:
    return weighed.place is not None and weighed.place.chosen.place.country_code == case.truth.country_code
