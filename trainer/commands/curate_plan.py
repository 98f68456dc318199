"""`globetag curate plan`: what teachers would be asked, how long it would take, and what it would cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from trainer.commands.distillation import draw, source_of, source_options, teachers_of
from worker.settings import load

if TYPE_CHECKING:
    from trainer.commands.distillation import Drawn
    from trainer.curate.distil.estimate import Estimate


@click.command()
@source_options
def command(teachers_path: Path | None, name: str | None, **given: Any) -> None:
    """Show what would be asked of which teacher, how many tokens, how long, at what cost. Nobody is asked.

    Photographs come from the training side of a curation (`globetag curate`), from a folder with a CSV, or from
    MP-16. What is answered already is not counted again. Figures of a model that has answered here before are
    measured; others are assumed, and marked so: run with --at-most 50 first, then plan again.
    """
    from trainer.curate.distil.estimate import estimates
    from trainer.curate.distil.store import find
    from worker.database import open_database

    source = source_of(given)
    settings, _ = load()
    teachers = teachers_of(teachers_path, settings)
    console = Console(stderr=True)
    with open_database(settings) as database:
        with console.status("reading …"):
            drawn = draw(database.engine, source)
        stored = find(database.engine, name or drawn.name)
        found = estimates(database.engine, teachers, drawn.found.subjects, stored)
    out = Console()
    show_source(out, drawn)
    if stored is not None:
        out.print(f"{stored.name}: it is there already ({stored.state}); what is answered is not asked again")
    _show(out, found)


def show_source(console: Console, drawn: "Drawn") -> None:
    """How many photographs there are, and how many are none, with the reason."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row(f"{drawn.found.rows:,}", "in", "photographs or rows of the source")
    for reason, count in sorted(drawn.found.counts.items()):
        table.add_row(f"-{count:,}", str(reason), reason.sentence)
    table.add_row(f"{len(drawn.found.subjects):,}", "to ask about", "")
    console.print(table, markup=False, highlight=False)


def _show(console: Console, found: "list[Estimate]") -> None:
    table = Table(title="Teachers", title_justify="left")
    for heading in ("teacher", "questions", "tokens in", "tokens out", "time", "cost", "figures"):
        table.add_column(heading, justify="left" if heading in {"teacher", "figures"} else "right")
    for one in found:
        cost = "no price given" if one.cost is None else f"{one.cost:,.2f}" if one.speaks else "–"
        table.add_row(
            one.teacher,
            f"{one.questions:,}",
            f"{one.tokens_in:,}" if one.speaks else "–",
            f"{one.tokens_out:,}" if one.speaks else "–",
            duration(one.time_s),
            cost,
            "measured" if one.measured else "assumed",
        )
    console.print(table, markup=False)
    questions, longest = sum(one.questions for one in found), max((one.time_s for one in found), default=0.0)
    known = [one.cost for one in found if one.cost is not None]
    unpriced = sum(one.cost is None for one in found)
    beside = f", beside {unpriced} teachers without a price" if unpriced else ""
    console.print(
        f"{questions:,} questions, about {duration(longest)} as teachers are asked at once, cost about"
        f" {sum(known):,.2f}{beside}. Nobody was asked.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def duration(seconds: float) -> str:
    """For a person."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
