"""Abstention: what is refused and why, and what a threshold that was chosen for a risk keeps on new photographs.

For each target risk a gate's threshold and a limit of hardness are chosen on `calibration` alone; then the
worker's own verdict is passed on the scenes of the other splits. What the gate refuses costs no answer.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.knowing.scenes import NEAR_KM, Scenes
from benchmarks.knowing.shares import Floats, Share, share
from schema.reasons import Reason, Status
from worker.place.doubt import Doubt
from worker.place.radius import RadiusModel
from worker.place.verdict import Limits

LOCATED = "located"


@dataclass(frozen=True, slots=True)
class Refused:
    """`reasons` counts what each scene came to: "located", or the reason for refusing it.

    `located` is the share of scenes that get a place, `wrong` the share of these more than 25 km off (None without
    any), `right` the share of placeable scenes with a place within 25 km, `rightly` the share of refusals among
    those in which nothing tells the place. `generations` is the mean number of answers of a scene.
    """

    reasons: Mapping[str, int]
    located: Share
    wrong: Share | None
    right: Share
    rightly: Share | None
    generations: float


def refused(
    scenes: Scenes,
    doubt: Doubt,
    *,
    radius_model: RadiusModel | None = None,
    chance_N: Floats | None = None,
    threshold: float = 0.0,
) -> Refused:
    """What the worker would do. `chance_N` is what a gate makes of each scene: below `threshold` it is refused.

    Without a `radius_model` places are refused for want of agreement alone.
    """
    outcomes, km, generations = [], [], []
    for n, case in enumerate(scenes.cases):
        if chance_N is not None and chance_N[n] < threshold:
            outcomes.append(str(Reason.GATE_BELOW_THRESHOLD))
            km.append(float("inf"))
            generations.append(0)
            continue
        record = case.record(doubt, Limits(), radius_model)
        is_located = record.status is Status.LOCATED
        outcomes.append(LOCATED if is_located else str(record.reason))
        km.append(case.off_km(record.lat, record.lon) if is_located else float("inf"))
        generations.append(case.ask(doubt)[0])
    located_N = np.array([outcome == LOCATED for outcome in outcomes])
    right_N = np.array(km) <= NEAR_KM
    placeable_N = np.array([case.is_placeable for case in scenes.cases])
    by_N = scenes.photographer_N
    return Refused(
        reasons=dict(Counter(outcomes).most_common()),
        located=share(located_N, by_N),
        wrong=share(~right_N[located_N], by_N[located_N]) if located_N.any() else None,
        right=share(right_N[placeable_N], by_N[placeable_N]),
        rightly=share(~located_N[~placeable_N], by_N[~placeable_N]) if (~placeable_N).any() else None,
        generations=float(np.mean(generations)),
    )


def show(split: str, found: Mapping[str, Refused]) -> None:
    """A table for people: one row for each way to refuse."""
    table = Table(title=f"{split}: refusals", title_justify="left")
    for heading in ("by", "located", "of these wrong", "placeable ones right", "refused rightly", "generations"):
        table.add_column(heading)
    for name, one in found.items():
        shares = [
            str(each) if each is not None else "–" for each in (one.located, one.wrong, one.right, one.rightly)
        ]
        table.add_row(name, *shares, f"{one.generations:.2f}")
    Console(width=150).print(table)
    for name, one in found.items():
        counts = ", ".join(f"{reason} {count}" for reason, count in one.reasons.items())
        print(f"{split}, {name}: {counts}", flush=True)
