"""Events: each settled job and each promotion once at least, only what was committed, on both brokers.

Long because all of it listens on the same exchange.
"""

import json
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from kombu import Queue
from sqlalchemy import delete, func, insert, select, text, update

from benchmarks.null_models import ANSWER
from schema import queries
from schema.events import CLOUDEVENTS_JSON, DATA, FAILED, LOCATED, NOT_LOCATABLE, PROMOTED, Located, json_schema
from schema.tables import job, label, model_version, outbox, promotion
from tests.support import ROOT, number_of, wait_for, write_pictures
from worker.events.beside import switch_events
from worker.events.publisher import Publisher, events_exchange
from worker.events.relay import Relay
from worker.intake.sources import Submission
from worker.queue.app import make_app
from worker.queue.enqueue import enqueue
from worker.settings import Settings

NOWHERE = "<think>Fog.</think><answer>country: Atlantis\ncity: Poseidonis</answer>"


@pytest.fixture
def events_on(line):
    switch_events(Settings(events="on"), line.database.engine)
    return line


@pytest.fixture
def relay(line):
    """A relay that does what a test tells it to."""
    publisher = Publisher(line.producer)
    yield Relay(line.database.engine, publisher, keep_days=7)
    publisher.close()


class Listener:
    """A queue bound to the exchange, and the events that have come in."""

    def __init__(self, connection, pattern="#"):
        name = f"listener-{uuid.uuid4().hex[:12]}"
        queue = Queue(name, exchange=events_exchange, routing_key=pattern)
        self._queue = queue(connection.default_channel)
        self._queue.declare()
        self.events = []

    def look(self):
        """All that has come so far."""
        while (message := self._queue.get(no_ack=True)) is not None:
            assert message.content_type == CLOUDEVENTS_JSON
            event = json.loads(message.body)
            assert message.delivery_info["routing_key"] == event["type"]
            self.events.append(event)
        return self.events

    def wait(self, count):
        """The events, once there are so many."""
        return wait_for(lambda: self.look() if len(self.look()) >= count else [], f"{count} events")

    def close(self):
        self._queue.delete()


@contextmanager
def listen(line, pattern="#"):
    with line.producer.connection_for_write() as connection:
        listener = Listener(connection, pattern)
        yield listener
        listener.close()


def _count(line, table, *conditions):
    with line.database.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()


def _view(line):
    with line.database.engine.connect() as connection:
        return connection.execute(text("SELECT * FROM event ORDER BY position")).all()


def _settle(line, count=1, *, state="failed", reason="unreadable"):
    """Settles new jobs with a plain statement, as any program may. Returns their ids."""
    with line.database.engine.begin() as connection:
        collection_id = connection.execute(queries.collections.ENSURE_COLLECTION, {"name": "default"}).scalar_one()
        ids = [str(uuid.uuid4()) for _ in range(count)]
        rows = [{"id": one, "collection_id": collection_id, "uri": f"file:///{one}.jpg"} for one in ids]
        connection.execute(insert(job), rows)
        connection.execute(update(job).where(job.c.id.in_(ids)).values(state=state, reason=reason))
    return ids


def _publish_all(relay):
    while relay.place() + relay.publish():
        pass


# --- what is sent ---


def test_every_settled_photograph_has_its_event_and_the_last_ones_go_out_before_the_worker_ends(line, tmp_path):
    paths = write_pictures(tmp_path / "inferred", 40)
    paths += [
        path.rename(path.with_stem(f"k{path.stem}"))
        for path in write_pictures(tmp_path / "k", 50, position=(48, 2))[40:]
    ]
    line.enqueue(paths)

    def say(picture):
        if number_of(picture) < 10:
            return NOWHERE
        if number_of(picture) < 15:
            raise RuntimeError("a defect")
        return ANSWER

    on = line.settings.model_copy(update={"events": "on"})
    with listen(line) as listener:
        with line.working(say, settings=on):
            line.wait_until_settled(50)
        events = listener.look()
    assert Counter(event["type"] for event in events) == {LOCATED: 35, NOT_LOCATABLE: 10, FAILED: 5}
    jobs = {str(row.id): row for row in line.jobs().values()}
    assert {event["subject"] for event in events} == set(jobs)
    for event in events:
        Draft202012Validator(json_schema(event["type"])).validate(event)
        data = DATA[event["type"]].model_validate(event["data"])
        row = jobs[event["subject"]]
        assert (str(data.job_id), data.uri, data.uri_shortened) == (row.id, row.uri, False)
        assert (data.state, data.collection, data.attempts) == (row.state, "default", row.attempts)
    located = Counter(
        (event["data"]["outcome"], event["data"]["source"], event["data"]["city"], event["data"]["untrained"])
        for event in events
        if event["type"] == LOCATED and event["data"]["outcome"] == "located"
    )
    assert located == {("located", "prediction", "Paris", True): 25}
    known = [event["data"] for event in events if event["data"].get("outcome") == "known"]
    assert {(data["source"], data["lat"], data["lon"]) for data in known} == {("exif", 48.0, 2.0)}
    assert len(known) == 10
    assert {event["data"]["reason"] for event in events if event["type"] == FAILED} == {"internal_error"}
    assert {event["data"]["reason"] for event in events if event["type"] == NOT_LOCATABLE} == {"place_unknown"}
    assert [row.position for row in _view(line)] == list(range(1, 51))
    assert {str(row.id) for row in _view(line)} == {event["id"] for event in events}


def test_a_known_place_is_told_as_known_also_where_a_model_was_asked(line, tmp_path):
    [path] = write_pictures(tmp_path / "k", 1, position=(60, 10))
    enqueue(line.database.engine, [Submission(path.as_uri())], verify=True)
    with line.working(settings=line.settings.model_copy(update={"events": "on"})):
        line.wait_until_settled(1)
    [event] = _view(line)
    data = Located.model_validate(event.data)
    assert (data.outcome, data.source, data.lat, data.lon, data.untrained) == ("known", "exif", 60.0, 10.0, False)
    assert data.prediction_id is not None
    assert data.city != "Paris"


def test_nothing_is_written_while_nobody_wants_events(line, relay):
    _settle(line, 5)
    assert _count(line, outbox) == 0
    switch_events(Settings(events="on"), line.database.engine)
    switch_events(Settings(), line.database.engine)
    _settle(line, 5)
    switch_events(Settings(events="off"), line.database.engine)
    _settle(line, 5)
    assert _count(line, outbox) == 5


def test_a_routing_key_chooses_types(events_on, relay):
    line = events_on
    with listen(line, "geotag.model.#") as models, listen(line, "geotag.image.*.v1") as images:
        _settle(line)
        with line.database.engine.begin() as connection:
            version_id = connection.execute(
                insert(model_version).values(kind="lvlm", name="m", version="1").returning(model_version.c.id)
            ).scalar_one()
            first = {"base": "globe", "action": "promote", "by": "me", "reason": "better"}
            connection.execute(insert(promotion).values(model_version_id=version_id, **first))
            back = first | {"action": "rollback", "previous_id": version_id, "reason": "worse"}
            connection.execute(insert(promotion).values(**back))
        _publish_all(relay)
        assert [event["type"] for event in images.wait(1)] == [FAILED]
        promoted, rolled_back = models.wait(2)
    for event in (promoted, rolled_back):
        Draft202012Validator(json_schema(PROMOTED)).validate(event)
        assert event["subject"] == "globe"
        assert "me" not in event["data"].values(), "who did it is nobody's business outside"
    assert promoted["data"]["model_version_id"] == rolled_back["data"]["previous_id"] == version_id
    assert (promoted["data"]["action"], rolled_back["data"]["action"]) == ("promote", "rollback")
    assert "model_version_id" not in rolled_back["data"]


def test_a_photograph_that_kills_its_workers_is_told_of_when_it_is_given_up(events_on, relay):
    line = events_on
    [job_id] = _settle(line)
    with line.database.engine.begin() as connection:
        connection.execute(delete(outbox))
        connection.execute(
            update(job).values(
                state="running", reason=None, losses=2, lease_until=func.now() - text("interval '1 s'")
            )
        )
        connection.execute(queries.jobs.SWEEP_LEASES, {"max_losses": 3})
    relay.place()
    [event] = _view(line)
    assert (event.subject, event.data["state"], event.data["reason"]) == (job_id, "dead", "worker_lost")


# --- only what was committed, and that at least once ---


def test_what_is_rolled_back_was_no_event(events_on, relay):
    line = events_on
    ids = _settle(line, 3)
    with line.database.engine.begin() as connection:
        connection.execute(queries.jobs.REQUEUE, {"ids": ids})
    with line.database.engine.connect() as connection:
        connection.execute(update(job).values(state="dead", reason="timeout"))
        assert connection.execute(select(func.count()).select_from(outbox)).scalar_one() == 6
        connection.rollback()
    assert _count(line, outbox) == 3


def test_a_job_that_is_settled_again_is_a_new_event(events_on, relay):
    line = events_on
    [job_id] = _settle(line)
    with line.database.engine.begin() as connection:
        connection.execute(queries.jobs.REQUEUE, {"ids": [job_id]})
        connection.execute(update(job).values(state="dead", reason="timeout"))
        connection.execute(update(job).values(detail="said twice", state="dead"))
    with listen(line) as listener:
        _publish_all(relay)
        first, second = listener.wait(2)
    assert first["subject"] == second["subject"] == job_id
    assert first["id"] != second["id"]
    assert (first["data"]["reason"], second["data"]["reason"]) == ("unreadable", "timeout")


def test_a_relay_that_is_killed_before_it_marks_sends_again_and_loses_nothing(events_on, relay):
    line = events_on
    ids = _settle(line, 30)
    command = [sys.executable, "-m", "tests.integration.dying_relay", line.database.url]
    command += [line.settings.broker_url or "", "7"]
    with listen(line) as listener:
        died = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert died.returncode == -signal.SIGKILL, died.stderr
        first = [event["subject"] for event in listener.wait(7)]
        assert len(first) == 7
        assert _count(line, outbox, outbox.c.sent_at.is_not(None)) == 0
        # The broker's server notices a dead client when it next speaks to it; its lock is free then.
        wait_for(
            lambda: relay.place() + relay.publish() or _count(line, outbox, outbox.c.sent_at.is_(None)) == 0,
            "the lock",
        )
        _publish_all(relay)
        events = listener.wait(37)
    assert Counter(event["subject"] for event in events) == Counter(ids) + Counter(first)
    assert len({event["id"] for event in events}) == 30, "what is sent again has the id that it had"
    assert _count(line, outbox, outbox.c.sent_at.is_(None)) == 0


def test_relays_side_by_side_send_each_event_once(events_on):
    line = events_on
    publishers = [Publisher(make_app(line.settings, line.database.url)) for _ in range(3)]
    relays = [Relay(line.database.engine, publisher, keep_days=7) for publisher in publishers]
    threads = [threading.Thread(target=each.run, daemon=True) for each in relays]
    with listen(line) as listener:
        for thread in threads:
            thread.start()
        ids = [one for _ in range(10) for one in _settle(line, 30)]
        events = listener.wait(300)
        for each in relays:
            each.stop()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        listener.look()
    assert Counter(event["subject"] for event in events) == Counter(ids)
    assert [row.position for row in _view(line)] == list(range(1, 301))


@pytest.mark.rabbitmq
@pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)
def test_while_the_broker_is_away_events_are_readable_and_wait(events_on):
    line = events_on
    nobody = line.settings.model_copy(update={"broker_url": "amqp://guest:guest@127.0.0.1:9//"})
    waiting = Relay(line.database.engine, Publisher(make_app(nobody, line.database.url)), keep_days=7)
    thread = threading.Thread(target=waiting.run, daemon=True)
    thread.start()
    _settle(line, 4)
    wait_for(lambda: len(_view(line)) == 4, "events in the view")
    waiting.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert _count(line, outbox, outbox.c.sent_at.is_not(None)) == 0
    publisher = Publisher(line.producer)
    with listen(line) as listener:
        _publish_all(Relay(line.database.engine, publisher, keep_days=7))
        assert len(listener.wait(4)) == 4
    publisher.close()


# --- reading with SQL ---


def test_no_event_appears_below_one_that_was_seen(events_on, relay):
    line = events_on
    _settle(line, 2)
    with line.database.engine.connect() as slow:
        slow.execute(update(job).values(state="queued"))
        slow.execute(update(job).values(state="dead", reason="timeout"))
        _settle(line)
        relay.place()
        seen = [row.position for row in _view(line)]
        slow.commit()
    relay.place()
    later = [row for row in _view(line) if row.position not in seen]
    assert min(row.position for row in later) > max(seen)
    assert {row.data["reason"] for row in later} == {"timeout"}
    assert len(seen) == 3
    assert len(later) == 2


def test_the_query_of_the_documentation_reads_on(events_on, relay):
    line = events_on
    [query] = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/events.md").read_text(encoding="utf-8"), re.DOTALL)
    ids = _settle(line, 3)
    relay.place()
    with line.database.engine.connect() as connection:
        connection.execute(text("SET ROLE globetag_reader"))
        rows = connection.execute(text(query)).all()
        assert [row.subject for row in rows] == [row.subject for row in _view(line)]
        assert {row.subject for row in rows} == set(ids)
        assert connection.execute(text(query.replace("> 0", f"> {rows[1].position}"))).all() == rows[2:]


def test_a_reader_hears_of_new_events(events_on, relay):
    line = events_on
    with line.database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("LISTEN globetag_event"))
        _settle(line, 3)
        relay.place()
        driver = connection.connection.driver_connection
        [heard] = driver.notifies(timeout=10, stop_after=1)
        connection.invalidate()
    assert heard.payload == "3"


def test_an_erased_photograph_is_told_of_no_more(events_on, relay):
    line = events_on
    gone, stays = _settle(line, 2)
    relay.place()
    with line.database.engine.begin() as connection:
        connection.execute(delete(job).where(job.c.id == gone))
    assert [row.subject for row in _view(line)] == [stays]
    with listen(line) as listener:
        _publish_all(relay)
        assert [event["subject"] for event in listener.wait(1)] == [stays]
    assert _count(line, outbox, outbox.c.sent_at.is_(None)) == 0


def test_a_place_that_was_erased_is_not_sent(line, tmp_path, relay):
    [path] = write_pictures(tmp_path / "k", 1, position=(48, 2))
    line.enqueue([path])
    on = line.settings.model_copy(update={"events": "on"})
    with line.working(settings=on):
        line.wait_until_settled(1)
    assert [row.data["lat"] for row in _view(line)] == [48.0]
    with line.database.engine.begin() as connection:
        kept = connection.execute(select(outbox.c.data)).scalar_one()
        connection.execute(delete(label))
    assert not {"lat", "lon", "city", "uri"} & set(kept), "the outbox itself holds no place and no address"
    assert _view(line) == []


def test_old_events_are_dropped_and_positions_go_on(events_on, relay):
    line = events_on
    _settle(line, 3)
    _publish_all(relay)
    with line.database.engine.begin() as connection:
        connection.execute(update(outbox).values(sent_at=func.now() - text("interval '8 days'")))
    _settle(line, 1)
    assert relay.prune() == 3
    relay.place()
    assert [row.position for row in _view(line)] == [4]
    assert relay.prune() == 0, "what was not sent is kept"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("https://archive.example/a/1.jpg", "https://archive.example/a/1.jpg"),
        ("https://me:pass@archive.example/1.jpg", "https://archive.example/1.jpg"),
        ("https://me:pa@ss@archive.example/1.jpg", "https://archive.example/1.jpg"),
        ("https://me:pa?ss@archive.example/1.jpg", "https://archive.example/1.jpg"),
        ("https:\\\\me:pass@archive.example/1.jpg", "https:\\\\archive.example/1.jpg"),
        ("HTTPS://archive.example/1.jpg?X-Amz-Signature=k#x", "HTTPS://archive.example/1.jpg"),
        ("me:pass@archive.example/1.jpg", "me:archive.example/1.jpg"),
        ("s3://key:secret@bucket/a?b#c@d.jpg", "s3://bucket/a?b#c@d.jpg"),
        ("file:///a%3Fb@c.jpg", "file:///a%3Fb@c.jpg"),
        ("/a/b?c@d.jpg", "/a/b?c@d.jpg"),
    ],
)
def test_addresses_are_told_without_what_is_secret(database, uri, told):
    with database.engine.connect() as connection:
        assert connection.execute(select(func.event_uri(uri))).scalar_one() == told


@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scheme=st.sampled_from(["http", "https", "HTTP", "ftp", "s3", "x-y.z"]),
    user=st.text("abcXYZ019.~!$&*+,;=%:@?#", max_size=12),
    path=st.text("abc/@.?=&-", max_size=20),
)
def test_a_password_never_gets_out(database, scheme, user, path):
    with database.engine.connect() as connection:
        uri = f"{scheme}://{user}SECRET@archive.example/{path}"
        told = connection.execute(select(func.event_uri(uri))).scalar_one()
    assert "SECRET" not in told
