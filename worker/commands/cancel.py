"""`globetag cancel`: queued photographs are taken back."""

import uuid
from datetime import datetime
from typing import Any

import click

from schema import queries
from worker.database import Database, open_database
from worker.errors import SetupError
from worker.settings import load

_AT_ONCE = 10_000  # rows in a transaction: workers that claim meanwhile never wait long


@click.command()
@click.option("--collection", help="All that is queued of this collection.")
@click.option("--batch", type=click.UUID, help="All that is queued of one `globetag enqueue`, which names it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(collection: str | None, batch: uuid.UUID | None, yes: bool) -> None:
    """Take queued photographs back: they end as failed, with the reason `cancelled`.

    Those in work are finished. `globetag retry --failed --reason cancelled` queues them again after all;
    `globetag collection NAME --pause` only holds them back.
    """
    if collection is None and batch is None:
        raise click.UsageError("Say what to take back: --collection NAME or --batch ID.")
    settings, _ = load()
    with open_database(settings) as database:
        chosen = {"collection_id": _id_of(database, collection), "batch_id": batch and str(batch)}
        with database.engine.connect() as connection:
            standing = connection.execute(queries.flow.COUNT_OPEN, chosen).one()
        if standing.queued and not yes:
            click.confirm(f"Take {standing.queued:,} queued photographs back?", abort=True)
        count = cancel(database, chosen)
    in_work = f"; {standing.running:,} are in work and will be finished" if standing.running else ""
    click.echo(f"{count:,} photographs are cancelled{in_work}")


def cancel(database: Database, chosen: dict[str, Any]) -> int:
    """Cancels what is queued of `chosen` (`collection_id`, `batch_id`; None: any), a part at a time.

    Returns how many. Stopped in the middle, it leaves a part cancelled; a second call goes on from there.
    """
    detail = f"Taken back on {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}, before it was begun."
    total = 0
    while True:
        with database.engine.begin() as connection:
            asked = chosen | {"detail": detail, "most": _AT_ONCE}
            count = connection.execute(queries.flow.CANCEL, asked).scalar_one()
        if not count:
            return total
        total += count


def _id_of(database: Database, name: str | None) -> int | None:
    if name is None:
        return None
    with database.engine.connect() as connection:
        found = connection.execute(queries.collections.COLLECTION_ID, {"collection": name}).scalar_one_or_none()
    if found is None:
        raise SetupError(f"there is no collection {name!r}; `globetag status` lists them")
    return int(found)
