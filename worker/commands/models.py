"""`globetag models`: which models there are, which are chosen, and the small test models."""

import click
from rich.console import Console
from rich.table import Table

from schema import queries
from worker.database import open_database
from worker.settings import Settings, choose, load


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the models that are chosen and those that have answered so far."""
    if ctx.invoked_subcommand is not None:
        return
    settings, origin = load()
    click.echo(f"LVLM: {settings.model} ({origin['model']})")
    click.echo(f"CLIP: {settings.clip} ({origin['clip']})")
    with open_database(settings) as database, database.engine.connect() as connection:
        versions = connection.execute(queries.LIST_MODEL_VERSIONS).all()
    table = Table(title="Models that have answered here", title_justify="left")
    for heading in ("kind", "name", "version", "trained", "predictions", "since"):
        table.add_column(heading, overflow="fold")
    for row in versions:
        trained = "UNTRAINED" if row.untrained else "yes"
        table.add_row(
            row.kind, row.name, row.version, trained, f"{row.predictions:,}", f"{row.created_at:%Y-%m-%d}"
        )
    Console().print(table)


@command.command()
@click.option("--model", help="The LVLM: a hub id or a folder.")
@click.option("--clip", help="The gate's backbone: open_clip NAME:PRETRAINED, or a folder.")
@click.option("--test", is_flag=True, help="The small UNTRAINED test models: they show the plumbing, not places.")
def use(model: str | None, clip: str | None, test: bool) -> None:
    """Choose the models for this GLOBETAG_HOME. The environment (GLOBETAG_MODEL, GLOBETAG_CLIP) overrides it."""
    settings, _ = load()
    if test:
        use_test_models(settings)
        return
    chosen = {"GLOBETAG_MODEL": model, "GLOBETAG_CLIP": clip}
    given = {name: value for name, value in chosen.items() if value}
    if not given:
        raise click.UsageError("give --model, --clip or --test")
    click.echo(f"written to {choose(settings.home, given)}")


def use_test_models(settings: Settings) -> Settings:
    """Builds the test models where they are missing and chooses them. Returns the settings that result."""
    from atlas.model import build

    vlm, clip = build(settings.models_folder.absolute())
    file = choose(
        settings.home, {"GLOBETAG_MODEL": str(vlm), "GLOBETAG_CLIP": str(clip), "GLOBETAG_MAX_TOKENS": "64"}
    )
    click.echo(f"this folder uses the UNTRAINED test models from here on ({file});", err=True)
    click.echo("`globetag models use --model … --clip …` chooses others", err=True)
    return load()[0]
