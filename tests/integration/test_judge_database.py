"""Known places against predictions in a real database."""

import hashlib

import pytest
from click.testing import CliRunner
from sqlalchemy import insert, update

from schema import queries
from schema.reasons import Granularity, LabelSource, Reason, Status
from schema.tables import collection, image, job, label, model_version, prediction, trace
from trainer.commands.evaluate import command
from trainer.judge.columns import make_columns
from trainer.judge.distance import Distance
from trainer.judge.from_database import read_database
from trainer.judge.metrics import evaluate
from trainer.judge.records import Outcome
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer

PARIS, OSAKA = (48.8534, 2.3488), (34.6938, 135.5011)


class Archive:
    """Puts images, labels and predictions into a database, by name."""

    def __init__(self, database):
        self.engine = database.engine
        with self.engine.begin() as connection:
            self.collection_id = connection.execute(
                insert(collection).values(name="postcards").returning(collection.c.id)
            ).scalar_one()
            self.model_id, self.gate_id = (
                connection.execute(
                    queries.models.ENSURE_MODEL_VERSION,
                    {"kind": kind, "name": kind, "version": "1", "untrained": False},
                ).scalar_one()
                for kind in ("lvlm", "gate")
            )

    def image(self, name, *, in_collection=True):
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        with self.engine.begin() as connection:
            image_id = connection.execute(
                insert(image)
                .values(sha256=sha256, format="jpeg", width_px=1, height_px=1, size_bytes=1)
                .returning(image.c.id)
            ).scalar_one()
            if in_collection:
                connection.execute(
                    insert(job).values(
                        id=f"{sha256[:8]}-0000-0000-0000-000000000000",
                        collection_id=self.collection_id,
                        uri=f"file:///{name}",
                        image_id=image_id,
                        state="done",
                        outcome="known",
                    )
                )
        return image_id

    def label(self, image_id, point, source=LabelSource.EXIF, **more):
        with self.engine.begin() as connection:
            connection.execute(
                insert(label).values(image_id=image_id, source=source, lat=point[0], lon=point[1], **more)
            )

    def predict(self, image_id, point=None, *, pipeline="p1", answer=None, request="r", **more):
        status = more.pop("status", Status.LOCATED if point else Status.NOT_LOCATABLE)
        with self.engine.begin() as connection:
            prediction_id = connection.execute(
                insert(prediction)
                .values(
                    image_id=image_id,
                    status=status,
                    lat=point and point[0],
                    lon=point and point[1],
                    pipeline_version=pipeline,
                    request_hash=request,
                    model_version_id=self.model_id,
                    gate_version_id=self.gate_id,
                    prompt_hash="h",
                    sampling={},
                    gazetteer_version="g",
                    code_version="c",
                    **more,
                )
                .returning(prediction.c.id)
            ).scalar_one()
            if answer is not None:
                cues = [{"text": "A red roof.", "supported": None}]
                connection.execute(
                    insert(trace).values(prediction_id=prediction_id, reasoning="", answer=answer, cues=cues)
                )
        return prediction_id


@pytest.fixture
def archive(database):
    return Archive(database)


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def judged(archive, **chosen):
    found = read_database(archive.engine, **chosen)
    by_sha = {row.truth.id: row for row in found.run.rows}
    return found, by_sha


def sha(name):
    return hashlib.sha256(name.encode()).hexdigest()


def test_each_asked_image_is_judged_once_by_the_place_that_counts(archive, gazetteer):
    one = archive.image("one")
    archive.label(one, (0, 50), LabelSource.IMPORT)
    archive.label(one, OSAKA, LabelSource.EXIF)
    archive.label(one, (10, 10), LabelSource.MANUAL)
    archive.label(one, PARIS, LabelSource.MANUAL, country_code="FR", city="Paris")
    archive.predict(one, OSAKA, request="older")
    archive.predict(
        one,
        PARIS,
        radius_km=30.0,
        coverage=0.9,
        confidence=0.8,
        granularity=Granularity.CITY,
        country_code="FR",
        city="Paris",
        geoname_id=2988507,
        answer="<think>A red roof.</think><answer>country: France\ncity: Paris</answer>",
    )
    refused, unknown, broken, silent = (archive.image(name) for name in ("refused", "unknown", "broken", "silent"))
    for image_id in (refused, unknown, broken, silent):
        archive.label(image_id, OSAKA)
    archive.predict(refused, reason=Reason.GATE_BELOW_THRESHOLD)
    archive.predict(unknown, reason=Reason.PLACE_UNKNOWN, answer="<answer>country: Freedonia</answer>")
    archive.predict(broken, status=Status.FAILED, reason=Reason.UNPARSABLE, answer="a dog")
    archive.predict(archive.image("unlabelled"), PARIS)

    found, rows = judged(archive)
    assert set(rows) == {sha(name) for name in ("one", "refused", "unknown", "broken")}
    assert found.not_asked == 1
    row = rows[sha("one")]
    assert (row.truth.lat, row.truth.lon) == PARIS
    assert (row.prediction.lat, row.prediction.lon) == PARIS
    assert row.prediction.strict
    assert row.prediction.stated_cues == {"a red roof."}
    assert rows[sha("refused")].prediction.outcome is Outcome.REFUSED
    assert rows[sha("unknown")].prediction.outcome is Outcome.UNRESOLVED
    assert rows[sha("unknown")].prediction.unresolved == ("country",)
    assert rows[sha("broken")].prediction.outcome is Outcome.UNPARSABLE

    evaluation = evaluate(make_columns(found.run, Distance(), gazetteer), replicates=10)
    assert sum(evaluation.outcomes.values()) == evaluation.n == 4
    assert (evaluation.figure("within_1_km").hits, evaluation.figure("city_id").hits) == (1, 1)
    assert evaluation.radius[0].inside == 1


def test_one_pipeline_at_a_time_the_latest_by_default(archive):
    image_id = archive.image("one")
    archive.label(image_id, PARIS)
    archive.predict(image_id, OSAKA, pipeline="old")
    archive.predict(image_id, PARIS, pipeline="new")
    found, rows = judged(archive)
    assert rows[sha("one")].prediction.lat == PARIS[0]
    assert "pipeline new" in found.run.name
    assert "old (1)" in found.run.notes[0]
    _, rows = judged(archive, pipeline_version="old")
    assert rows[sha("one")].prediction.lat == OSAKA[0]
    with pytest.raises(SetupError, match="no judged prediction of the pipeline lost; there are new, old"):
        judged(archive, pipeline_version="lost")


def test_an_answer_goes_before_a_failure(archive):
    image_id = archive.image("one")
    archive.label(image_id, PARIS)
    archive.predict(image_id, PARIS)
    archive.predict(image_id, status=Status.FAILED, reason=Reason.MODEL_ERROR)
    _, rows = judged(archive)
    assert rows[sha("one")].prediction.outcome is Outcome.LOCATED


def test_a_collection_is_judged_alone(archive):
    for name, inside in (("in", True), ("out", False)):
        image_id = archive.image(name, in_collection=inside)
        archive.label(image_id, PARIS)
        archive.predict(image_id, PARIS)
    assert set(judged(archive)[1]) == {sha("in"), sha("out")}
    assert set(judged(archive, collection="postcards")[1]) == {sha("in")}
    with pytest.raises(SetupError, match="the collection 'other' has no image with both"):
        judged(archive, collection="other")


def test_an_empty_archive_says_what_to_do(archive):
    with pytest.raises(SetupError, match=r"globetag label.*globetag run --verify"):
        judged(archive)


def test_untrained_models_are_named_as_such(archive):
    image_id = archive.image("one")
    archive.label(image_id, PARIS)
    archive.predict(image_id, PARIS)
    with archive.engine.begin() as connection:
        connection.execute(update(model_version).values(untrained=True))
    found, _ = judged(archive)
    assert found.untrained
    assert "UNTRAINED" in found.run.notes[-1]


def test_the_command_judges_the_database(archive, database, monkeypatch):
    for number in range(6):
        image_id = archive.image(f"{number}")
        archive.label(image_id, PARIS)
        if number < 5:
            archive.predict(image_id, PARIS if number < 3 else OSAKA)
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    done = CliRunner().invoke(command, ["--database", "--collection", "postcards"], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.exception
    assert "3 of 5" in done.output
    assert "1 more images have a known place" in done.output
