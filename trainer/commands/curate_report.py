"""`globetag curate report`: one HTML page that shows what each filter kept and dropped."""

from datetime import datetime
from pathlib import Path

import click
from rich.console import Console

from worker.settings import load


@click.command(name="report")
@click.argument("distillation")
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
def command(distillation: str, file: Path) -> None:
    """Write a page about DISTILLATION (its name or number) to FILE: what each filter dropped and why, with
    examples, the teachers side by side, and what is kept.

    The page is one file without scripts. The photographs that it shows are in it, small and without their
    metadata.
    """
    from trainer.curate.output.page import write_report
    from worker.assemble import fetch_limits
    from worker.database import open_database
    from worker.intake.fetch import Fetcher

    settings, _ = load()
    console = Console(stderr=True)
    with (
        open_database(settings) as database,
        Fetcher(fetch_limits(settings)) as fetcher,
        console.status("reading …"),
    ):
        summary = write_report(
            file, database.engine, distillation, fetch=fetcher.fetch, made_at=datetime.now().astimezone()
        )
    click.echo(f"{file}: {summary.samples:,} samples, {summary.kept:,} kept")
