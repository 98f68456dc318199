"""Calibrations on a real database: made from stored answers, refused with counts, and taken up by a worker."""

import json
from datetime import timedelta

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import insert, select, text

from benchmarks.null_models import NullEngine, NullGate
from schema.reasons import Granularity, JobState, LabelSource, Reason, Status
from schema.tables import calibration, curation, curation_member, image, job, label, prediction
from tests.support import wait_for, write_pictures
from trainer.calibrate.archive import read_archive
from trainer.calibrate.fit import Parameters, fit
from worker.assemble import Models, assemble
from worker.calibrations import add, in_force, standings
from worker.errors import SetupError
from worker.identity import ModelIdentity
from worker.intake.sources import Submission
from worker.outcome import ImageRecord, LabelRecord, PredictionRecord, Settled
from worker.place.difficulty import Difficulty
from worker.place.sphere import destination
from worker.queue.enqueue import enqueue
from worker.queue.patience import PatientTransactions
from worker.queue.recorder import Recorder
from worker.reason.engines import Sampling
from worker.registry import read_version
from worker.versions import record_versions

MODEL = ModelIdentity("lvlm", "trained", "1", untrained=False)
OTHER = ModelIdentity("lvlm", "other", "1", untrained=False)
PLACES = 60


def versions_of(database, *, model=MODEL, gate_threshold=0.5):
    with database.engine.begin() as connection:
        return record_versions(
            connection,
            model=model,
            gate=NullGate().identity,
            gate_threshold=gate_threshold,
            prompt_hash="prompt",
            sampling=Sampling(),
            gazetteer_version="atlas",
        )


def settled(job_id, number, rng, *, place=None, refused=False, difficulty=True):
    """A verified photograph of one of `PLACES` places; agreement tells, dimly, whether the answer is right."""
    place = number % PLACES if place is None else place
    lat, lon = -50.0 + 100.0 * (place % 10) / 9, -170.0 + 5.5 * place
    agreement = float(rng.choice([0.2, 0.4, 0.6, 0.8, 1.0]))
    km = rng.uniform(0, 4) if rng.random() < agreement else rng.uniform(200, 2000)
    near = destination(lat, lon, 360 * rng.random(), float(km))
    known = Difficulty(0.8, agreement, 0.0, 1, -0.1, None, None, None, Granularity.CITY) if difficulty else None
    where = {"lat": near[0], "lon": near[1]}
    said = (
        PredictionRecord(Status.NOT_LOCATABLE, "r", reason=Reason.PLACE_UNKNOWN, alternatives=(where,))
        if refused
        else PredictionRecord(Status.LOCATED, "r", **where, radius_km=20.0, granularity=Granularity.CITY)
    )
    return Settled(
        job_id,
        JobState.DONE,
        outcome="known",
        image=ImageRecord(f"{place:02}{number:04}".ljust(64, "0"), "jpeg", 640, 480, 1234),
        label=LabelRecord(LabelSource.EXIF, lat, lon, country_code="ZZ"),
        prediction=PredictionRecord(
            **{name: getattr(said, name) for name in said.__slots__ if name != "difficulty"}, difficulty=known
        ),
    )


@pytest.fixture
def answered(database):
    """Stores answers about `count` photographs; further arguments are those of `settled`."""

    def store(count, *, versions=None, start=0, **given):
        rng = np.random.default_rng(7)
        names = [Submission(f"file:///archive/{number}/picture.jpg") for number in range(start, start + count)]
        enqueue(database.engine, names)
        with database.engine.connect() as connection:
            ids = dict(connection.execute(select(job.c.uri, job.c.id)).all())
        recorder = Recorder(PatientTransactions(database.engine, patience_s=60))
        try:
            ledger = recorder.ledger(versions or versions_of(database))
            for number, name in enumerate(names, start):
                ledger.save(settled(ids[name.uri], number, rng, **given))
        finally:
            recorder.close()

    return store


def calibrate(database, found, *, collection=None, days=30):
    model = fit(found.sample, Parameters())
    return add(
        database.engine,
        model,
        version=f"{found.answers_version} {collection} {days}",
        model_version_id=found.model_version_id,
        answers_version=found.answers_version,
        collection=collection,
        photographs=found.sample.n,
        clusters=found.sample.clusters,
        figures={"coverage_checked": 0.9},
        days=days,
    )


def test_stored_answers_become_a_sample(database, answered):
    answered(240)
    answered(10, start=240, refused=True)
    answered(10, start=250, difficulty=False)
    found = read_archive(database.engine, base=MODEL.name, serving=None)
    assert (found.sample.n, found.sample.clusters) == (250, PLACES)
    assert found.without_difficulty == 10
    assert found.answers_version == versions_of(database).answers_version
    assert set(np.unique(found.sample.signs["disagreement"]).round(1)) == {0.0, 0.2, 0.4, 0.6, 0.8}
    assert np.median(found.sample.error_km_N) < 500


def test_what_was_learnt_from_is_left_out_with_its_places(database, answered):
    answered(240)
    with database.engine.begin() as connection:
        row = connection.execute(select(image.c.id, image.c.sha256).order_by(image.c.id).limit(1)).one()
        made = connection.execute(
            insert(curation)
            .values(hash="h", labels_until=0, parameters={}, labels_in=1, train=1, held_out=0, dropped={})
            .returning(curation.c.id)
        ).scalar_one()
        connection.execute(
            insert(curation_member).values(
                curation_id=made,
                image_id=row.id,
                side="train",
                sha256=row.sha256,
                label_id=1,
                source="exif",
                lat=0.0,
                lon=0.0,
                country_code="ZZ",
                cell="c",
                uri="u",
            )
        )
    serving = read_version(database.engine, versions_of(database).model_version_id)
    found = read_archive(database.engine, base=MODEL.name, serving=serving)
    assert (found.learnt, found.sample.n) == (4, 236), "four photographs were taken in that place"
    found = read_archive(database.engine, base=MODEL.name, serving=None)
    assert (found.learnt, found.sample.n) == (0, 240), "the base has learnt nothing here"


def test_what_a_near_duplicate_of_its_own_place_has_told_is_left_out(database, answered):
    answered(240)
    given = text("""
        UPDATE prediction p SET suggestions = jsonb_build_array(jsonb_build_object(
            'source', CAST(:source AS text), 'from_image_id', f.id))
        FROM image i, image f
        WHERE i.id = p.image_id AND starts_with(i.sha256, :place) AND starts_with(f.sha256, :other)
    """)
    with database.engine.begin() as connection:
        # four photographs of each place; what another place says, or the series, is no known place of its own
        for source, place, other in (
            ("near_duplicate", "07", "070067"),
            ("near_duplicate", "08", "090009"),
            ("series", "10", "100010"),
        ):
            asked = {"source": source, "place": place, "other": other}
            assert connection.execute(given, asked).rowcount == 4
    found = read_archive(database.engine, base=MODEL.name, serving=None)
    assert (found.helped, found.sample.n, found.not_located) == (4, 236, 0)


def test_another_models_answers_are_refused(database, answered):
    answered(5, versions=versions_of(database, model=OTHER))
    with pytest.raises(SetupError, match=r"GLOBETAG_MODEL=trained itself serves, but .* \(5 by other 1\)"):
        read_archive(database.engine, base=MODEL.name, serving=None)


def test_an_untrained_models_answers_are_refused(database, answered):
    answered(5, versions=versions_of(database, model=NullEngine().identity))
    with pytest.raises(SetupError, match="null is untrained"):
        read_archive(database.engine, base="null", serving=None)


def test_an_archive_without_answers_is_refused(database):
    with pytest.raises(SetupError, match="no photograph with both a known place and an answer"):
        read_archive(database.engine, base=MODEL.name, serving=None)
    with pytest.raises(SetupError, match="there is no collection 'nowhere'"):
        read_archive(database.engine, base=MODEL.name, serving=None, collection="nowhere")


def test_a_calibration_counts_for_its_answers_and_its_collection_until_it_expires(database, answered):
    answered(240)
    before = versions_of(database)
    assert before.pipeline_version == before.answers_version
    assert before.calibrations.of("default") is None
    found = read_archive(database.engine, base=MODEL.name, serving=None)
    general = calibrate(database, found)
    own = calibrate(database, found, collection="default")
    after = versions_of(database)
    assert after.answers_version == before.answers_version
    assert after.pipeline_version != before.pipeline_version
    assert after.calibrations.of("default").calibration_id == own
    assert after.calibrations.of("elsewhere").calibration_id == general
    assert not versions_of(database, gate_threshold=0.6).calibrations.versions, "another setting, other errors"
    assert not versions_of(database, model=OTHER).calibrations.versions
    with database.engine.begin() as connection:
        connection.execute(calibration.update().values(expires_at=calibration.c.created_at - timedelta(days=1)))
    assert versions_of(database).pipeline_version == before.pipeline_version
    assert {row.standing for row in standings(database.engine, 10)} == {"expired"}


def test_standings_tell_what_is_in_force(database, answered):
    answered(240)
    found = read_archive(database.engine, base=MODEL.name, serving=None)
    first, second = calibrate(database, found), calibrate(database, found, days=60)
    by_id = {row.calibration_id: row.standing for row in standings(database.engine, 10)}
    assert by_id == {first: "superseded", second: "in force"}
    answered(1, start=240, versions=versions_of(database, model=OTHER))
    by_id = {row.calibration_id: row.standing for row in standings(database.engine, 10)}
    assert by_id[second] == "other answers"


def test_the_answers_of_a_calibrated_pipeline_are_calibrated_on_again(database, answered):
    answered(200)
    calibrate(database, read_archive(database.engine, base=MODEL.name, serving=None))
    answered(40, start=200)
    assert read_archive(database.engine, base=MODEL.name, serving=None).sample.n == 240


def test_parameters_that_cannot_be_read_are_not_used(database, answered, caplog):
    answered(240)
    made = calibrate(database, read_archive(database.engine, base=MODEL.name, serving=None))
    with database.engine.begin() as connection:
        connection.execute(calibration.update().values(parameters={"form": 99}))
    with database.engine.connect() as connection:
        assert not in_force(connection, versions_of(database).answers_version).by_collection
    assert f"calibration {made} is not used" in caplog.text


def test_difficulty_and_calibration_are_kept_with_the_prediction(database, answered):
    answered(120)
    with database.engine.connect() as connection:
        row = connection.execute(select(prediction).limit(1)).one()
    assert Difficulty.from_json(row.difficulty).stated is Granularity.CITY
    assert row.answers_version == row.pipeline_version
    assert row.calibration_id is None


def test_a_running_worker_takes_a_calibration_up_without_loading_its_model_again(
    database, line, answered, tmp_path
):
    answered(240)
    loaded = []

    def load(registered):
        loaded.append(registered)
        return NullEngine()

    models = Models(NullGate(), NullEngine(), 0.5, None, load)
    with assemble(line.settings, database, models, dispatch=True) as worker:
        worker.runner.start()
        try:
            before = worker.versions
            assert not before.calibrations.versions
            found = read_archive(database.engine, base=MODEL.name, serving=None)
            row = found.__class__(
                **{name: getattr(found, name) for name in found.__slots__}
                | {"answers_version": before.answers_version}
            )
            made = calibrate(database, row)
            wait_for(lambda: worker.versions.calibrations.versions, "the calibration to be taken up")
            assert worker.versions.calibrations.of(None).calibration_id == made
            assert worker.versions.pipeline_version != before.pipeline_version
            line.enqueue(write_pictures(tmp_path / "pictures", 3))
            wait_for(
                lambda: (
                    sum(row.pipeline_version == worker.versions.pipeline_version for row in line.jobs().values())
                    == 3
                ),
                "three jobs of the calibrated line",
            )
            with database.engine.connect() as connection:
                wanted = select(prediction).where(
                    prediction.c.pipeline_version == worker.versions.pipeline_version
                )
                rows = connection.execute(wanted).all()
            assert rows
            assert {row.calibration_id for row in rows} == {made}
            assert all(row.coverage == 0.9 or row.reason == "too_uncertain" for row in rows)
            assert all(Difficulty.from_json(row.difficulty).samples == 1 for row in rows)
        finally:
            worker.runner.stop(drain_s=30)
    assert loaded == []


def test_the_command_stores_lists_and_refuses(database, settings, answered, monkeypatch):
    from trainer.commands.train import command

    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    monkeypatch.setenv("GLOBETAG_MODEL", MODEL.name)
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    answered(60)
    said = runner.invoke(command, ["calibrate"])
    assert isinstance(said.exception, SetupError)
    assert "60 located photographs of 60 places or series are too few" in str(said.exception)
    answered(240, start=60)
    said = runner.invoke(command, ["calibrate", "--dry-run"], catch_exceptions=False)
    assert "nothing was stored" in said.output
    said = runner.invoke(command, ["calibrate", "--days", "90"], catch_exceptions=False)
    assert "is in force for all collections without their own" in said.output
    assert "one radius for all" in said.output
    [row] = standings(database.engine, 10)
    assert (row.photographs, row.clusters, row.standing) == (300, 60, "in force")
    assert 0.8 <= row.figures["coverage_checked"] <= 1.0
    json.dumps(dict(row.figures), allow_nan=False)
    assert "in force" in runner.invoke(command, ["calibrations"], catch_exceptions=False).output


def test_the_reader_may_look(database):
    with database.engine.begin() as connection:
        connection.execute(text("SET LOCAL ROLE globetag_reader"))
        assert connection.execute(text("SELECT count(*) FROM calibration_standing")).scalar_one() == 0
        assert connection.execute(select(label.c.id)).all() == []
