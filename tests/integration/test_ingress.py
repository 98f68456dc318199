"""Foreign messages on both brokers: what comes in is a job or a refused message that somebody can read, once."""

import json
import os
import shutil
import signal
import subprocess
import threading

import amqp
import pytest
from kombu import Connection
from sqlalchemy import text
from sqlalchemy.engine import make_url

from schema.messages import INGRESS_QUEUE, LOCATE_TASK, SUBMITTED_TYPE, job_id_for
from tests.integration.ingress_line import DEAD_QUEUE, IngressLine, s3_record
from tests.support import ON_PGMQ, ON_RABBITMQ, Command, require, wait_for
from worker.ingress.parts import Collections
from worker.intake.sources import Submission
from worker.queue.enqueue import enqueue


@pytest.fixture
def intake(settings, database):
    return IngressLine(settings, database)


def _uri(number):
    return f"https://archive.example/{number}.jpg"


def _event(uri):
    return {"specversion": "1.0", "id": uri, "source": "/test", "type": SUBMITTED_TYPE, "data": {"uri": uri}}


def _drained(intake):
    wait_for(lambda: intake.waiting() == 0, "the queue to be empty")


# ---------------------------------------------------------------- in


def test_each_way_in_makes_a_job_and_leaves_no_message(intake):
    with intake.taking_in(Collections("post")) as ingress:
        intake.send({"uri": _uri(1), "collection": "press", "hints": {"region": "Styria"}, "priority": 1})
        intake.send(_event(_uri(2)), content_type="application/cloudevents+json")
        intake.send({"Records": [s3_record("a%2F3.jpg"), s3_record("a%2F4.jpg")]})
        intake.send([[], {"uri": _uri(5)}, {}], headers={"task": LOCATE_TASK, "id": "x"})
        intake.execute("INSERT INTO submission (uri) VALUES (:uri)", uri=_uri(6))
        jobs = intake.wait_for_jobs(6)
        wait_for(lambda: ingress.counts.messages == 5, "all to be counted")
    assert jobs[_uri(1)].collection == "press"
    assert jobs[_uri(1)].hints == {"region": "Styria"}
    assert jobs[_uri(1)].priority == 1
    assert {jobs[uri].collection for uri in (_uri(2), "s3://pictures/a/3.jpg", _uri(5))} == {"post"}
    assert jobs["s3://pictures/a/4.jpg"].source_tag == "aa"
    assert {row.state for row in jobs.values()} == {"queued"}
    assert (intake.waiting(), intake.waiting(DEAD_QUEUE), intake.dead()) == (0, 0, [])
    assert (ingress.counts.jobs, ingress.counts.refused) == (6, 0)


def test_a_photograph_that_comes_by_every_way_and_often_has_one_job(intake):
    uri = "s3://pictures/a/1.jpg"
    enqueue(intake.database.engine, [Submission(uri, "aa", {"text": "a bridge"})])
    for _ in range(3):
        intake.send({"uri": uri, "hints": {"text": "a bridge"}}, {"Records": [s3_record("a/1.jpg")] * 2})
        intake.execute("""INSERT INTO submission (uri, hints) VALUES (:uri, '{"text": "a bridge"}')""", uri=uri)
    with intake.taking_in() as ingress:
        wait_for(lambda: ingress.counts.messages == 9, "all messages")
    [row] = intake.jobs().values()
    assert (str(row.id), row.source_tag) == (str(job_id_for("default", uri)), "aa")
    assert row.hints == {"text": "a bridge"}, "an S3 event knows no hints, and takes none away"
    assert {each.state for each in intake.submissions()} == {"accepted"}


def test_bad_messages_are_kept_with_their_reason_and_harm_no_other(intake):
    bad = [b"{", {"uri": ""}, {"uri": _uri(0), "x": 1}, ["?"], _event(_uri(0)) | {"type": "other"}]
    good = [{"uri": _uri(number)} for number in range(40)]
    mixed = [each for number in range(0, 40, 8) for each in [bad[number // 8], *good[number : number + 8]]]
    intake.send(*mixed)
    with intake.taking_in():
        intake.wait_for_jobs(40)
        _drained(intake)
        wait_for(lambda: intake.waiting(DEAD_QUEUE) == 5, "five dead letters")
    assert len(intake.jobs()) == 40
    assert sorted(row.reason for row in intake.dead()) == [
        "bad_fields",
        "bad_fields",
        "undecodable",
        "unknown_type",
        "unknown_type",
    ]
    [undecodable] = [row for row in intake.dead() if row.reason == "undecodable"]
    assert (bytes(undecodable.body), undecodable.queue) == (b"{", "geotag.ingress")
    assert all(row.detail for row in intake.dead())


def test_of_a_notification_with_a_bad_event_the_good_ones_are_taken_and_it_is_kept(intake):
    intake.send({"Records": [s3_record("1.jpg"), {"eventName": 7}, s3_record("2.jpg")]})
    with intake.taking_in():
        intake.wait_for_jobs(2)
        wait_for(lambda: intake.waiting(DEAD_QUEUE) == 1, "a dead letter")
    [dead] = intake.dead()
    assert (dead.source, dead.reason) == ("s3", "bad_fields")
    assert "event 2 of 3" in dead.detail


def test_what_the_database_refuses_harms_no_other(intake):
    """Nothing that was read should ever be refused there; a rule of the operator's own stands for a defect."""
    intake.execute("ALTER TABLE job ADD CONSTRAINT mine CHECK (uri NOT LIKE '%/7.jpg')")
    intake.send(*({"uri": _uri(number)} for number in range(20)))
    intake.execute("INSERT INTO submission (uri) VALUES (:one), (:two)", one=_uri("a/7"), two=_uri("a/8"))
    with intake.taking_in():
        intake.wait_for_jobs(20)
        wait_for(lambda: len(intake.dead()) == 2, "two refused messages")
        wait_for(lambda: intake.waiting(DEAD_QUEUE) == 1, "a dead letter")
    assert _uri(7) not in intake.jobs()
    assert {row.reason for row in intake.dead()} == {"internal_error"}
    assert [row.state for row in intake.submissions()] == ["refused", "accepted"]


def test_nobody_takes_over_the_job_of_another_photograph(intake):
    mine = "7f3c8a54-26a1-4c11-9d0e-0a5f2f4d6c11"
    intake.send({"uri": _uri(1), "job_id": mine})
    with intake.taking_in():
        intake.wait_for_jobs(1)
        intake.send(
            {"uri": _uri(2), "job_id": mine, "priority": 1},
            {"uri": _uri(1), "job_id": mine, "collection": "other"},
            {"uri": _uri(1), "job_id": mine},
        )
        wait_for(lambda: len(intake.dead()) == 2, "two refused messages")
        _drained(intake)
    [row] = intake.jobs().values()
    assert (row.uri, row.priority, row.collection) == (_uri(1), 0, "default")
    assert {each.reason for each in intake.dead()} == {"bad_fields"}


def test_the_row_guards_itself_where_two_processes_meet(intake):
    """The look before writing can miss a job that another process is just about to commit."""
    from schema.messages import LocateRequest
    from worker.queue.enqueue import write_jobs

    mine = "7f3c8a54-26a1-4c11-9d0e-0a5f2f4d6c11"
    first, second = (LocateRequest(uri=_uri(number), job_id=mine, priority=number - 1) for number in (1, 2))
    with intake.database.engine.begin() as connection:
        assert write_jobs(connection, [(first, None)]) == {mine: "new"}
        assert write_jobs(connection, [(second, None)]) == {mine: "taken"}
        assert write_jobs(connection, [(first, None)]) == {mine: "waiting"}
    [row] = intake.jobs().values()
    assert (row.uri, row.priority) == (_uri(1), 0)


# ---------------------------------------------------------------- S3: order and change


def _settle(intake):
    intake.execute("UPDATE job SET state = 'done', outcome = 'not_locatable', finished_at = now()")


def _take(intake, *bodies):
    intake.send(*bodies)
    with intake.taking_in() as ingress:
        wait_for(lambda: ingress.counts.messages == len(bodies), "all messages")
    [row] = intake.jobs().values()
    return row


def test_a_new_state_of_an_object_is_queued_again_and_a_known_one_is_not(intake):
    assert _take(intake, {"Records": [s3_record("1.jpg", etag="aa", sequencer="01")]}).state == "queued"
    _settle(intake)
    assert _take(intake, {"Records": [s3_record("1.jpg", etag="aa", sequencer="01")]}).state == "done"
    assert _take(intake, {"uri": "s3://pictures/1.jpg"}).state == "done", "who knows no state says nothing of it"
    row = _take(intake, {"Records": [s3_record("1.jpg", etag="bb", sequencer="02")]})
    assert (row.state, row.source_tag, row.source_sequence) == ("queued", "bb", "02")


def test_an_event_that_was_overtaken_changes_nothing(intake):
    _take(intake, {"Records": [s3_record("1.jpg", etag="bb", sequencer="02")]})
    _settle(intake)
    row = _take(intake, {"Records": [s3_record("1.jpg", etag="aa", sequencer="01")]})
    assert (row.state, row.source_tag) == ("done", "bb")


def test_of_events_that_come_together_the_latest_counts(intake):
    records = [s3_record("1.jpg", etag=f"e{n}", sequencer=f"0{n}") for n in (2, 3, 1)]
    row = _take(intake, {"Records": records}, {"Records": [records[2]]})
    assert (row.source_tag, row.source_sequence) == ("e3", "03")


def test_a_change_while_the_job_is_in_work_is_looked_at_again_when_it_is_not(intake):
    _take(intake, {"Records": [s3_record("1.jpg", etag="aa", sequencer="01")]})
    intake.execute("UPDATE job SET state = 'running', worker = 'w', lease_until = now() + interval '1 hour'")
    row = _take(intake, {"Records": [s3_record("1.jpg", etag="bb", sequencer="02")]})
    assert (row.state, row.source_tag) == ("running", "aa"), "the worker has the old state in its hands"
    [later] = intake.submissions()
    assert (later.state, later.source_tag, later.job_id) == ("new", "bb", None)
    _settle(intake)
    intake.execute("UPDATE submission SET due_at = now()")
    with intake.taking_in():
        wait_for(lambda: [each.state for each in intake.submissions()] == ["accepted"], "the second look")
    [row] = intake.jobs().values()
    assert (row.state, row.source_tag, row.source_sequence) == ("queued", "bb", "02")


# ---------------------------------------------------------------- outages, several at once, the end


def test_several_intakes_share_the_work(intake):
    intake.send(*({"uri": _uri(number)} for number in range(800)))
    with intake.taking_in() as one, intake.taking_in() as other:
        intake.wait_for_jobs(800)
        _drained(intake)
        wait_for(lambda: one.counts.messages + other.counts.messages == 800, "all to be counted")
    assert len(intake.jobs()) == 800


def test_a_message_is_acknowledged_only_after_its_job_is_committed(intake):
    with intake.database.engine.connect() as lock:
        lock.execute(text("LOCK TABLE job IN SHARE MODE"))
        intake.send({"uri": _uri(1)}, {"uri": _uri(2)})
        stopped = threading.Event()

        def run():
            with intake.taking_in():
                wait_for(lambda: _blocked(intake) > 0, "a transaction that waits for the lock")
                intake.execute(  # as if the process had been killed in the middle of its transaction
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
                wait_for(lambda: _blocked(intake) > 0, "the next try")
                stopped.set()
                intake.wait_for_jobs(2)
                _drained(intake)

        thread = threading.Thread(target=run)
        thread.start()
        assert stopped.wait(60)
        assert intake.jobs() == {}
        lock.rollback()
    thread.join()
    assert len(intake.jobs()) == 2


def _blocked(intake):
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with intake.database.engine.connect() as connection:
        return connection.execute(waiting).scalar_one()


def test_broken_connections_are_made_again(intake):
    with intake.taking_in():
        for number in range(1, 4):
            intake.send({"uri": _uri(number)})
            intake.wait_for_jobs(number)
            intake.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            intake.database.engine.dispose()
            if not intake.on_pgmq:
                vhost = make_url(intake.settings.broker_url).database
                command = shutil.which("rabbitmqctl")
                require(command is not None, "rabbitmqctl is not to be had")
                subprocess.run(
                    [command, "close_all_connections", "--vhost", vhost, "a test"],
                    check=True,
                    capture_output=True,
                    timeout=60,
                )
        intake.send({"uri": _uri(4)})
        intake.wait_for_jobs(4)


@ON_PGMQ
def test_a_bare_json_value_in_the_embedded_brokers_queue_is_a_message(database, settings):
    intake = IngressLine(settings, database)
    with database.engine.begin() as connection:
        for message in (f'{{"uri": "{_uri(1)}"}}', "7", '{"properties": 1, "body": {}}', "[" * 2000 + "]" * 2000):
            intake.send_row(connection, message)
        intake.send_row(connection, '{"properties": {"body_encoding": "base64"}, "body": "???"}')
    with intake.taking_in():
        intake.wait_for_jobs(1)
        wait_for(lambda: intake.waiting(DEAD_QUEUE) == 4, "four dead letters")
    assert len(intake.dead()) == 4


def test_sigterm_ends_the_command_and_says_what_came_in(intake, home, tiny_models_absent):
    environment = {"GLOBETAG_DATABASE_URL": intake.database.url}
    if intake.settings.broker_url:
        environment["GLOBETAG_BROKER_URL"] = intake.settings.broker_url
    process = Command(home, tiny_models_absent, **environment).start("ingress", "--bucket", "pictures=glass")
    try:
        intake.send({"Records": [s3_record("1.jpg")]}, b"?")
        [row] = intake.wait_for_jobs(1).values()
        assert row.collection == "glass"
        wait_for(lambda: len(intake.dead()) == 1, "the refused message")
        process.send_signal(signal.SIGTERM)
        said, complained = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, complained
    assert "2 messages and submissions: 1 photographs, 1 refused" in said
    assert "1 message(s) refused (undecodable 1)" in complained
    assert os.environ.get("GLOBETAG_DATABASE_URL") is None


@pytest.fixture
def tiny_models_absent(tmp_path):
    """The intake loads no model: folders that do not exist."""
    return tmp_path / "no-vlm", tmp_path / "no-clip"


def test_a_collection_that_two_processes_make_at_once_is_one(intake):
    with intake.database.engine.connect() as other:
        other.execute(text("INSERT INTO collection (name) VALUES ('press')"))
        intake.send({"uri": _uri(1), "collection": "press"})
        with intake.taking_in():
            wait_for(lambda: _blocked(intake) > 0, "the intake to wait for the other process")
            other.commit()
            [row] = intake.wait_for_jobs(1).values()
    assert row.collection == "press"


def test_large_messages_are_refused_and_harm_no_other(intake):
    large = b'{"uri": "' + b"x" * (2 << 20) + b'"}'
    intake.send(large, {"uri": _uri(1)}, large + b" ")
    with intake.taking_in():
        intake.wait_for_jobs(1)
        wait_for(lambda: len(intake.dead()) == 2, "the large ones")
    assert [row.reason for row in intake.dead()] == ["too_large", "too_large"]
    assert intake.dead()[0].body_bytes == len(large)


@ON_RABBITMQ
def test_properties_that_no_client_can_read_harm_nobody(intake):
    with Connection(intake.settings.broker_url) as connection:
        channel = connection.channel()
        channel.confirm_select()
        for properties in ({"content_type": b"\xff\xfe"}, {"content_type": b"application/json"}):
            body = json.dumps({"uri": _uri(1)}).encode()
            channel.basic_publish(amqp.Message(body, **properties), "", INGRESS_QUEUE)
    with intake.taking_in():
        intake.wait_for_jobs(1)
        wait_for(intake.dead, "the other one")
    [dead] = intake.dead()
    assert (dead.reason, dead.detail) == ("undecodable", "its properties cannot be read")
