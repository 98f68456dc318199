"""The plot: precision and recall after each step, and what leaving one out costs. SVG that needs nothing else."""

from collections.abc import Mapping
from html import escape

from benchmarks.curation.judging import Tally
from benchmarks.curation.study import RAW, Study
from trainer.curate.opinions import Step

_COLOURS = {"right": "#228833", "recall": "#4477aa", "cues": "#ccbb44"}
"""Paul Tol's bright palette, which those who see colours differently can tell apart too."""
_SHOWN = {"right": "fully right, of what is left", "recall": "right ones left, of all", "cues": "cues visible"}
_NAMES = {
    RAW: "raw",
    Step.LOCATABLE: "+ locatable",
    Step.PLACE: "+ place",
    Step.AGREEMENT: "+ agreement",
    Step.VISIBLE: "+ visible",
}
_WIDTH, _HEIGHT, _TOP, _BASE, _BAR = 960, 380, 60, 300, 18
_AIM = 0.95


def svg(found: Study) -> str:
    """Two groups of bars: the steps one after the other, and all four but one."""
    after = {_NAMES[name]: one for name, one in found.after.items()}
    without = {f"– {step}": one for step, one in found.without.items()}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
        ' font-family="sans-serif" font-size="12" role="img" aria-label="What each step of curation is worth">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        *_legend(),
        *_scale(),
        *_group(after, 60, 98),
        *_group(without, 572, 98),
        f'<text x="60" y="{_HEIGHT - 12}">one step after the other</text>',
        f'<text x="572" y="{_HEIGHT - 12}">all four steps but one</text>',
        "</svg>",
    ]
    return "\n".join(parts)


def _legend() -> list[str]:
    return [
        f'<rect x="{60 + n * 220}" y="14" width="12" height="12" fill="{_COLOURS[key]}"/>'
        f'<text x="{78 + n * 220}" y="24">{escape(_SHOWN[key])}</text>'
        for n, key in enumerate(_SHOWN)
    ]


def _scale() -> list[str]:
    lines = [
        f'<text x="48" y="{_y(value) + 4:.0f}" text-anchor="end">{value:g}</text>'
        f'<line x1="54" x2="{_WIDTH - 12}" y1="{_y(value):.1f}" y2="{_y(value):.1f}" stroke="#dddddd"/>'
        for value in (0, 0.25, 0.5, 0.75, 1)
    ]
    aim = f'<line x1="54" x2="{_WIDTH - 12}" y1="{_y(_AIM):.1f}" y2="{_y(_AIM):.1f}" stroke="#ee6677"'
    return [*lines, f'{aim} stroke-dasharray="4 3"/>']


def _group(bars: Mapping[str, Tally], left: int, step: int) -> list[str]:
    parts = []
    for n, (name, one) in enumerate(bars.items()):
        x = left + n * step
        values = {"right": one.precision, "recall": one.recall, "cues": one.cue_precision}
        for place, (key, value) in enumerate(values.items()):
            if value is None:
                continue
            at = x + 6 + place * (_BAR + 4)
            parts.append(
                f'<rect x="{at}" y="{_y(value):.1f}" width="{_BAR}" height="{_BASE - _y(value):.1f}"'
                f' fill="{_COLOURS[key]}"><title>{escape(name)}: {value:.3f} {escape(_SHOWN[key])}</title></rect>'
                f'<text x="{at + _BAR / 2}" y="{_y(value) - 4:.1f}" text-anchor="middle" font-size="9">'
                f"{value:.2f}</text>"
            )
        parts.append(f'<text x="{x + 6}" y="{_BASE + 18}">{escape(name)}</text>')
        parts.append(f'<text x="{x + 6}" y="{_BASE + 34}" font-size="10" fill="#555555">{one.n:,} samples</text>')
    return parts


def _y(value: float) -> float:
    return _BASE - value * (_BASE - _TOP)
