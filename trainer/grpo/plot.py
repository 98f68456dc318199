"""The curves of a GRPO run on one page: rewards by part, held-out figures, and the signs of trouble. Plain SVG."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PLOT_NAME = "plot.html"

_WIDTH, _HEIGHT = 640.0, 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 130.0, 16.0, 36.0
_MAX_POINTS = 400
_COLOURS = ("#1b6ca8", "#c4561b", "#3a8a3a", "#8a4fa0", "#a08020", "#5a5a5a", "#b03060", "#208080")
_MEAN = "/mean"
_HELD_OUT = "held_out/"
_TROUBLE = ("entropy", "kl", "zero_variance_groups", "cut", "clipped")
_PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em}}
svg{{width:100%;height:auto}}text{{font-size:12px;fill:currentColor}}h2{{font-size:1.05em;margin:1.6em 0 .2em}}
p{{margin:.2em 0}}</style>
<h1>{title}</h1>
{body}
</html>
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (step, value) in order of steps; what is no number is left out."""

    label: str
    points: tuple[tuple[float, float], ...]


def write_plot(path: Path, entries: Sequence[Mapping[str, float]], *, title: str) -> None:
    """Writes the page; `entries` are those of `trainer.grpo.figures.History`."""
    path.write_text(page(entries, title=title), encoding="utf-8")


def page(entries: Sequence[Mapping[str, float]], *, title: str) -> str:
    """A page that needs nothing else. Diagrams without a single figure are left out."""
    names = list(dict.fromkeys(name for entry in entries for name in entry))
    parts = ["reward", *(name for name in names if name.endswith(_MEAN))]
    held_out = [name for name in names if name.startswith(_HELD_OUT)]
    shares = [name for name in held_out if _in_unit(entries, name)]
    diagrams = (
        ("Rewards", "Means of each step: the weighted sum, and each part before weighing.", parts),
        ("Held out", "What the judge found on pictures that are not trained on.", shares),
        ("Held out, other figures", "", [name for name in held_out if name not in shares]),
        ("Signs of trouble", "Entropy and KL in nats per token, the others are shares.", list(_TROUBLE)),
    )
    body = "\n".join(
        f"<h2>{html.escape(heading)}</h2><p>{html.escape(about)}</p>\n{diagram(curves)}"
        for heading, about, chosen in diagrams
        if (curves := curves_of(entries, chosen))
    )
    return _PAGE.format(title=html.escape(title), body=body or "<p>There are no figures.</p>")


def curves_of(entries: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[Curve]:
    """A curve for each name that has a figure."""
    found = []
    for name in names:
        points = tuple(
            (entry["step"], entry[name]) for entry in entries if name in entry and math.isfinite(entry[name])
        )
        if points:
            found.append(Curve(name.removeprefix(_HELD_OUT).removesuffix(_MEAN), points))
    return found


def diagram(curves: Sequence[Curve]) -> str:
    """One SVG with axes, a line and a label for each curve."""
    steps = [step for curve in curves for step, _ in curve.points]
    values = [value for curve in curves for _, value in curve.points]
    low, high = _rounded(min(0.0, *values), max(values))
    first, last = min(steps), max(*steps, min(steps) + 1)

    def at(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + (step - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return round(x, 1), round(y, 1)

    drawn = [f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img">']
    for part in range(5):
        value = low + (high - low) * part / 4
        x, y = at(first, value)
        drawn.append(f'<path d="M{x} {y}H{_WIDTH - _RIGHT}" stroke="currentColor" stroke-opacity=".15"/>')
        drawn.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{value:.3g}</text>')
        step = first + (last - first) * part / 4
        drawn.append(f'<text x="{at(step, low)[0]}" y="{_HEIGHT - 16}" text-anchor="middle">{step:.0f}</text>')
    drawn.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 2}" text-anchor="end">step</text>')
    places = _apart([at(*curve.points[-1])[1] for curve in curves])
    for number, (curve, place) in enumerate(zip(curves, places, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [at(step, value) for step, value in _thinned(curve.points)]
        line = "L".join(f"{x} {y}" for x, y in points)
        drawn.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        x, y = points[-1]
        drawn.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>')
        said = f"{curve.label} {curve.points[-1][1]:.3g}"
        drawn.append(
            f'<text x="{_WIDTH - _RIGHT + 8}" y="{place + 4}" style="fill:{colour}">{html.escape(said)}</text>'
        )
    return "".join([*drawn, "</svg>"])


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Ends of an axis: a little beyond the values, and never the same."""
    room = (high - low) * 0.05 or 1.0
    return (low - room if low < 0 else 0.0), high + room


def _apart(places: Sequence[float], least: float = 14.0) -> list[float]:
    """Heights of labels, moved so that none covers another; in the order given."""
    moved = list(places)
    before = -math.inf
    for number in sorted(range(len(places)), key=lambda number: places[number]):
        moved[number] = before = max(places[number], before + least)
    return moved


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of neighbours where there are more points than can be seen."""
    size = math.ceil(len(points) / _MAX_POINTS)
    return [
        (chunk[-1][0], math.fsum(value for _, value in chunk) / len(chunk))
        for chunk in (points[start : start + size] for start in range(0, len(points), size))
    ]


def _in_unit(entries: Sequence[Mapping[str, float]], name: str) -> bool:
    return all(0 <= entry[name] <= 1 for entry in entries if name in entry)
