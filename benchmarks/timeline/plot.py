"""The plot: one row for each photograph, one bar for each stage. SVG, and an HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.timeline.spans import SHOWN, Span

_COLOURS = {
    "fetch": "#4477aa",
    "lookup": "#bbbbbb",
    "decode": "#66ccee",
    "gate": "#228833",
    "recall": "#ccbb44",
    "reason": "#ee6677",
    "save": "#aa3377",
}
"""Paul Tol's bright palette, which those who see colours differently can tell apart too."""
_WIDTH, _LEFT, _TOP, _ROW, _BAR = 960, 12, 34, 5, 4


def window(spans: Sequence[Span], photographs: int) -> list[Span]:
    """The spans of so many photographs from the middle of a run, when all stages are at work."""
    numbers = sorted({span.number for span in spans})
    first = max(0, (len(numbers) - photographs) // 2)
    chosen = set(numbers[first : first + photographs])
    return [span for span in spans if span.number in chosen]


def svg(spans: Sequence[Span]) -> str:
    """One row for each photograph in the order in which they began, time to the right."""
    began_s = min(span.began_s for span in spans)
    scale = (_WIDTH - 2 * _LEFT) / (max(span.ended_s for span in spans) - began_s)
    first: dict[int, float] = {}
    for span in spans:
        first[span.number] = min(first.get(span.number, span.began_s), span.began_s)
    rows = {number: row for row, number in enumerate(sorted(first, key=lambda number: first[number]))}
    height = _TOP + len(rows) * _ROW + 26
    bars = [
        f'<rect x="{_LEFT + (span.began_s - began_s) * scale:.2f}" y="{_TOP + rows[span.number] * _ROW}"'
        f' width="{max(0.4, (span.ended_s - span.began_s) * scale):.2f}" height="{_BAR}"'
        f' fill="{_COLOURS[span.stage]}"><title>photograph {span.number}, {SHOWN[span.stage]}:'
        f" {1000 * (span.ended_s - span.began_s):.1f} ms</title></rect>"
        for span in spans
        if span.stage in SHOWN
    ]
    legend = [
        f'<rect x="{_LEFT + place * 110}" y="10" width="12" height="12" fill="{_COLOURS[stage]}"/>'
        f'<text x="{_LEFT + 17 + place * 110}" y="20">{escape(word)}</text>'
        for place, (stage, word) in enumerate(SHOWN.items())
    ]
    lasts_s = (_WIDTH - 2 * _LEFT) / scale
    axis = (
        f'<text x="{_LEFT}" y="{height - 8}">0 s</text>'
        f'<text x="{_WIDTH - _LEFT}" y="{height - 8}" text-anchor="end">{lasts_s:.1f} s</text>'
        f'<text x="{_WIDTH / 2}" y="{height - 8}" text-anchor="middle">{len(rows)} photographs, a row each</text>'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}"'
            ' font-family="sans-serif" font-size="12" role="img" aria-label="Stages of photographs over time">',
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            *legend,
            *bars,
            axis,
            "</svg>",
        ]
    )


def page(spans: Sequence[Span], figures: Mapping[str, float | None], about: str) -> str:
    """An HTML file with the plot and the figures; it asks no network for anything and runs nothing."""
    told = "".join(
        f"<tr><td>{escape(name)}</td><td>{'not measured' if value is None else f'{value:,.3f}'}</td></tr>"
        for name, value in figures.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        "<title>Globetag: stages over time</title>"
        "<style>body{font:15px sans-serif;margin:2em;max-width:1000px}td{padding:2px 12px 2px 0}</style>"
        f"<h1>Stages over time</h1><p>{escape(about)}</p>\n{svg(spans)}\n<table>{told}</table></html>\n"
    )
