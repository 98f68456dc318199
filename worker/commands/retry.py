"""`globetag retry`: failed photographs go back into the queue."""

import uuid

import click

from schema import queries
from schema.messages import JOB_CHANNEL
from schema.reasons import FAILURE_REASONS
from worker.database import open_database
from worker.settings import load


@click.command()
@click.option("--failed", is_flag=True, required=True, help="Say so: every failed or dead job is meant.")
@click.option(
    "--reason",
    type=click.Choice(sorted(reason.value for reason in FAILURE_REASONS)),
    help="Only those that failed for this reason.",
)
@click.option("--collection", help="Only those of this collection.")
def command(failed: bool, reason: str | None, collection: str | None) -> None:  # noqa: ARG001
    """Put failed and dead photographs back into the queue, as if they had never been tried.

    What was cancelled is left alone unless `--reason cancelled` names it. They are worked on by the running
    workers, or by the next `globetag run` or `globetag worker`.
    """
    settings, _ = load()
    chosen = {"reason": reason, "collection": collection, "batch_id": str(uuid.uuid4())}
    with open_database(settings) as database, database.engine.begin() as connection:
        count = connection.execute(queries.jobs.RETRY_FAILED, chosen).scalar_one()
        connection.execute(queries.jobs.NOTIFY_JOBS, {"channel": JOB_CHANNEL})
    click.echo(f"{count:,} photographs are queued again")
