"""The plots of the report as values for its template: SVG path data and labelled marks, no library, no script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.judge.columns import Columns
from trainer.judge.metrics import Evaluation
from trainer.judge.selective import RadiusGroup
from worker.report import projection

WIDTH, HEIGHT = 460.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 26.0, 12.0, 40.0
_MAX_POINTS = 240
_MAX_ERRORS = 1500
_KM_RANGE = (0.1, 20_000.0)
COLOURS = ("a", "b", "c")
"""Class names; the style sheet gives them their colours."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis, in plot units."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """`path` is SVG path data, `kind` a class of the style sheet."""

    label: str
    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Dot:
    """`low`, `high` are the ends of its whisker in plot units; `title` says the figures."""

    x: float
    y: float
    low: float
    high: float
    title: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One diagram; `area` is the axes' box in plot units."""

    title: str
    about: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A continent's bar: `width` and the interval's ends are shares of the whole."""

    label: str
    n: int
    share: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Error:
    """One image on the map: from the true place to the answer. `path` is None where there is no answer."""

    x: float
    y: float
    path: str | None
    kind: str


def accuracy_plot(runs: Sequence[Columns]) -> Plot:
    """The share of all images within each distance, on a logarithmic axis; one line for each run."""
    grid = np.geomspace(*_KM_RANGE, _MAX_POINTS)
    lines = []
    for columns, kind in zip(runs, COLOURS, strict=False):
        sorted_km = np.sort(columns.km_N[~np.isnan(columns.km_N)])
        # On the curve the comparison (< or ≤) is finer than a pixel.
        share = np.searchsorted(sorted_km, grid, side="right") / max(columns.n, 1)
        points = [(_log_x(km), _y(float(part))) for km, part in zip(grid.tolist(), share.tolist(), strict=True)]
        lines.append(Line(columns.run.name, kind, _path(points)))
    ticks = tuple(Tick(_log_x(km), f"{km:,g}") for km in (1, 25, 200, 750, 2500, 20_000))
    return Plot(
        "Accuracy by distance",
        "How many of all images have an answer within a distance. Images without an answer never count.",
        "km, logarithmic",
        "share of all images",
        ticks,
        _share_ticks(),
        tuple(lines),
    )


def risk_plot(evaluation: Evaluation) -> Plot | None:
    """Risk against coverage, one line for each threshold; None where answers have no sureness."""
    if not evaluation.risk:
        return None
    lines = []
    for curve, kind in zip(evaluation.risk, COLOURS, strict=False):
        pairs = _thinned(list(zip(curve.coverage, curve.risk, strict=True)))
        lines.append(
            Line(f"beyond {curve.threshold_km} km", kind, _path([(_x(cover), _y(risk)) for cover, risk in pairs]))
        )
    return Plot(
        "Risk and coverage",
        f"Images are answered surest first, by {evaluation.risk[0].ordered_by}; risk is the share of wrong ones.",
        "share of images answered",
        "share of these wrong",
        tuple(Tick(_x(share), f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)),
        _share_ticks(),
        tuple(lines),
    )


def radius_plot(group: RadiusGroup) -> Plot:
    """How many truths the radius holds, for answers of similar radius; whiskers are Wilson's 95 % interval."""
    dots = []
    for part in group.bins:
        share = part.inside / part.count
        low, high = wilson(part.inside, part.count)
        title = f"radius about {part.mean_radius_km:,.0f} km: {part.inside:,} of {part.count:,} inside"
        dots.append(Dot(_log_x(part.mean_radius_km), _y(share), _y(low), _y(high), title))
    lines: tuple[Line, ...] = ()
    promise = "These radii are nominal and promise nothing."
    if group.stated_coverage is not None:
        level = _y(group.stated_coverage)
        lines = (Line("stated", "stated", _path([(LEFT, level), (WIDTH - RIGHT, level)])),)
        promise = f"{group.stated_coverage:.0%} are promised, at every size."
    return Plot(
        "Radius",
        f"Truths inside the stated radius. {promise}",
        "radius in km, logarithmic",
        "share inside",
        tuple(Tick(_log_x(km), f"{km:,g}") for km in (1, 10, 100, 1000, 10_000)),
        _share_ticks(),
        lines,
        tuple(dots),
    )


def continent_bars(evaluation: Evaluation, name: str = "within_200_km") -> tuple[Bar, ...]:
    """One bar for each continent, the largest first."""
    bars = []
    for group in sorted(evaluation.continents, key=lambda group: (-group.n, group.name)):
        figure = group.figure(name)
        bars.append(Bar(group.name, group.n, figure.value or 0.0, figure.low, figure.high))
    return tuple(bars)


def error_map(columns: Columns) -> tuple[tuple[Error, ...], int]:
    """Lines from truth to answer for at most 1,500 images, evenly spread by id; and how many there are in all."""
    rows = columns.run.rows
    step = max(1, math.ceil(len(rows) / _MAX_ERRORS))
    errors = []
    for row, km in zip(rows[::step], columns.km_N[::step].tolist(), strict=True):
        x, y = projection.project(row.truth.lat, row.truth.lon)
        path = None
        if row.prediction.lat is not None and row.prediction.lon is not None:
            to_x, to_y = projection.project(row.prediction.lat, row.prediction.lon)
            path = f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}"
        kind = "none" if path is None else "near" if km <= 200 else "middle" if km <= 2500 else "far"
        errors.append(Error(round(x, 1), round(y, 1), path, kind))
    order = {"far": 0, "middle": 1, "none": 2, "near": 3}
    return tuple(sorted(errors, key=lambda error: order[error.kind])), len(rows)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Wilson's score interval for a share, 95 %: also right for 0 and for all of a few."""
    z = 1.959964
    centre = (hits + z * z / 2) / (of + z * z)
    half = z / (of + z * z) * math.sqrt(hits * (of - hits) / of + z * z / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_MAX_POINTS` of them, the first and the last among these."""
    if len(points) <= _MAX_POINTS:
        return points
    chosen = np.unique(np.linspace(0, len(points) - 1, _MAX_POINTS).astype(int))
    return [points[number] for number in chosen.tolist()]


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _log_x(km: float) -> float:
    low, high = (math.log10(end) for end in _KM_RANGE)
    return _x((min(max(math.log10(max(km, _KM_RANGE[0])), low), high) - low) / (high - low))


def _share_ticks() -> tuple[Tick, ...]:
    return tuple(Tick(_y(share), f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
