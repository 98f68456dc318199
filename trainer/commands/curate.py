"""`globetag curate`: chooses what models may learn from, and what they are judged by."""

import getpass
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.table import Table

from trainer.commands import curate_export, curate_plan, curate_report, curate_run, curate_score, curate_status
from worker.errors import SetupError
from worker.settings import load

if TYPE_CHECKING:
    from trainer.curate.curate import Curated

_DEFAULT_MIN_LABELS = 100


def _since(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Literal["last"] | datetime | None:
    """`last`, or a moment in ISO 8601; without a zone it is local time."""
    if value is None:
        return None
    if value == "last":
        return "last"
    try:
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is neither `last` nor a moment such as 2026-11-21 or 2026-11-21T08:00Z"
        ) from error


@dataclass(frozen=True)
class _Options:
    """The command line, by name."""

    collection: str | None
    since: Literal["last"] | datetime | None
    min_labels: int
    held_out_share: float
    cell_km: float
    buffer_km: float
    duplicate_cosine: float
    cell_cap: int
    country_cap: int
    series_minutes: float
    whole_folders: bool
    max_accuracy_km: float
    seed: int
    dry_run: bool
    json_path: Path | None


@click.group(invoke_without_command=True)
@click.option("--collection", help="Only photographs of this collection.")
@click.option(
    "--since", metavar="TIME|last", callback=_since, help="Only labels from TIME on, or since the last curation."
)
@click.option(
    "--min-labels",
    type=click.IntRange(min=1),
    default=_DEFAULT_MIN_LABELS,
    show_default=True,
    help="Fewer to train on are refused.",
)
@click.option(
    "--held-out-share",
    type=click.FloatRange(0, 0.9, min_open=True),
    default=0.1,
    show_default=True,
    help="What models are judged by; never trained on.",
)
@click.option(
    "--cell-km",
    type=click.FloatRange(0, 5000, min_open=True),
    default=50.0,
    show_default=True,
    help="Edge of a place cell, which goes to one side whole.",
)
@click.option(
    "--buffer-km",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="The sides keep so far apart across cells.",
)
@click.option(
    "--duplicate-cosine",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.97,
    show_default=True,
    help="As alike as this is the same, by the gate's embeddings.",
)
@click.option("--cell-cap", type=click.IntRange(min=1), default=200, show_default=True, help="At most of a cell.")
@click.option(
    "--country-cap", type=click.IntRange(min=1), default=20_000, show_default=True, help="At most of a country."
)
@click.option(
    "--series-minutes",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="So near in time, pictures of a folder are one series.",
)
@click.option("--whole-folders", is_flag=True, help="Each folder is one series.")
@click.option(
    "--max-accuracy-km",
    type=click.FloatRange(0, min_open=True),
    default=25.0,
    show_default=True,
    help="Labels that state a coarser accuracy are dropped.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides between equals.")
@click.option("--dry-run", is_flag=True, help="Show what would come of it, and store nothing.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the manifest to this file too.",
)
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Choose what models may learn from, and what they are judged by.

    Taken are photographs with a known place whose file and whose collections allow training. Near-duplicates go,
    no cell or country fills the rest, and it is split by place and by series. What is held out once stays held
    out. The result is stored as a manifest that no one changes. All that is dropped is counted.
    """
    if ctx.invoked_subcommand is None:
        _curate(_Options(**given))


@command.command()
@click.argument("collection")
@click.option("--grant/--withdraw", default=None, help="Allow training from now on, or forbid it.")
@click.option("--by", help="Who says so.  [default: the user's name]")
def consent(collection: str, grant: bool | None, by: str | None) -> None:
    """Say whether models may be trained on the photographs of COLLECTION. Nobody has agreed until somebody does.

    A withdrawal holds for manifests that exist already too: the next training leaves those photographs out. Models
    that were trained on them stay as they are.
    """
    from schema import queries
    from trainer.curate.curate import unknown_collection
    from worker.database import open_database

    if grant is None:
        raise click.UsageError("say --grant or --withdraw")
    settings, _ = load()
    with open_database(settings) as database, database.engine.begin() as connection:
        given = {"name": collection, "granted": grant, "granted_by": by or getpass.getuser()}
        if connection.execute(queries.collections.SET_TRAINING_CONSENT, given).one_or_none() is None:
            raise SetupError(
                unknown_collection(
                    collection, connection.execute(queries.collections.COLLECTION_NAMES).scalars().all()
                )
            )
    said = "may" if grant else "must not"
    click.echo(f"models {said} be trained on the photographs of {collection}")


def _curate(options: _Options) -> None:
    import orjson

    from trainer.curate.curate import curate_database
    from trainer.curate.manifest import Parameters
    from worker.database import open_database

    settings, _ = load()
    own = {"since", "dry_run", "json_path"}
    parameters = Parameters(**{name: value for name, value in vars(options).items() if name not in own})
    console = Console(stderr=True)
    with open_database(settings) as database, console.status("choosing …"):
        curated = curate_database(database.engine, parameters, since=options.since, dry_run=options.dry_run)
    _show(Console(), curated)
    if options.json_path is not None:
        said = {"id": curated.id, **curated.manifest.to_json()}
        options.json_path.write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2) + b"\n")


def _show(console: Console, curated: "Curated") -> None:
    from trainer.curate.labels import Dropped

    manifest = curated.manifest
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row(f"{manifest.labels_in:,}", "in", "photographs with a known place, by the label that counts")
    for reason in Dropped:
        if count := manifest.dropped.get(reason):
            table.add_row(f"-{count:,}", str(reason), reason.sentence)
    table.add_row(f"{len(manifest.train):,}", "train", _where(manifest.train))
    table.add_row(f"{len(manifest.held_out):,}", "held_out", _where(manifest.held_out))
    console.print(table, markup=False, highlight=False)
    state = "not stored (--dry-run)" if curated.id is None else f"curation {curated.id}"
    if curated.id is not None and not curated.is_new:
        state += ", as it was"
    console.print(f"{state}, {manifest.hash}", markup=False, highlight=False, soft_wrap=True)


def _where(members: Any) -> str:
    cells = len({member.cell for member in members})
    countries = len({member.country_code for member in members})
    return f"in {cells:,} cells of {countries:,} countries"


command.add_command(curate_plan.command, "plan")
command.add_command(curate_run.command, "run")
command.add_command(curate_status.command, "status")
command.add_command(curate_score.score_command, "score")
command.add_command(curate_score.weights_command, "weights")
command.add_command(curate_report.command, "report")
command.add_command(curate_export.command, "export")
