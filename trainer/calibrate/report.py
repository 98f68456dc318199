"""What a calibration promises and keeps, as a table for people and as figures for its row."""

import math
from typing import Any

from rich.console import Console
from rich.table import Table

from trainer.calibrate.check import FOLDS, Checked, Kept
from trainer.calibrate.sample import Sample
from worker.place.radius import RadiusModel


def print_calibration(console: Console, model: RadiusModel, checked: Checked, sample: Sample) -> None:
    """The table, and sentences that say how to read it."""
    table = Table(
        title=f"Radius at {model.coverage:.0%}, cross-validated on {FOLDS} x 1/{FOLDS} of the places",
        title_justify="left",
    )
    for heading in ("", "photographs", "places or series", "inside the radius", "95 % interval", "median radius"):
        table.add_column(heading)
    rows = [("calibrated", checked.radius), ("one radius for all", checked.plain)]
    if len(checked.by_group) > 1:
        rows += [(f"  hardness group {number}", each) for number, each in enumerate(checked.by_group, 1)]
    for name, each in rows:
        table.add_row(name, f"{each.n:,}", f"{each.clusters:,}", *_kept(each))
    console.print(table, markup=False)
    told = [f"{sample.n:,} photographs, {sample.clusters:,} places or series, error at median {_median(sample)}."]
    if checked.radius.infinite:
        told.append(
            f"For {checked.radius.infinite:,} no radius can be promised: they are refused as too uncertain."
        )
    told.append(
        f"Half of the radii are at most {_km(checked.radius.median_km)}; one radius for all with the same coverage"
        f" would be {_km(checked.matched_km)} ({_ratio(checked.ratio)} of it)."
    )
    told.append(f"Confidences at 25 km are off by {100 * checked.confidence_error:.1f} points on average.")
    if model.hardest is None:
        told.append(
            f"No threshold could be proven to keep wrong answers (> 25 km) to {model.max_risk:.0%} of all answers."
        )
    else:
        told.append(f"Up to a hardness of {model.hardest:.2f} at most {model.max_risk:.0%} of answers are wrong.")
    worth = sorted(((curve.decades[-1], name) for name, curve in model.hardness.curves.items()), reverse=True)
    told.append(
        "Worth of the signs, in decades of error: " + ", ".join(f"{name} {up:.2f}" for up, name in worth) + "."
    )
    told.append("The promise is for photographs of new places from the same archive, on average over places.")
    for sentence in told:
        console.print(sentence, markup=False, highlight=False)


def figures_of(model: RadiusModel, checked: Checked) -> dict[str, Any]:
    """As `calibration.figures` keeps them; an infinite distance is None."""
    return {
        "coverage_checked": checked.radius.coverage,
        "coverage_interval": [checked.radius.low, checked.radius.high],
        "coverage_by_group": [each.coverage for each in checked.by_group],
        "groups": int(model.level_G.size),
        "median_radius_km": _finite(checked.radius.median_km),
        "plain_radius_km": _finite(checked.plain.median_km),
        "radius_ratio": _finite(checked.ratio),
        "without_radius": checked.radius.infinite,
        "confidence_error": checked.confidence_error,
        "max_risk": model.max_risk,
        "hardest": model.hardest,
    }


def _kept(each: Kept) -> tuple[str, str, str]:
    interval = "" if each.low is None or each.high is None else f"{each.low:.1%} to {each.high:.1%}"
    return f"{each.coverage:.1%}", interval, _km(each.median_km)


def _median(sample: Sample) -> str:
    return _km(float(sorted(sample.error_km_N)[sample.n // 2]))


def _km(km: float) -> str:
    return "none" if math.isinf(km) else f"{km:,.1f} km" if km < 100 else f"{km:,.0f} km"


def _ratio(ratio: float) -> str:
    return f"{ratio:.0%}" if math.isfinite(ratio) else "no share"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
