"""`globetag conflicts`: what contradicts each other about a photograph. Lists, and changes nothing."""

import csv
import sys

import click

from schema import queries
from worker.database import open_database
from worker.place.gazetteer import Gazetteer
from worker.report.conflicts import Photograph, find_conflicts
from worker.report.wording import plain
from worker.settings import load

_ROWS_PER_FETCH = 1000
_FORMULA_STARTS = ("=", "+", "-", "@", "\t")


@click.command()
@click.option("--collection", help="Only photographs of this collection.")
def command(collection: str | None) -> None:
    """List conflicts between camera position, prediction, caption, region and clock, as CSV.

    Nothing is changed: `globetag label` sets a place by hand.
    """
    settings, _ = load()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("photograph", "conflict", "detail", "likely_fault"))
    with open_database(settings) as database, database.engine.connect() as connection:
        streamed = connection.execution_options(yield_per=_ROWS_PER_FETCH)
        rows = streamed.execute(queries.reading.READ_CONFLICTING, {"collection": collection})
        photographs = (
            Photograph(
                uri=row.uri,
                folder=row.folder,
                lat=row.lat,
                lon=row.lon,
                source=row.source,
                taken_at=row.taken_at,
                settled_at=row.finished_at,
                caption=row.caption,
                region=(row.collection_region, row.job_region),
                predicted_lat=row.predicted_lat,
                predicted_lon=row.predicted_lon,
                predicted_radius_km=row.predicted_radius_km,
            )
            for row in rows
        )
        for each in find_conflicts(photographs, Gazetteer.load()):
            writer.writerow(map(_cell, (each.uri, each.kind, each.detail, each.fault or "")))


def _cell(text: str) -> str:
    """Fit for a spreadsheet, which would run what begins like a formula."""
    clean = plain(text, 2000)
    return f"'{clean}" if clean.startswith(_FORMULA_STARTS) else clean
