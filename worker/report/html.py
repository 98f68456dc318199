"""The report: one HTML file that shows everything and asks nobody for anything.

It works from a disk without a network and without scripts. A content security policy forbids all requests and all
code but the one style sheet and the one script whose hashes it names; pictures are data URIs. Every text in it is
escaped by the template, since file names, captions and model output are strangers' text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from worker.export.remarks import sentence_of
from worker.export.rows import ExportRow
from worker.identity import ModelIdentity
from worker.report import projection
from worker.report.entries import Contents, collect
from worker.report.outline import world_outline
from worker.report.page import policy, written_whole
from worker.report.summary import UNTRAINED_WARNING, Summary
from worker.report.thumbnail import make_thumbnail
from worker.report.wording import duration, plain

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True, slots=True)
class RunInfo:
    """When it ran, and with what."""

    began: datetime
    ended: datetime
    model: ModelIdentity
    gate: ModelIdentity
    pipeline_version: str


@dataclass(frozen=True, slots=True)
class _Share:
    """One count of the header: its part of the bar, in percent, from `start`."""

    key: str
    label: str
    count: int
    start: float
    width: float


def write_report(
    path: Path,
    *,
    title: str,
    rows: Iterable[ExportRow],
    summary: Summary,
    run: RunInfo,
    file_roots: Sequence[Path] | None = None,
) -> None:
    """Writes the report to `path`, whole or not at all.

    `rows` are read once and not kept; of a large batch a few hundred photographs of each kind are shown, and the
    page says so. Thumbnails are made of local files, below `file_roots` where given. Raises `OSError` when the
    folder cannot be written.
    """
    contents = collect(rows, lambda row: make_thumbnail(row, file_roots), since=run.began)
    with written_whole(path) as page:
        page.writelines(_render(title, contents, summary, run))


def _render(title: str, contents: Contents, summary: Summary, run: RunInfo) -> Iterable[str]:
    style, script = _text("report.css"), _text("report.js")
    is_untrained = run.model.untrained or run.gate.untrained or contents.untrained_rows > 0
    took = run.ended - run.began
    return _template().generate(
        title=title,
        policy=policy(style, script),
        style=style,
        script=script,
        contents=contents,
        summary=summary,
        shares=_shares(summary),
        run=run,
        warning=UNTRAINED_WARNING if is_untrained else "",
        took=duration(took),
        rate=contents.settled_since / took.total_seconds() if took.total_seconds() > 0 else 0.0,
        marks=contents.marks.drawn(),
        outline=world_outline(),
        map=projection,
    )


@cache
def _template() -> "Template":
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = "{:,}".format
    environment.filters["sentence"] = sentence_of
    environment.filters["plain"] = plain
    return environment.from_string(_text("report.html"))


def _text(name: str) -> str:
    return (files("worker.report") / name).read_text(encoding="utf-8")


def _shares(summary: Summary) -> list[_Share]:
    counts = (
        ("known", "known", summary.known),
        ("predicted", "located", summary.located),
        ("unplaced", "not locatable", summary.not_locatable),
        ("failed", "failed", summary.failed),
        ("open", "not settled yet", summary.open),
    )
    shares: list[_Share] = []
    start = 0.0
    for key, label, count in counts:
        width = 100 * count / summary.jobs if summary.jobs else 0.0
        shares.append(_Share(key, label, count, round(start, 3), round(width, 3)))
        start += width
    return shares
