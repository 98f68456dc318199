"""`globetag collection`: what a collection asks of its places is checked, kept and told."""

import csv
import io

import pytest
from click.testing import CliRunner
from sqlalchemy import insert, select, update

from schema import queries
from schema.tables import image, job, label
from worker.commands.collection import command
from worker.commands.conflicts import command as conflicts
from worker.errors import SetupError
from worker.intake.sources import Submission
from worker.queue.enqueue import enqueue


@pytest.fixture
def collection(database, monkeypatch):
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    enqueue(database.engine, [Submission("file:///archive/0.jpg")], collection="press")

    def collection(*arguments):
        done = CliRunner().invoke(command, arguments)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output.strip()

    return collection


@pytest.fixture
def photographed(database):
    """Makes a job whose photograph has a camera position."""

    def record(name, *, lat, lon):
        enqueue(database.engine, [Submission(f"file:///archive/{name}")])
        with database.engine.begin() as connection:
            row = {"sha256": name, "format": "jpeg", "width_px": 1, "height_px": 1, "size_bytes": 1}
            image_id = connection.execute(insert(image).values(row).returning(image.c.id)).scalar_one()
            connection.execute(insert(label).values(image_id=image_id, source="exif", lat=lat, lon=lon))
            connection.execute(update(job).where(job.c.uri.endswith(name)).values(image_id=image_id))

    return record


def test_what_it_asks_is_kept_and_told(collection):
    assert collection("press") == "press: anywhere, any radius"
    assert collection("press", "--region", "Brittany, France") == "press: Brittany, France, any radius"
    assert collection("press", "--max-radius-km", "25") == "press: Brittany, France, radius up to 25 km"
    assert collection("press") == "press: Brittany, France, radius up to 25 km"
    assert collection("press", "--anywhere") == "press: anywhere, any radius"


def test_a_region_that_nobody_knows_is_refused_and_changes_nothing(collection):
    collection("press", "--region", "France")
    with pytest.raises(SetupError, match="Ruritania"):
        collection("press", "--region", "Ruritania")
    assert collection("press") == "press: France, any radius"


def test_a_collection_that_is_not_there_is_refused(collection):
    with pytest.raises(SetupError, match="there is press"):
        collection("prees")


def test_conflicts_are_listed_and_nothing_is_changed(database, photographed, monkeypatch):
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    photographed("=france.jpg", lat=45.76, lon=4.84)
    photographed("swapped.jpg", lat=4.84, lon=45.76)
    with database.engine.begin() as connection:
        asked = {"name": "default", "region": "France", "max_radius_km": None}
        connection.execute(queries.collections.SET_COLLECTION_RULES, asked)
        before = connection.execute(select(label)).all()
    done = CliRunner().invoke(conflicts, [], catch_exceptions=False)
    [row] = csv.DictReader(io.StringIO(done.stdout))
    assert row["photograph"].endswith("swapped.jpg")
    assert (row["conflict"], row["likely_fault"]) == ("region", "latitude and longitude are swapped")
    with database.engine.connect() as connection:
        assert connection.execute(select(label)).all() == before
