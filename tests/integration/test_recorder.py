"""The recorder on a real database: what it stores, finds again, and does when the database is away.

Long because all of it needs the same rows around it.
"""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import psycopg
import pytest
from sqlalchemy import func, insert, select, text

from benchmarks.null_models import NullEngine, NullGate
from schema import queries
from schema.messages import LocateRequest
from schema.reasons import Granularity, JobState, LabelSource, Reason, Status
from schema.tables import image, job, label, prediction, trace
from tests.support import wait_for
from worker import embedded
from worker.database import Database, open_database
from worker.intake.sources import Submission
from worker.outcome import ImageRecord, LabelRecord, PredictionRecord, Rules, Settled, TraceRecord
from worker.pipeline import Policy
from worker.place.doubt import Doubt
from worker.place.verdict import Limits
from worker.queue.enqueue import enqueue
from worker.queue.patience import PatientTransactions
from worker.queue.recorder import Recorder
from worker.reason.engines import Sampling
from worker.settings import Settings
from worker.versions import Versions, record_versions

EMBEDDING = np.array([0.6, 0.8], dtype=np.float32)


def _versions(database: Database, prompt_hash: str = "prompt") -> Versions:
    with database.engine.begin() as connection:
        return record_versions(
            connection,
            model=NullEngine().identity,
            gate=NullGate().identity,
            gate_threshold=0.5,
            prompt_hash=prompt_hash,
            sampling=Sampling(),
            gazetteer_version="atlas",
        )


@pytest.fixture
def recorder(database):
    recorder = Recorder(PatientTransactions(database.engine, patience_s=60))
    yield recorder
    recorder.close()


@pytest.fixture
def ledger(database, recorder):
    return recorder.ledger(_versions(database))


def _jobs(database, count):
    """Makes `count` queued jobs and returns their ids."""
    enqueue(database.engine, [Submission(f"file:///archive/{number}.jpg") for number in range(count)])
    with database.engine.connect() as connection:
        return list(connection.execute(select(job.c.id).order_by(job.c.uri)).scalars())


def _image(name="a", embedding=EMBEDDING):
    sha256 = (name.encode().hex() * 64)[:64]
    return ImageRecord(sha256, "jpeg", 640, 480, 1234, caption="pier", embedding_D=embedding)


def _located(request="r", lat=48.86):
    return PredictionRecord(
        Status.LOCATED,
        request,
        lat=lat,
        lon=2.35,
        radius_km=20.0,
        granularity=Granularity.CITY,
        country_code="FR",
        city="Paris",
        stated_place="Paris, France",
        gate_score=0.9,
        notes=("a note",),
    )


def _refused(request="r"):
    return PredictionRecord(Status.NOT_LOCATABLE, request, reason=Reason.GATE_BELOW_THRESHOLD, gate_score=0.1)


def _unparsable(request="r"):
    return PredictionRecord(Status.FAILED, request, reason=Reason.UNPARSABLE, detail="No answer.")


TRACE = TraceRecord(
    "A tower.", "<think>A tower.</think>", ({"text": "A tower.", "supported": None},), 3, -0.5, "stop"
)
GPS = LabelRecord(LabelSource.EXIF, -33.9, 18.4, accuracy_m=5.0, country_code="ZA", city="Cape Town")


def _all_kinds(ids):
    """One outcome of every kind, for nine jobs. The last two are about one image."""
    return [
        Settled(ids[0], JobState.DONE, outcome="known", image=_image("a"), label=GPS),
        Settled(ids[1], JobState.DONE, outcome="located", image=_image("b"), prediction=_located(), trace=TRACE),
        Settled(ids[2], JobState.DONE, outcome="not_locatable", image=_image("c"), prediction=_refused()),
        Settled(
            ids[3],
            JobState.FAILED,
            reason=Reason.UNPARSABLE,
            detail="No answer.",
            image=_image("d"),
            prediction=_unparsable(),
            trace=TRACE,
        ),
        Settled(ids[4], JobState.FAILED, reason=Reason.EMPTY, detail="The file is empty."),
        Settled(ids[5], JobState.DEAD, reason=Reason.WORKER_LOST, detail="The child was killed."),
        Settled(ids[6], JobState.QUEUED, reason=Reason.UNREACHABLE, detail="HTTP 503.", retry_in_s=3600),
        Settled(ids[7], JobState.DONE, outcome="located", image=_image("e"), prediction=_located(), trace=TRACE),
        Settled(ids[8], JobState.DONE, outcome="located", image=_image("e"), prediction=_located(), trace=TRACE),
    ]


def _save_together(ledger, outcomes):
    """From one thread each, as the pool's threads do."""
    barrier = threading.Barrier(len(outcomes))

    def save(settled):
        barrier.wait(10)
        ledger.save(settled)

    with ThreadPoolExecutor(len(outcomes)) as pool:
        for future in [pool.submit(save, settled) for settled in outcomes]:
            future.result(60)


def _rows(database):
    """Every row of the tables that the recorder writes, without times."""
    with database.engine.connect() as connection:
        return {
            table.name: [
                {name: value for name, value in row._asdict().items() if not name.endswith("_at")}
                for row in connection.execute(select(table).order_by(*table.primary_key.columns))
            ]
            for table in (job, image, label, prediction, trace)
        }


def _job(database, job_id):
    with database.engine.connect() as connection:
        return connection.execute(select(job).where(job.c.id == job_id)).one()


def test_rules_that_change_an_answer_make_another_pipeline(database):
    def version(policy):
        with database.engine.begin() as connection:
            return record_versions(
                connection,
                model=NullEngine().identity,
                gate=NullGate().identity,
                gate_threshold=policy.gate_threshold,
                prompt_hash="prompt",
                sampling=policy.sampling,
                gazetteer_version="atlas",
                rules=policy.rules,
            )

    policies = [
        Policy(0.5),
        Policy(0.5, doubt=Doubt(min_logprob=-0.2)),
        Policy(0.5, place_limits=Limits(only_text="refuse")),
        Policy(0.5, place_limits=Limits(max_radius_km=25.0)),
    ]
    assert len({version(policy).pipeline_version for policy in policies}) == len(policies)
    assert version(policies[1]).sampling["doubt"]["min_logprob"] == -0.2
    assert version(Policy(0.5)) == version(Policy(0.5))


# --- storing ---


def test_all_answers_alternatives_and_the_calibration_are_stored(database, ledger):
    [job_id] = _jobs(database, 1)
    with database.engine.begin() as connection:
        calibration_id = connection.execute(
            text(
                "INSERT INTO calibration (model_version_id, version, coverage, parameters)"
                " VALUES (:model, 'v', 0.9, '{}') RETURNING id"
            ),
            {"model": ledger.versions.model_version_id},
        ).scalar_one()
    samples = ({"number": 1, "answer": "country: Spain", "lat": None},)
    alternatives = ({"place": "Madrid", "weight": 0.25, "sources": ["answer"]},)
    located = replace(
        _located(), coverage=0.9, confidence=0.7, alternatives=alternatives, calibration_id=calibration_id
    )
    trace = replace(TRACE, samples=samples)
    ledger.save(Settled(job_id, JobState.DONE, outcome="located", image=_image(), prediction=located, trace=trace))
    rows = _rows(database)
    [stored], [told] = rows["prediction"], rows["trace"]
    assert (stored["coverage"], stored["confidence"], stored["calibration_id"]) == (0.9, 0.7, calibration_id)
    assert stored["alternatives"] == list(alternatives)
    assert told["samples"] == list(samples)


def test_outcomes_of_every_kind_are_stored_as_they_are(database, ledger):
    ids = _jobs(database, 9)
    _save_together(ledger, _all_kinds(ids))
    states = [_job(database, job_id) for job_id in ids]
    assert [(row.state, row.outcome, row.reason) for row in states] == [
        ("done", "known", None),
        ("done", "located", None),
        ("done", "not_locatable", None),
        ("failed", None, "unparsable"),
        ("failed", None, "empty"),
        ("dead", None, "worker_lost"),
        ("queued", None, "unreachable"),
        ("done", "located", None),
        ("done", "located", None),
    ]
    assert [row.finished_at is not None for row in states] == [True] * 6 + [False] + [True] * 2
    assert all(row.lease_until is None and row.worker is None for row in states)
    assert (states[6].due_at - states[0].finished_at).total_seconds() == pytest.approx(3600, abs=60)
    assert states[7].prediction_id == states[8].prediction_id is not None
    rows = _rows(database)
    assert {name: len(rows[name]) for name in rows} == {
        "job": 9,
        "image": 5,
        "label": 1,
        "prediction": 4,
        "trace": 3,
    }
    [known] = rows["label"]
    assert (known["source"], known["lat"], known["lon"], known["city"]) == ("exif", -33.9, 18.4, "Cape Town")
    located = next(row for row in rows["prediction"] if row["status"] == "located")
    assert (located["lat"], located["lon"], located["radius_km"], located["granularity"]) == (
        48.86,
        2.35,
        20,
        "city",
    )
    assert located["notes"] == ["a note"]
    assert (located["prompt_hash"], located["gazetteer_version"]) == ("prompt", "atlas")
    assert rows["trace"][0]["cues"] == [{"text": "A tower.", "supported": None}]
    assert rows["image"][0]["embedding"] == pytest.approx([0.6, 0.8], abs=1e-3)


def test_saving_everything_again_leaves_the_same_rows(database, ledger):
    ids = _jobs(database, 9)
    # A failed prediction is kept each time it is made, so the one that failed is left out.
    outcomes = [settled for settled in _all_kinds(ids) if settled.reason is not Reason.UNPARSABLE]
    _save_together(ledger, outcomes)
    before = _rows(database)
    _save_together(ledger, outcomes)
    assert _rows(database) == before


def test_a_label_from_the_file_is_kept_once(database, ledger):
    first, second = _jobs(database, 2)
    for job_id in (first, second, first):
        ledger.save(Settled(job_id, JobState.DONE, outcome="known", image=_image(), label=GPS))
    assert len(_rows(database)["label"]) == 1


def test_a_failed_prediction_may_be_followed_by_a_located_one(database, ledger):
    [job_id] = _jobs(database, 1)
    failed = Settled(job_id, JobState.FAILED, reason=Reason.UNPARSABLE, image=_image(), prediction=_unparsable())
    ledger.save(failed)
    assert ledger.find(_image().sha256, "r").prediction_id is None
    ledger.save(
        Settled(job_id, JobState.DONE, outcome="located", image=_image(), prediction=_located(), trace=TRACE)
    )
    assert [row["status"] for row in _rows(database)["prediction"]] == ["failed", "located"]
    after = _job(database, job_id)
    assert (after.state, after.reason, after.detail) == ("done", None, None)


def test_an_image_keeps_its_embedding_when_it_is_saved_without(database, ledger):
    first, second = _jobs(database, 2)
    ledger.save(Settled(first, JobState.DONE, outcome="known", image=_image(), label=GPS))
    ledger.save(Settled(second, JobState.DONE, outcome="known", image=_image(embedding=None), label=GPS))
    [row] = _rows(database)["image"]
    assert row["embedding"] == pytest.approx([0.6, 0.8], abs=1e-3)
    assert row["embedding_model_id"] is not None


def test_two_recorders_with_the_same_images_do_not_deadlock(database):
    """Groups of two processes touch images, labels and predictions in one order, whatever came first."""
    versions = _versions(database)
    ids = _jobs(database, 80)
    names = [f"{number:02}" for number in range(20)]
    failures: list[BaseException] = []
    barrier = threading.Barrier(2)

    def work(mine, seed):
        recorder = Recorder(PatientTransactions(database.engine, patience_s=0))  # a deadlock raises at once
        ledger = recorder.ledger(versions)
        try:
            order = random.Random(seed)
            barrier.wait(10)
            for _ in range(6):
                group = [
                    Settled(
                        job_id,
                        JobState.DONE,
                        outcome="known",
                        image=_image(order.choice(names)),
                        label=GPS,
                        prediction=_located(),
                        trace=TRACE,
                    )
                    for job_id in order.sample(mine, 20)
                ]
                _save_together(ledger, group)
        except BaseException as error:
            failures.append(error)
        finally:
            recorder.close()

    threads = [threading.Thread(target=work, args=(ids, seed)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    rows = _rows(database)
    assert len(rows["image"]) <= len(names)
    assert len(rows["prediction"]) == len(rows["label"]) == len(rows["trace"]) == len(rows["image"])


def test_two_jobs_that_exchange_their_images_do_not_deadlock(database):
    """A job that gets another image lets go of the one that it had: the two must be held in one order."""
    versions = _versions(database)
    ids = _jobs(database, 2)
    recorders = [Recorder(PatientTransactions(database.engine, patience_s=0)) for _ in ids]
    ledgers = [recorder.ledger(versions) for recorder in recorders]
    failures: list[BaseException] = []
    barrier = threading.Barrier(2)

    def work(mine):
        try:
            for turn in range(40):
                barrier.wait(20)
                image = _image("ab"[(mine + turn) % 2])
                ledgers[mine].save(Settled(ids[mine], JobState.DONE, outcome="known", image=image, label=GPS))
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(mine,)) for mine in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for recorder in recorders:
        recorder.close()
    assert failures == []


# --- what the database refuses ---


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param({"detail": "a\x00b", "state": JobState.FAILED, "reason": Reason.EMPTY}, id="NUL in text"),
        pytest.param({"detail": "\ud800", "state": JobState.FAILED, "reason": Reason.EMPTY}, id="lone surrogate"),
        pytest.param({"state": JobState.DONE}, id="done without outcome"),
        pytest.param({"state": JobState.FAILED}, id="failure without reason"),
        pytest.param(
            {"state": JobState.DONE, "outcome": "located", "image": _image("z"), "prediction": _located(lat=91.0)},
            id="a latitude beyond the pole",
        ),
        pytest.param(
            {"state": JobState.DONE, "outcome": "located", "prediction_id": 2**40}, id="a prediction that is gone"
        ),
    ],
)
def test_an_outcome_that_the_database_refuses_is_an_internal_error_and_its_neighbours_are_stored(
    database, ledger, refused
):
    ids = _jobs(database, 8)
    outcomes = [
        Settled(job_id, JobState.DONE, outcome="not_locatable", image=_image(str(n)), prediction=_refused())
        for n, job_id in enumerate(ids[1:])
    ]
    _save_together(ledger, [Settled(ids[0], **refused), *outcomes])
    bad = _job(database, ids[0])
    assert (bad.state, bad.reason) == ("failed", "internal_error")
    assert "could not be stored" in bad.detail
    assert [_job(database, job_id).state for job_id in ids[1:]] == ["done"] * 7


# --- finding ---


def test_what_was_never_seen_is_not_found(ledger):
    assert ledger.find("0" * 64, "r") is None


def test_an_answer_is_found_by_content_request_and_pipeline(database, recorder, ledger):
    [job_id] = _jobs(database, 1)
    ledger.save(
        Settled(job_id, JobState.DONE, outcome="located", image=_image(), prediction=_located(), trace=TRACE)
    )
    sha256 = _image().sha256
    found = ledger.find(sha256, "r")
    assert (found.status, found.has_label, found.is_embedded) == (Status.LOCATED, False, True)
    assert found.prediction_id == _job(database, job_id).prediction_id
    other_request = ledger.find(sha256, "other")
    assert (other_request.image_id, other_request.prediction_id) == (found.image_id, None)
    other_pipeline = recorder.ledger(_versions(database, prompt_hash="another prompt")).find(sha256, "r")
    assert (other_pipeline.image_id, other_pipeline.prediction_id) == (found.image_id, None)
    assert other_pipeline.is_embedded, "the gate is the same one"


def test_a_known_place_is_found(database, ledger):
    [job_id] = _jobs(database, 1)
    ledger.save(Settled(job_id, JobState.DONE, outcome="known", image=_image(embedding=None), label=GPS))
    found = ledger.find(_image().sha256, "r")
    assert (found.has_label, found.is_embedded, found.prediction_id) == (True, False, None)
    with database.engine.begin() as connection:
        connection.execute(insert(label).values(image_id=found.image_id, source="manual", lat=1, lon=2))
    assert ledger.find(_image().sha256, "r").has_label


# --- claiming ---


def test_a_job_is_claimed_once_and_counted_before_the_work(database, recorder):
    [job_id] = _jobs(database, 1)
    request = LocateRequest(uri="file:///archive/0.jpg", job_id=job_id)
    barrier = threading.Barrier(8)

    def claim(_):
        barrier.wait(10)
        return recorder.claim(request)

    with ThreadPoolExecutor(8) as pool:
        claimed = [found for found in pool.map(claim, range(8)) if found]
    assert [found.id for found in claimed] == [job_id]
    after = _job(database, job_id)
    assert (after.state, after.attempts, after.worker) == ("running", 1, recorder.worker)
    assert recorder.claim(request) is None


def test_a_claimed_job_knows_what_its_collection_asks(database, recorder):
    enqueue(database.engine, [Submission("file:///archive/0.jpg")], collection="press")
    with database.engine.begin() as connection:
        asked = {"name": "press", "region": "France; Belgium", "max_radius_km": 200.0}
        assert connection.execute(queries.collections.SET_COLLECTION_RULES, asked).one_or_none()
    claimed = recorder.claim(LocateRequest(uri="file:///archive/0.jpg", collection="press"))
    foreign = recorder.claim(LocateRequest(uri="file:///archive/1.jpg", collection="press"))
    other = recorder.claim(LocateRequest(uri="file:///archive/2.jpg", collection="new"))
    assert (claimed.collection, claimed.rules) == ("press", Rules("France; Belgium", 200.0))
    assert (foreign.collection, foreign.rules) == ("press", Rules("France; Belgium", 200.0))
    assert (other.collection, other.rules) == ("new", Rules())


# --- the database goes away ---


def test_outcomes_survive_a_restart_of_the_database(home):
    with open_database(Settings(home=home)) as database:
        recorder = Recorder(PatientTransactions(database.engine, patience_s=60))
        ledger = recorder.ledger(_versions(database))
        try:
            ids = _jobs(database, 3)
            ledger.save(Settled(ids[0], JobState.FAILED, reason=Reason.EMPTY, detail="Empty."))
            embedded.stop(home)
            with ThreadPoolExecutor(2) as pool:
                saves = [
                    pool.submit(
                        ledger.save, Settled(job_id, JobState.FAILED, reason=Reason.EMPTY, detail="Empty.")
                    )
                    for job_id in ids[1:]
                ]
                wait_for(lambda: _is_away(database.url), "a server that is down")
                assert not any(save.done() for save in saves)
                embedded.start(home)
                for save in saves:
                    save.result(60)
            with database.engine.connect() as connection:
                failed = select(func.count()).where(job.c.state == "failed")
                assert connection.execute(failed).scalar_one() == 3
        finally:
            recorder.close()


def _is_away(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return True
    return False
