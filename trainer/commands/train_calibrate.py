"""`globetag train calibrate` and `calibrations`: a radius that keeps its promise, and which ones are in force."""

import sys
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from worker import exit_codes
from worker.errors import SetupError
from worker.settings import load

if TYPE_CHECKING:
    from trainer.calibrate.archive import FromArchive
    from trainer.calibrate.fit import Parameters
    from worker.calibrations import Standing

_FILE = click.Path(exists=True, path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--collection", help="For this collection, from its photographs.  [default: for all others, from all]"
)
@click.option("--coverage", type=click.FloatRange(0.5, 0.99), default=0.9, show_default=True, help="To promise.")
@click.option(
    "--max-risk",
    type=click.FloatRange(0.01, 0.5),
    default=0.1,
    show_default=True,
    help="Share of answers that may be wrong by more than 25 km; decides from which hardness on to abstain.",
)
@click.option(
    "--days", type=click.IntRange(min=1), default=365, show_default=True, help="How long it is in force."
)
@click.option("--dry-run", is_flag=True, help="Say what it would promise and keep, and store nothing.")
@click.option("--predictions", type=_FILE, help="Instead of the archive: published predictions with confidences.")
@click.option("--truth", type=_FILE, help="With --predictions: the known places.")
@click.option("--seed", default=0, show_default=True, help="Deals the places into halves.")
def calibrate(
    collection: str | None,
    coverage: float,
    max_risk: float,
    days: int,
    dry_run: bool,
    predictions: Path | None,
    truth: Path | None,
    seed: int,
) -> None:
    """Calibrate the radius of what serves, on photographs with known place that it has not learnt from.

    Ask about such photographs first: `globetag run --verify`. Running workers take the calibration up by
    themselves. After a promotion or a change of settings the one of before is not used: `globetag train worker`
    renews it, and so does `globetag train renew`.
    """
    from trainer.calibrate.fit import Parameters

    if (predictions is None) != (truth is None):
        raise click.UsageError("--predictions and --truth belong together")
    parameters = Parameters(coverage=coverage, max_risk=max_risk, seed=seed)
    if predictions is not None and truth is not None:
        if collection is not None:
            raise click.UsageError("--collection is about the archive, --predictions about a file")
        _from_files(predictions, truth, parameters)
    else:
        _from_archive(collection, parameters, days, dry_run)


@click.command()
def renew() -> None:
    """Look once whether what serves needs a calibration, and do what is to be done now.

    The training worker does so by itself every minute. Photographs of known place go into the queue again; once
    workers have answered them, the next look calibrates as the last calibration was made.
    """
    from trainer.renew.renew import Looked, look
    from worker.database import open_database

    settings, _ = load()
    with open_database(settings) as database:
        looked = look(database.engine, base=settings.model, photographs=settings.calibrate_photographs)
    click.echo(looked.told)
    if looked.ended in {Looked.REFUSED, Looked.STANDS_REFUSED}:
        sys.exit(exit_codes.SOME_FAILED)


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many, the latest.")
def calibrations(limit: int) -> None:
    """Show the calibrations of the radius, which are in force, and how renewing them stands."""
    from trainer.renew.told import renewals
    from worker.calibrations import standings
    from worker.database import open_database

    settings, _ = load()
    with open_database(settings) as database:
        rows = standings(database.engine, limit)
        renewed = renewals(database.engine, settings.model)
    if rows:
        _show(rows)
    else:
        click.echo("there is no calibration yet: radii are nominal; `globetag train calibrate` makes one")
    for line in renewed:
        click.echo(line)


def _show(rows: "list[Standing]") -> None:
    table = Table(title="Calibrations", title_justify="left")
    for heading in (
        "id",
        "made",
        "for",
        "model",
        "coverage",
        "checked",
        "photographs",
        "places",
        "standing",
        "used",
    ):
        table.add_column(heading, overflow="fold")
    for row in rows:
        checked = row.figures.get("coverage_checked")
        table.add_row(
            str(row.calibration_id),
            row.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M"),
            row.collection or "all others",
            row.model,
            f"{row.coverage:.0%}",
            "" if checked is None else f"{checked:.1%}",
            "" if row.photographs is None else f"{row.photographs:,}",
            "" if row.clusters is None else f"{row.clusters:,}",
            row.standing,
            f"{row.predictions:,}",
        )
    Console().print(table, markup=False)


def _from_archive(collection: str | None, parameters: "Parameters", days: int, dry_run: bool) -> None:
    from trainer.calibrate.archive import read_archive
    from trainer.calibrate.make import make_of, store
    from trainer.calibrate.report import print_calibration
    from worker.database import open_database
    from worker.registry import serving

    settings, _ = load()
    with open_database(settings) as database:
        serves = serving(database.engine, settings.model)
        found = read_archive(database.engine, base=settings.model, serving=serves, collection=collection)
        _tell_counts(found)
        made = make_of(found, parameters, collection)
        print_calibration(Console(), made.model, made.checked, found.sample)
        if dry_run:
            click.echo("nothing was stored (--dry-run)")
            return
        calibration_id = store(database.engine, made, days=days)
    click.echo(f"calibration {calibration_id} is in force for {collection or 'all collections without their own'}")


def _tell_counts(found: "FromArchive") -> None:
    click.echo(f"{found.sample.n:,} answers with a place, about photographs that the model has not learnt from")
    for count, told in (
        (found.not_asked, "known places were not asked about by this version"),
        (found.learnt, "were learnt from, or are of a place or series that was"),
        (found.helped, "were told their place by a near-duplicate of the same place"),
        (found.without_difficulty, "answers are older than the signs of difficulty: ask again"),
        (found.not_located, "answers name no place"),
    ):
        if count:
            click.echo(f"  {count:,} {told}")


def _from_files(predictions: Path, truth: Path, parameters: "Parameters") -> None:
    from trainer.calibrate.check import cross_validate
    from trainer.calibrate.files import read_files
    from trainer.calibrate.fit import fit
    from trainer.calibrate.report import print_calibration
    from worker.place.gazetteer import Gazetteer

    console = Console(stderr=True)
    with console.status("reading …"):
        sample = read_files(predictions, truth, Gazetteer.load())
    try:
        model = fit(sample, parameters)
        checked = cross_validate(sample, parameters)
    except SetupError as error:
        raise SetupError(f"calibration was not possible: {error}") from error
    print_calibration(Console(), model, checked, sample)
    kept = checked.radius
    held = kept.low is not None and kept.high is not None and kept.high >= parameters.coverage
    click.echo(
        f"calibration was possible: {kept.n:,} answers, {kept.clusters:,} photographers or places,"
        f" {kept.coverage:.1%} inside the radius on held-out ones"
        + ("" if held else f", which is less than the {parameters.coverage:.0%} that were promised")
    )
