"""What became of a batch, in counts: one short table for the terminal, the same figures for the report."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sqlalchemy import Row

from schema.reasons import JobState
from worker.errors import GlobetagError
from worker.export.remarks import sentence_of

UNTRAINED_WARNING = "UNTRAINED test models: the places mean nothing"


@dataclass(frozen=True, slots=True)
class Summary:
    """How many jobs ended how. What came in (`jobs`) is the sum of the five counts below it; `reused` says how
    many of the done ones were answered from earlier rows."""

    jobs: int
    known: int = 0
    located: int = 0
    not_locatable: int = 0
    failed_by_reason: Mapping[str, int] = field(default_factory=dict)
    open: int = 0
    reused: int = 0

    def __post_init__(self) -> None:
        """Raises `GlobetagError` when jobs are unaccounted for: a sum that does not add up is never shown."""
        told = self.known + self.located + self.not_locatable + self.failed + self.open
        if told != self.jobs:
            raise GlobetagError(f"{self.jobs:,} jobs went in, but only {told:,} are accounted for")

    @classmethod
    def of(cls, rows: Iterable[Row[Any] | Mapping[str, Any]]) -> Self:
        """From the rows of `schema.queries.reading.BATCH_SUMMARY`."""
        counts = {"known": 0, "located": 0, "not_locatable": 0, "open": 0}
        failed: dict[str, int] = {}
        jobs = reused = 0
        for row in rows:
            found = row._mapping if isinstance(row, Row) else row
            jobs += found["jobs"]
            reused += found["jobs"] if found["reused"] else 0
            match found["state"]:
                case JobState.DONE if found["outcome"] in counts:
                    counts[found["outcome"]] += found["jobs"]
                case JobState.FAILED | JobState.DEAD:
                    reason = str(found["reason"])
                    failed[reason] = failed.get(reason, 0) + found["jobs"]
                case JobState.QUEUED | JobState.RUNNING:
                    counts["open"] += found["jobs"]
        ordered = dict(sorted(failed.items(), key=lambda item: (-item[1], item[0])))
        return cls(jobs=jobs, failed_by_reason=ordered, reused=reused, **counts)

    @property
    def done(self) -> int:
        """Settled with an answer, be it that there is no place."""
        return self.known + self.located + self.not_locatable

    @property
    def failed(self) -> int:
        """Ended without an answer: states `failed` and `dead`."""
        return sum(self.failed_by_reason.values())


def print_summary(console: Console, summary: Summary, *, untrained: bool) -> None:
    """Prints the table, and a warning in a box where the models are untrained."""
    console.print(render_summary(summary, untrained=untrained))


def render_summary(summary: Summary, *, untrained: bool) -> Group:
    """The table as a value that rich can show."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for count, what, style in _lines(summary):
        table.add_row(f"{count:,}", what, style=style)
    parts: list[Table | Panel] = [table]
    if untrained:
        parts.insert(0, Panel.fit(Text(UNTRAINED_WARNING), style="bold black on yellow"))
    return Group(*parts)


def _lines(summary: Summary) -> Iterable[tuple[int, Text, str]]:
    yield summary.jobs, Text("photographs"), "bold"
    yield summary.done, Text("done"), ""
    yield summary.known, Text("  place known: recorded by the camera, or set before"), ""
    yield summary.located, Text("  located by the model"), ""
    yield summary.not_locatable, Text("  not locatable"), ""
    yield summary.failed, Text("failed"), "bold red" if summary.failed else ""
    for reason, count in summary.failed_by_reason.items():
        yield count, Text(f"  {reason}: {sentence_of(reason)}"), "red"
    if summary.open:
        yield summary.open, Text("not settled yet"), "yellow"
    if summary.reused:
        yield summary.reused, Text("of the done answered from earlier work"), "dim"
