"""`globetag label`: a person sets a known place. It outranks everything else."""

import getpass
import hashlib
from pathlib import Path

import click

from schema import queries
from schema.reasons import LabelSource
from worker.database import open_database
from worker.errors import SetupError
from worker.intake.uri import file_uri
from worker.place.gazetteer import Gazetteer
from worker.settings import load


@click.command()
@click.argument("photograph")
@click.argument("lat", type=click.FloatRange(-90, 90))
@click.argument("lon", type=click.FloatRange(-180, 180))
@click.option("--accuracy-m", type=click.FloatRange(min=0), help="How far off it may be, in metres.")
@click.option("--author", default=None, help="Who says so.  [default: the user's name]")
@click.option("--note", help="How it is known.")
@click.option(
    "--source",
    type=click.Choice([LabelSource.MANUAL.value, LabelSource.IMPORT.value]),
    default=LabelSource.MANUAL.value,
    show_default=True,
    help="A person's judgement, or taken over from another catalogue.",
)
def command(
    photograph: str,
    lat: float,
    lon: float,
    accuracy_m: float | None,
    author: str | None,
    note: str | None,
    source: str,
) -> None:
    """Set the known place of PHOTOGRAPH (a file, a web or s3 address, or a sha256) to LAT LON in degrees.

    Southern latitudes and western longitudes are negative: write `--` before them, as in
    `globetag label photo.jpg -- -33.86 151.21`. The photograph must have been through the pipeline once.
    """
    settings, _ = load()
    with open_database(settings) as database, database.engine.begin() as connection:
        sha256: str | None
        if len(photograph) == 64 and set(photograph) <= set("0123456789abcdef"):
            sha256 = photograph
        elif Path(photograph).is_file():
            sha256 = hashlib.sha256(Path(photograph).read_bytes()).hexdigest()
        else:
            uri = photograph if "://" in photograph else file_uri(Path(photograph).absolute())
            sha256 = connection.execute(queries.labels.SHA256_OF_URI, {"uri": uri}).scalar_one_or_none()
        near = Gazetteer.load().nearest(lat, lon)
        label = connection.execute(
            queries.labels.ADD_LABEL,
            {
                "sha256": sha256,
                "source": source,
                "lat": lat,
                "lon": lon,
                "accuracy_m": accuracy_m,
                "country_code": near.country_code,
                "region": near.region,
                "city": near.city,
                "geoname_id": near.geoname_id,
                "author": author or getpass.getuser(),
                "note": note,
            },
        ).scalar_one_or_none()
        if label is None:
            raise SetupError(f"{photograph} has not been through the pipeline: `globetag run` it first")
    where = ", ".join(name for name in (near.city, near.country_code) if name) or "at sea"
    click.echo(f"{photograph}: known to be at {lat:.6f}, {lon:.6f} ({where})")
