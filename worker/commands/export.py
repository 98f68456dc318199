"""`globetag export`: places and reasons for other programs."""

import sys
from pathlib import Path

import click

from worker.database import open_database
from worker.export import FORMATS, write
from worker.export.rows import read_rows
from worker.settings import load


@click.command()
@click.option("--format", "format_", type=click.Choice(sorted(FORMATS)), required=True, help="What to write.")
@click.option("--collection", help="Only this collection.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File; default: standard output."
)
def command(format_: str, collection: str | None, output: Path | None) -> None:
    """Write every photograph with its place, its source and its reasons.

    Known places and predictions are told apart in each format; a photograph without a place says why.
    """
    settings, _ = load()
    with open_database(settings) as database:
        rows = read_rows(database.engine, collection=collection)
        if output is None:
            write(format_, rows, sys.stdout)
            return
        draft = output.with_name(output.name + ".part")
        with draft.open("w", encoding="utf-8", newline="") as stream:
            count = write(format_, rows, stream)
        draft.replace(output)
        click.echo(f"{count:,} photographs written to {output}", err=True)
