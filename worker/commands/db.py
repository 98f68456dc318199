"""`globetag db`: the database's address, its schema, and the embedded server."""

import click

from worker import embedded
from worker.database import open_database, url_of
from worker.errors import SetupError
from worker.settings import load


@click.group()
def command() -> None:
    """The database: its address, its schema, start and stop of the embedded one."""


@command.command()
def url() -> None:
    """Print the database's address, for psql and other programs; starts the embedded one if need be."""
    settings, _ = load()
    click.echo(url_of(settings))


@command.command()
def upgrade() -> None:
    """Bring the schema and the views up to date. Safe while workers run, and when nothing is to do."""
    settings, _ = load()
    with open_database(settings):
        click.echo("the database is up to date")


@command.command()
def stop() -> None:
    """Stop the embedded Postgres. It starts again with the next command that needs it."""
    settings, _ = load()
    if not settings.is_embedded:
        raise SetupError("GLOBETAG_DATABASE_URL names a server of yours; only the embedded one is stopped here")
    click.echo("stopped" if embedded.stop(settings.home) else "it was not running")
