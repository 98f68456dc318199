"""`globetag models`: which models there are, which are chosen, which serves, and how that is changed."""

import getpass
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schema import queries
from worker import registry
from worker.commands.after_promotion import what_follows
from worker.database import Database, open_database
from worker.serving import name_of
from worker.settings import Settings, choose, load

_VERSION = click.IntRange(1, 2**63 - 1)


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the models that are chosen, what serves, and all that have answered so far."""
    if ctx.invoked_subcommand is not None:
        return
    settings, origin = load()
    click.echo(f"LVLM: {settings.model} ({origin['model']})")
    click.echo(f"CLIP: {settings.clip} ({origin['clip']})")
    with open_database(settings) as database:
        _show_serving(settings, database)
        with database.engine.connect() as connection:
            versions = connection.execute(queries.models.LIST_MODEL_VERSIONS).all()
    rows = [
        (
            row.kind,
            row.name,
            row.version,
            "UNTRAINED" if row.untrained else "yes",
            f"{row.predictions:,}",
            f"{row.created_at:%Y-%m-%d}",
        )
        for row in versions
    ]
    _print("Models that have answered here", ("kind", "name", "version", "trained", "predictions", "since"), rows)


@command.command("list")
def list_() -> None:
    """Show the versions that are registered for the chosen LVLM, with what they come from."""
    settings, _ = load()
    with open_database(settings) as database:
        found = registry.registered_for(database.engine, settings.model)
        serves = registry.serving(database.engine, settings.model)
    if not found:
        click.echo(f"no version is registered for GLOBETAG_MODEL={settings.model}")
        return
    rows = [
        (
            str(version.id),
            "serves" if serves and serves.id == version.id else "",
            version.version,
            _or_dash(version.parent_id),
            _or_dash(version.training_run_id),
            _figures(version.metrics),
            f"{predictions:,}",
            f"{version.created_at:%Y-%m-%d %H:%M}",
            str(version.folder),
        )
        for version, predictions in found
    ]
    headings = ("id", "", "version", "parent", "run", "metrics", "predictions", "since", "folder")
    _print(f"Registered for {settings.model}", headings, rows)


@command.command()
@click.argument("a", type=_VERSION)
@click.argument("b", type=_VERSION)
def compare(a: int, b: int) -> None:
    """Compare versions A and B on the photographs with a known place that both were asked about.

    Counts from stored predictions: how many each has right, and how many only one of the two. Nothing is computed
    anew; `globetag evaluate` asks a model, and gives intervals.
    """
    settings, _ = load()
    with open_database(settings) as database:
        for version_id in (a, b):
            registry.read_version(database.engine, version_id)
        with database.engine.connect() as connection:
            found = connection.execute(queries.models.COMPARE_VERSIONS, {"a": a, "b": b}).all()
    if not found:
        click.echo(f"no photograph with a known place has predictions of both {a} and {b}")
        return
    rows = [
        (
            row.measure,
            *(f"{count:,}" for count in (row.photographs, row.a_right, row.b_right, row.only_a, row.only_b)),
        )
        for row in found
    ]
    headings = ("", "photographs", f"{a} right", f"{b} right", f"only {a}", f"only {b}")
    _print(f"Versions {a} and {b} on the same photographs", headings, rows)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--parent", type=_VERSION, help="The version that its training began from.")
def register(folder: Path, parent: int | None) -> None:
    """Register the checkpoint in FOLDER as a version of the chosen LVLM. It serves nobody until it is promoted."""
    settings, _ = load()
    with open_database(settings) as database:
        if parent is not None:
            registry.read_version(database.engine, parent)
        registered = registry.register(
            database.engine,
            folder,
            base=settings.model,
            parent_id=parent,
            training_run_id=None,
            curation_id=None,
            metrics={},
        )
    click.echo(f"{name_of(registered)} is registered; `globetag models promote {registered.id}` lets it serve")


@command.command()
@click.argument("version_id", metavar="ID", type=_VERSION)
@click.option("--reason", default="", help="Why; kept with the promotion.")
def promote(version_id: int, reason: str) -> None:
    """Let version ID serve the workers of the chosen LVLM. Those that run change over by themselves."""
    settings, _ = load()
    with open_database(settings) as database:
        registry.promote(
            database.engine, version_id, base=settings.model, by=getpass.getuser(), reason=reason, evidence={}
        )
        _show_serving(settings, database)
        click.echo(what_follows(database.engine, settings))


@command.command()
@click.option("--reason", default="", help="Why; kept with the rollback.")
@click.option("--to-base", is_flag=True, help="At once to the model that GLOBETAG_MODEL itself names.")
def rollback(reason: str, to_base: bool) -> None:
    """Let the version that served before serve again. Workers that run change over by themselves."""
    settings, _ = load()
    with open_database(settings) as database:
        registry.rollback(
            database.engine, base=settings.model, by=getpass.getuser(), reason=reason, to_base=to_base
        )
        _show_serving(settings, database)
        click.echo(what_follows(database.engine, settings))


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


def _show_serving(settings: Settings, database: Database) -> None:
    """What serves, since when, by whom and why; and which workers could not load it."""
    standing = registry.look(database.engine, settings.model)
    if standing is None:
        click.echo("serving: the base model itself; nothing was promoted")
        return
    done = "promoted" if standing.action == "promote" else "rolled back to"
    why = f": {standing.reason}" if standing.reason else ""
    since = standing.since.astimezone()
    click.echo(f"serving: {name_of(standing.registered)}, {done} {since:%Y-%m-%d %H:%M} by {standing.by}{why}")
    with database.engine.connect() as connection:
        failures = connection.execute(
            queries.models.PROMOTION_FAILURES, {"promotion_id": standing.promotion_id}
        ).all()
    for failure in failures:
        click.echo(
            f"FAILED on worker {failure.worker}, which goes on with the version that it had: {failure.detail}"
        )
    if failures:
        again = f"`globetag models promote {standing.registered.id}`" if standing.registered else "a restart"
        click.echo(f"once that is mended, {again} lets them try again; or `globetag models rollback`")


def _figures(metrics: Mapping[str, Any]) -> str:
    """The plain numbers among the metrics, in their order."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def _print(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=Text(title), title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
