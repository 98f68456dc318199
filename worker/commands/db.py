"""`globetag db`: the database's address, its schema, and the embedded server."""

import click

from worker import embedded
from worker.database import open_database, url_of
from worker.errors import SetupError
from worker.place.gallery_index import build_index, drop_idle_indexes, gallery_models
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


@command.command("index-embeddings")
@click.option(
    "--rebuild", is_flag=True, help="Also where there is an index, say after most of its rows have changed."
)
@click.option(
    "--memory-mb",
    type=click.IntRange(min=1),
    help="What the build may take  [default: what it needs, at most 3072]",
)
@click.option(
    "--helpers", type=click.IntRange(min=0), default=0, show_default=True, help="Parallel processes beside it."
)
def index_embeddings(rebuild: bool, memory_mb: int | None, helpers: int) -> None:
    """Index the embeddings of photographs with a known place, for recall in large archives.

    A worker does so by itself once an archive needs it; this does it now, say after a large import. Safe while
    workers run. Indexes of gates whose embeddings are all gone are dropped.
    """
    settings, _ = load()
    with open_database(settings) as database:
        for _ in drop_idle_indexes(database.engine):
            click.echo("dropped the index of a gate that is no longer used")
        with database.engine.connect() as connection:
            models = gallery_models(connection)
        if not models:
            click.echo("nothing to index: no photograph with a known place has an embedding yet")
        for model in models:
            built = build_index(
                database.engine, model.model_id, rebuild=rebuild, memory_mb=memory_mb, helpers=helpers
            )
            what = f"{model.model}: {model.photographs} photographs of {model.dimensions} dimensions"
            if built:
                click.echo(f"{what}, indexed in {built.seconds:.0f} s, {built.size_bytes / 1e6:.0f} MB")
            elif model.size_bytes is None:
                click.echo(f"{what}, being indexed by another process")
            else:
                click.echo(f"{what}, indexed before, {model.size_bytes / 1e6:.0f} MB")


@command.command()
def stop() -> None:
    """Stop the embedded Postgres. It starts again with the next command that needs it."""
    settings, _ = load()
    if not settings.is_embedded:
        raise SetupError("GLOBETAG_DATABASE_URL names a server of yours; only the embedded one is stopped here")
    click.echo("stopped" if embedded.stop(settings.home) else "it was not running")
