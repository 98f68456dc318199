"""`globetag curate status`: how asking teachers stands."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schema import queries
from trainer.commands.curate_plan import duration
from worker.settings import load

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from trainer.curate.distil.store import Distillation

_PACE_WITHIN_S = 600


@click.command()
@click.option("--name", help="Of this distillation.  [default: the newest]")
@click.option("--all", "show_all", is_flag=True, help="List all distillations, the newest first.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="With --all: so many.")
def command(name: str | None, show_all: bool, limit: int) -> None:
    """Show how asking teachers stands: answers and troubles by teacher, quarantines, time left, what was kept."""
    from trainer.curate.distil.store import named
    from worker.database import open_database

    settings, _ = load()
    with open_database(settings) as database:
        if show_all:
            _list(Console(), database.engine, limit)
            return
        _show(Console(), database.engine, named(database.engine, name))


def _list(console: Console, engine: "Engine", limit: int) -> None:
    from trainer.curate.distil.store import told_source

    with engine.connect() as connection:
        rows = connection.execute(queries.distil.LIST_DISTILLATIONS, {"limit": limit}).all()
    table = Table(title="Distillations", title_justify="left")
    for heading in ("name", "source", "state", "photographs", "answers", "kept", "teachers"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        teachers = ", ".join(teacher["name"] for teacher in row.teachers)
        table.add_row(
            Text(row.name),
            Text(told_source(row.source)),
            row.state,
            f"{row.photographs:,}",
            f"{row.answers:,}",
            f"{row.kept:,}",
            Text(teachers),
        )
    console.print(table)


def _show(console: Console, engine: "Engine", stored: "Distillation") -> None:
    from trainer.curate.distil.ledger import AGAIN
    from trainer.curate.distil.store import told_source

    given = {"id": stored.id}
    names = [teacher.name for teacher in stored.teachers]
    with engine.connect() as connection:
        is_running = connection.execute(queries.distil.IS_RUN_LOCKED, given).scalar_one()
        photographs = connection.execute(queries.distil.COUNT_DISTILLED, given).all()
        answers = connection.execute(queries.distil.COUNT_ANSWERS, given).all()
        left = connection.execute(queries.distil.COUNT_TO_ASK, {**given, "teachers": names, "again": AGAIN}).all()
        pace = connection.execute(queries.distil.PACE, {**given, "within_s": _PACE_WITHIN_S}).all()
        samples = connection.execute(queries.distil.COUNT_SAMPLES, given).all()
    console.print(Text(f"{stored.name}: {told_source(stored.source)}"))
    state = stored.state
    if state in {"running", "verifying"} and not is_running:
        state += ", but its process has ended: run it again to go on"
    console.print(Text(state + (f" ({stored.detail})" if stored.detail else "")))
    told = ", ".join(
        f"{row.photographs:,} {row.state}{f' ({row.reason})' if row.reason else ''}" for row in photographs
    )
    console.print(Text(f"photographs: {told or 'none'}"))
    _teachers(console, stored, answers, {row.teacher: row.questions for row in left}, pace)
    if samples:
        kept = sum(row.samples for row in samples if row.kept)
        chosen = sum(row.chosen for row in samples)
        console.print(Text(f"samples: {sum(row.samples for row in samples):,}, kept {kept:,}, chosen {chosen:,}"))
        for row in samples:
            if not row.kept:
                console.print(Text(f"  -{row.samples:,} {row.dropped_by}: {row.reason}"))


def _teachers(console: Console, stored: "Distillation", answers: Any, left: dict[str, int], pace: Any) -> None:
    of: dict[str, list[Any]] = defaultdict(list)
    for row in answers:
        of[row.teacher].append(row)
    rate = {row.teacher: row.answers / float(row.within_s) for row in pace if row.answers > 1 and row.within_s}
    quarantined = stored.quarantined()
    table = Table(title="Teachers", title_justify="left")
    for heading in ("teacher", "answered", "to ask", "troubled", "asked again", "median", "time left", "stands"):
        table.add_column(heading, overflow="fold")
    names = dict.fromkeys([teacher.name for teacher in stored.teachers] + sorted(of))
    for name in names:
        rows = of.get(name, [])
        open_questions = 0 if name in quarantined else left.get(name, 0)
        troubles = ", ".join(f"{row.questions:,} {row.trouble}" for row in rows if row.trouble)
        seconds = [row.median_s for row in rows if row.state == "answered" and row.median_s is not None]
        time_left = duration(open_questions / rate[name]) if open_questions and name in rate else ""
        table.add_row(
            Text(name),
            f"{sum(row.questions for row in rows if row.state == 'answered'):,}",
            f"{open_questions:,}",
            troubles,
            f"{sum(row.again for row in rows):,}",
            f"{seconds[0]:.1f} s" if seconds else "",
            time_left,
            Text(_standing(stored, name, quarantined)),
        )
    console.print(table)


def _standing(stored: "Distillation", name: str, quarantined: dict[str, str]) -> str:
    told = stored.standing.get(name, {})
    parts = []
    if name in quarantined:
        parts.append(f"QUARANTINED, {quarantined[name]}: {told.get('detail', '')}")
    control = told.get("control")
    if control and control.get("names_city"):
        parts.append(f"names {control['says']} for a plain grey picture")
    if name not in {teacher.name for teacher in stored.teachers}:
        parts.append("is asked no more")
    return "; ".join(parts)
