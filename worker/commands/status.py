"""`globetag status`: how far everything is."""

import time

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from schema import queries
from worker.database import Database, open_database
from worker.settings import load

_WINDOW_S = 60


@click.command()
@click.option("--watch", is_flag=True, help="Keep it on the screen, once a second, until Ctrl-C.")
def command(watch: bool) -> None:
    """Show how far everything is: each collection, the rate of the last minute, failures by reason."""
    settings, _ = load()
    with open_database(settings) as database:
        if not watch:
            Console().print(_picture(database))
            return
        with Live(_picture(database), auto_refresh=False) as live:
            while True:
                time.sleep(1)
                live.update(_picture(database), refresh=True)


def _picture(database: Database) -> Group:
    with database.engine.connect() as connection:
        collections = connection.execute(queries.reading.LIST_PROGRESS).all()
        failures = connection.execute(queries.reading.LIST_FAILURES).all()
        settled = connection.execute(queries.reading.RATE, {"window_s": _WINDOW_S}).scalar_one()
    progress = Table(title="Collections", title_justify="left")
    progress.add_column("collection")
    columns = ("jobs", "queued", "running", "known", "located", "not_locatable", "failed", "dead")
    for column in columns:
        progress.add_column(column.replace("_", " "), justify="right")
    for row in collections:
        name = f"{row.collection} (paused)" if row.paused_since else row.collection
        progress.add_row(Text(name), *(f"{getattr(row, column):,}" for column in columns))
    parts: list[Table | Text] = [progress]
    waiting = sum(row.running + (0 if row.paused_since else row.queued) for row in collections)
    rate = settled / _WINDOW_S
    left = f", about {_duration(waiting / rate)} left" if waiting and rate else ""
    parts.append(Text(f"{settled:,} settled in the last minute ({rate:.1f}/s){left}"))
    if failures:
        table = Table(title="Failures", title_justify="left")
        table.add_column("reason")
        table.add_column("photographs", justify="right")
        table.add_column("for example", overflow="fold")
        for row in failures:
            table.add_row(row.reason, f"{row.jobs:,}", Text(row.example))
        parts.append(table)
    return Group(*parts)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
