"""`globetag ingress`: messages and submissions of other programs become jobs."""

import signal
import sys
import threading

import click

from schema.messages import DEFAULT_COLLECTION
from worker import exit_codes
from worker.database import open_database
from worker.ingress.ingress import Ingress, broker_ready
from worker.ingress.parts import Collections
from worker.settings import load

_TICK_S = 1.0


@click.command()
@click.option(
    "--collection", default=DEFAULT_COLLECTION, show_default=True, help="For messages that name no collection."
)
@click.option(
    "--bucket",
    "buckets",
    multiple=True,
    metavar="BUCKET=COLLECTION",
    help="For S3 events of this bucket; repeat it.",
)
def command(collection: str, buckets: tuple[str, ...]) -> None:
    """Take in what other programs ask for, until stopped.

    Reads messages on the queue geotag.ingress (JSON, CloudEvents, S3 events, Celery tasks) and rows of the table
    submission, makes jobs of them, and says of the others why not. Several may run. Ctrl-C or SIGTERM: finishes
    the messages in hand and stops.
    """
    settings, _ = load()
    collections = Collections(collection, _pairs(buckets))
    stopping = threading.Event()
    with open_database(settings) as database:
        broker_ready(settings, database.url)
        ingress = Ingress(settings, database.engine, collections)
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stopping.set())
        ingress.start()
        click.echo("taking in messages and submissions; Ctrl-C stops")
        while not stopping.wait(_TICK_S) and not ingress.failed.is_set():
            pass
        ingress.stop()
        counts = ingress.counts
    click.echo(
        f"{counts.messages:,} messages and submissions: {counts.jobs:,} photographs,"
        f" {counts.refused:,} refused, {counts.ignored:,} events that ask for nothing"
    )
    sys.exit(exit_codes.SETUP_IS_WRONG if ingress.failed.is_set() else exit_codes.DONE)


def _pairs(buckets: tuple[str, ...]) -> dict[str, str]:
    pairs = [bucket.partition("=") for bucket in buckets]
    for bucket, _, name in pairs:
        if not bucket or not name.strip():
            raise click.BadParameter("write BUCKET=COLLECTION", param_hint="--bucket")
    return {bucket: name for bucket, _, name in pairs}
