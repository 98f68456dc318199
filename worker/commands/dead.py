"""`globetag dead`: messages that never became jobs, and what is to be done with them."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from typing import Any

import click
from celery import Celery
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, Row

from schema import queries
from schema.reasons import MessageReason
from worker.database import Database, open_database
from worker.errors import SetupError
from worker.queue.app import make_app
from worker.queue.broker import BROKER_ERRORS, sending_queue
from worker.queue.delivery import Delivery, publish
from worker.queue.drain import QUEUES, drain
from worker.queue.quoting import quoted, quoted_bytes
from worker.settings import Settings, load

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LEFT_OUT = "(left out)"


@click.group()
def command() -> None:
    """List, show, replay or drop messages that never became jobs.

    Their bytes come from strangers: nothing of them reaches the terminal unescaped.
    """


def _age(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)([smhd])", value)
    if found is None:
        raise click.BadParameter("a number with s, m, h or d, such as 90m or 7d")
    return float(found[1]) * _UNITS_S[found[2]]


def _choosing(function: Any) -> Any:
    """The options by which messages are chosen."""
    for option in reversed(
        [
            click.option("--queue", help="Only those that came into this queue (or way in)."),
            click.option(
                "--reason",
                type=click.Choice([reason.value for reason in MessageReason]),
                help="Only those that were refused for this reason.",
            ),
            click.option("--older-than", "older_than_s", callback=_age, help="Only older ones: 90m, 12h, 7d."),
            click.option("--newer-than", "newer_than_s", callback=_age, help="Only newer ones: 90m, 12h, 7d."),
        ]
    ):
        function = option(function)
    return function


@command.command("list")
@_choosing
@click.option("--all", "closed", is_flag=True, help="Also those that were replayed or dropped.")
@click.option("--most", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
def list_(most: int, closed: bool, **chosen: Any) -> None:
    """List them, the oldest first."""
    with _opened() as (_, database, _app), database.engine.connect() as connection:
        rows = _find(connection, most=most, closed=closed, **chosen)
    table = Table()
    for column in ("id", "received", "queue", "source", "reason", "bytes", "times", "detail", "now"):
        table.add_column(
            column, overflow="fold", justify="right" if column in {"id", "bytes", "times"} else "left"
        )
    for row in rows:
        table.add_row(
            str(row.id),
            f"{row.received_at:%Y-%m-%d %H:%M:%S}",
            *(Text(quoted(text)) for text in (row.queue, row.source, row.reason)),
            f"{row.body_bytes:,}",
            str(row.times),
            Text(quoted(row.detail[:200])),
            Text(quoted(_now(row))),
        )
    Console().print(table if rows else "there are none")


@command.command()
@click.argument("number", metavar="ID", type=int)
def show(number: int) -> None:
    """Show one whole: where from, why, headers, body."""
    settings, _ = load()
    with open_database(settings) as database, database.engine.connect() as connection:
        row = connection.execute(queries.dead.SHOW, {"id": number}).one_or_none()
    if row is None:
        raise SetupError(f"there is no message {number}; see `globetag dead list --all`")
    lines = [
        f"message {row.id}, received {row.received_at}, refused {row.times} times, last {row.last_refused_at}",
        f"queue: {row.queue} (source: {row.source})",
        f"reason: {row.reason}: {MessageReason(row.reason).sentence}",
        f"detail: {row.detail}",
        f"now: {_now(row)}",
    ]
    for line in lines:
        click.echo(quoted(line))
    for name in ("properties", "headers"):
        click.echo(f"{name}: {quoted(json.dumps(getattr(row, name), indent=2), keep_lines=True)}")
    if row.body is None:
        click.echo(f"body: {row.body_bytes:,} bytes, erased")
        return
    kept = "" if len(row.body) == row.body_bytes else f", of which the first {len(row.body):,} were kept"
    click.echo(f"body: {row.body_bytes:,} bytes{kept}")
    for line in quoted_bytes(bytes(row.body)).split("\n"):
        click.echo(f"  | {line}")


@command.command()
@click.argument("numbers", metavar="ID...", type=int, nargs=-1)
@_choosing
@click.option("--all", "everything", is_flag=True, help="All that are open, or all that the options choose.")
@click.option("--by", default=None, help="Who does it; default: the name of the login.")
def replay(numbers: tuple[int, ...], everything: bool, by: str | None, **chosen: Any) -> None:
    """Put messages back into the queue that they came from, once.

    If one is refused again it is a new message here.
    """
    with _opened() as (settings, database, app):
        done = 0
        for number in _chosen(database, numbers, everything, chosen):
            with database.engine.begin() as connection:
                row = connection.execute(queries.dead.HOLD, {"id": number}).one_or_none()
                if row is None:
                    click.echo(f"{number} is not there, or was replayed or dropped", err=True)
                    continue
                if problem := _unplayable(row):
                    click.echo(f"{number} {problem}", err=True)
                    continue
                _publish(app, settings, row)
                connection.execute(queries.dead.REPLAYED, {"id": number, "by": by or getuser()})
                done += 1
    click.echo(f"{done:,} messages were put back")


@command.command()
@click.argument("numbers", metavar="ID...", type=int, nargs=-1)
@_choosing
@click.option("--all", "everything", is_flag=True, help="All that are open, or all that the options choose.")
@click.option("--by", default=None, help="Who does it; default: the name of the login.")
def drop(numbers: tuple[int, ...], everything: bool, by: str | None, **chosen: Any) -> None:
    """Give messages up: body and headers are erased; that they were there, and who dropped them, is kept."""
    with _opened() as (_, database, _app):
        done = 0
        for number in _chosen(database, numbers, everything, chosen):
            with database.engine.begin() as connection:
                dropped = connection.execute(queries.dead.DROP, {"id": number, "by": by or getuser()}).rowcount
            if not dropped:
                click.echo(f"{number} is not there, or was replayed or dropped", err=True)
            done += dropped
    click.echo(f"{done:,} messages were dropped")


@contextmanager
def _opened() -> Iterator[tuple[Settings, Database, Celery]]:
    """Everything that a command needs, with what waits in the dead-letter queues already in the table.

    So that no copy of a message outlasts what is done with its row.
    """
    settings, _ = load()
    with open_database(settings) as database:
        app = make_app(settings, database.url, engine=database.engine)
        try:
            drain(app, settings, database.engine)
        except BROKER_ERRORS as error:
            said = quoted(" ".join(str(error).split())[:300]) or type(error).__name__
            click.echo(f"the broker is away ({said}): what waits in its dead-letter queues is not shown", err=True)
        yield settings, database, app


def _find(connection: Connection, **chosen: Any) -> list[Row[Any]]:
    return list(connection.execute(queries.dead.LIST, chosen).all())


def _chosen(database: Database, numbers: tuple[int, ...], everything: bool, chosen: dict[str, Any]) -> list[int]:
    """The messages that are meant. Nobody means all of them without saying so."""
    if bool(numbers) == everything or (numbers and any(value is not None for value in chosen.values())):
        raise click.UsageError("name messages by their ID, or say --all, with options that choose among them")
    if numbers:
        return list(dict.fromkeys(numbers))
    with database.engine.connect() as connection:
        return [row.id for row in _find(connection, most=None, closed=False, **chosen)]


def _unplayable(row: Row[Any]) -> str:
    """Why this message cannot be put back; empty if it can."""
    if row.queue not in QUEUES:
        return f"did not come through a queue but by {quoted(row.queue)}: send it there again"
    if len(row.body) < row.body_bytes:
        return f"has {row.body_bytes:,} bytes, of which only the first {len(row.body):,} were kept"
    return ""


def _publish(app: Celery, settings: Settings, row: Row[Any]) -> None:
    headers = {name: value for name, value in row.headers.items() if value != _LEFT_OUT}
    delivery = Delivery(row.queue, bytes(row.body), headers, row.properties)
    try:
        with app.producer_pool.acquire(block=True) as producer:
            publish(producer, sending_queue(row.queue, settings), delivery)
    except BROKER_ERRORS as error:
        said = quoted(" ".join(str(error).split())[:300]) or type(error).__name__
        raise SetupError(f"message {row.id} could not be put back ({said}): check that the broker runs") from error


def _now(row: Row[Any]) -> str:
    if row.replayed_at is not None:
        return f"replayed {row.replayed_at:%Y-%m-%d %H:%M} by {row.by}"
    if row.dropped_at is not None:
        return f"dropped {row.dropped_at:%Y-%m-%d %H:%M} by {row.by}"
    return "open"
