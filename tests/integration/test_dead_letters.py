"""What Celery would lose is kept, on both brokers, in the dead-letter queue and in the table; the line goes on."""

import gzip
import json
import pickle

import orjson
import pytest
from click.testing import CliRunner
from sqlalchemy import select, text

from schema.messages import DEAD_SUFFIX, LOCATE_QUEUE, LOCATE_TASK
from schema.tables import dead_message
from tests.support import ON_PGMQ, ON_RABBITMQ, wait_for, write_pictures
from worker.cli import cli
from worker.queue import careful
from worker.queue.app import make_app
from worker.queue.drain import drain, draining

DEAD_QUEUE = LOCATE_QUEUE + DEAD_SUFFIX
FIELDS = {"uri": "file:///nowhere.jpg"}


class Ran:
    """Unpickled, it would leave a mark."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle of a stranger was loaded",))


def _send(line, body, *, headers=None, content_type="application/json", content_encoding="utf-8", **properties):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with line.producer.connection_for_write() as connection, connection.Producer() as producer:
        producer.publish(
            raw,
            exchange="",
            routing_key=LOCATE_QUEUE,
            content_type=content_type,
            content_encoding=content_encoding,
            headers={"task": LOCATE_TASK, "id": "7"} if headers is None else headers,
            **properties,
        )


def _rows(line):
    with line.database.engine.connect() as connection:
        return connection.execute(select(dead_message).order_by(dead_message.c.id)).all()


def _call(**embed):
    return [[], FIELDS, embed]


SILENT = {
    "undecodable": {"body": b'{"broken'},
    "wrong_content_type": {"body": pickle.dumps(Ran()), "content_type": "application/x-python-serialize"},
    "unknown_task": {"body": _call(), "headers": {"task": "celery.backend_cleanup", "id": "1"}},
    "unknown_type": {"body": {"uri": "file:///a"}, "headers": {}},
    "bad_fields": {"body": [[], {"colour": "blue"}, None]},
    "unsupported_option": {"body": _call(callbacks=[{"task": LOCATE_TASK, "args": [], "kwargs": FIELDS}])},
    "expired": {"body": _call(), "headers": {"task": LOCATE_TASK, "id": "1", "expires": "2001-01-01T00:00:00"}},
    "too_large": {"body": b" " * 300_000},
}


def test_nothing_that_celery_would_lose_is_lost(line, tmp_path):
    for message in SILENT.values():
        _send(line, **message)
    _send(line, gzip.compress(b"[" * 10_000_000), headers={"compression": "gzip", "id": "2", "task": LOCATE_TASK})
    _send(line, _call(), headers={"task": LOCATE_TASK, "id": "3", "eta": "9999-01-01T00:00:00"})
    with line.working(dispatch=False):
        rows = wait_for(lambda: len(found := _rows(line)) == 10 and found, "ten rows")
        wait_for(lambda: line.messages(DEAD_QUEUE) == 10, "ten dead letters")
        [path] = write_pictures(tmp_path / "pictures", 1)
        line.producer.send_task(LOCATE_TASK, kwargs={"uri": path.as_uri()}, queue=LOCATE_QUEUE)
        assert line.wait_until_settled(1) == {"done": 1}
    assert line.messages() == 0
    assert {row.reason for row in rows} == set(SILENT)
    assert {(row.queue, row.source) for row in rows} == {(LOCATE_QUEUE, "celery")}
    kept = {row.reason: bytes(row.body) for row in rows if row.reason not in {"undecodable", "unsupported_option"}}
    for reason, body in kept.items():
        sent = SILENT[reason]["body"]
        assert body == (sent if isinstance(sent, bytes) else json.dumps(sent).encode())[:65536]


def test_a_field_named_like_a_parameter_is_a_bad_field_and_no_defect(line):
    _send(line, [[], {"self": 1, **FIELDS}, None])
    with line.working(dispatch=False):
        [row] = wait_for(lambda: _rows(line), "a row")
    assert (row.reason, line.messages()) == ("bad_fields", 0)


@ON_PGMQ
def test_what_is_no_message_at_all_does_not_end_the_line(line):
    odd = [[], 7, None, {"uri": "file:///a"}, {"properties": 3}, {"properties": {}, "body": {"a": 1}}]
    odd += [{"properties": {"body_encoding": "rot13"}, "body": "x"}]
    odd += [{"properties": {"body_encoding": "base64"}, "body": "=x"}]
    odd += [{"properties": {"delivery_tag": ["unhashable"], "delivery_info": 3}, "body": "{}", "headers": []}]
    with line.database.engine.begin() as connection:
        for payload in odd:
            send = text("SELECT pgmq.send('geotag_locate', CAST(:payload AS jsonb))")
            connection.execute(send, {"payload": orjson.dumps(payload).decode()})
    with line.working(dispatch=False):
        wait_for(lambda: sum(row.times for row in _rows(line)) == len(odd), "rows")
    assert {row.reason for row in _rows(line)} == {"unknown_type"}
    assert line.messages() == 0


@ON_RABBITMQ
def test_while_the_database_is_away_rabbitmqs_dead_letter_queue_keeps_the_message(line):
    with line.working(dispatch=False) as worker:
        worker.app.refusals._database = "postgresql://localhost:1/nowhere"
        for message in SILENT.values():
            _send(line, **message)
        wait_for(lambda: line.messages(DEAD_QUEUE) == len(SILENT), "dead letters")
    kept = {row.reason for row in _rows(line)}
    assert drain(line.producer, line.settings, line.database.engine) == len(SILENT)
    rows = _rows(line)
    assert {row.reason for row in rows} == set(SILENT)
    assert not kept
    assert line.messages(DEAD_QUEUE) == 0
    assert all("x-death" not in row.headers for row in rows)


@ON_PGMQ
def test_a_message_that_cannot_be_kept_is_read_again_until_it_can(line, monkeypatch):
    monkeypatch.setattr(careful, "RETURN_S", 0.1)
    with line.working(dispatch=False) as worker:
        reachable, failed = worker.app.refusals._database, []
        monkeypatch.setattr(careful.log, "exception", lambda *said: failed.append(said))
        worker.app.refusals._database = "postgresql://localhost:1/nowhere"
        _send(line, **SILENT["undecodable"])
        wait_for(lambda: len(failed) > 2 * line.settings.threads, "more failures than there is room for")
        assert not _rows(line)
        worker.app.refusals._database = reachable
        wait_for(lambda: _rows(line), "the row")
    assert [(row.reason, row.times) for row in _rows(line)] == [("undecodable", 1)]


def test_a_dead_letter_that_is_in_the_table_already_is_one_row(line):
    _send(line, **SILENT["undecodable"])
    with line.working(dispatch=False):
        wait_for(lambda: line.messages(DEAD_QUEUE) == 1, "a dead letter")
    assert drain(line.producer, line.settings, line.database.engine) == 1
    [row] = _rows(line)
    assert (row.times, row.source, line.messages(DEAD_QUEUE)) == (1, "celery", 0)


@ON_RABBITMQ
def test_what_expires_in_rabbitmq_is_found_by_the_drain(line):
    _send(line, _call(), expiration=0.001, message_id="m")
    wait_for(lambda: line.messages(DEAD_QUEUE) == 1, "a dead letter")
    drain(line.producer, line.settings, line.database.engine)
    [row] = _rows(line)
    assert (row.reason, row.source, row.properties["message_id"]) == ("expired", "broker", "m")


def test_beside_the_work_dead_letters_move_by_themselves(line):
    with line.producer.connection_for_write() as connection, connection.Producer() as producer:
        producer.publish(b"put aside", exchange="", routing_key=DEAD_QUEUE, content_type="text/plain")
    with draining(line.producer, line.settings, line.database.engine):
        [row] = wait_for(lambda: _rows(line), "a row")
        wait_for(lambda: line.messages(DEAD_QUEUE) == 0, "the acknowledgement")
    assert (row.queue, row.source, row.reason) == (LOCATE_QUEUE, "broker", "unknown_type")


@pytest.fixture
def globetag(line, monkeypatch):
    """Runs `globetag dead …` on the line's database and broker."""
    monkeypatch.setenv("GLOBETAG_HOME", str(line.settings.home))
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", line.settings.database_url)
    monkeypatch.setenv("COLUMNS", "250")
    if line.settings.broker_url:
        monkeypatch.setenv("GLOBETAG_BROKER_URL", line.settings.broker_url)

    def run(*arguments, code=0):
        done = CliRunner().invoke(cli, ["dead", *map(str, arguments)])
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    return run


def _refused(line, *messages):
    for message in messages:
        _send(line, **message)
    with line.working(dispatch=False):
        wait_for(lambda: line.messages(DEAD_QUEUE) == len(messages), "dead letters")
    return _rows(line)


@pytest.mark.parametrize("uri", ["file:///a.jpg", "file:///ab.jpg"], ids=["odd", "even"])
def test_replayed_it_comes_back_once_and_whole(line, globetag, uri):
    """Of UTF-16 and ASCII: what has an even number of bytes can be decoded by both."""
    call = [[], {"uri": uri}, None]
    [row] = _refused(line, {"body": call, "content_encoding": "utf-16", "priority": 1, "correlation_id": "c"})
    assert row.body == json.dumps(call).encode()
    assert "1 messages were put back" in globetag("replay", row.id, "--by", "anna")
    assert "0 messages were put back" in globetag("replay", row.id)
    assert (line.messages(), line.messages(DEAD_QUEUE)) == (1, 0)
    with line.working(dispatch=False):
        wait_for(lambda: len(_rows(line)) == 2, "a second refusal")
    first, second = _rows(line)
    assert (first.by, first.replayed_at is None, second.replayed_at) == ("anna", False, None)
    for name in ("body", "headers", "queue", "reason"):
        assert getattr(first, name) == getattr(second, name)
    assert second.properties["correlation_id"] == "c"


def test_what_was_mended_since_is_done_when_replayed(line, globetag, tmp_path):
    """A worker that does not know the task refuses it; one that does takes the replay."""
    [path] = write_pictures(tmp_path / "pictures", 1)
    line.producer.send_task(LOCATE_TASK, kwargs={"uri": path.as_uri()}, queue=LOCATE_QUEUE)
    from worker.queue.consumer import Consumer

    old = Consumer(make_app(line.settings, line.database.url), name="old", queues=[LOCATE_QUEUE])
    old.start()
    [row] = wait_for(lambda: _rows(line), "a refusal")
    old.stop_taking()
    wait_for(lambda: line.messages(DEAD_QUEUE) == 1, "a dead letter")
    old.end()
    assert row.reason == "unknown_task"
    globetag("replay", "--all", "--reason", "unknown_task")
    with line.working(dispatch=False):
        assert line.wait_until_settled(1) == {"done": 1}
    assert "replayed" in globetag("list", "--all")


def test_dropped_it_is_gone_but_remembered(line, globetag):
    _refused(line, SILENT["undecodable"], SILENT["unknown_type"])
    assert "1 messages were dropped" in globetag("drop", "--all", "--reason", "undecodable", "--by", "anna")
    [gone] = [row for row in _rows(line) if row.reason == "undecodable"]
    assert (gone.body, gone.by) == (None, "anna")
    assert "unknown_type" in globetag("list")
    assert "undecodable" not in globetag("list")
    assert "dropped" in globetag("list", "--all")
    assert "erased" in globetag("show", gone.id)
    assert "0 messages" in globetag("replay", gone.id)
    assert line.messages(DEAD_QUEUE) == 0


def test_what_is_shown_cannot_steer_the_terminal(line, globetag):
    evil = "\x1b]0;owned\x07\x1b[2J\u202e"
    [row] = _refused(
        line, {"body": f'"{evil}'.encode(), "headers": {"task": evil, "id": evil, "Authorization": "Bearer abc"}}
    )
    for shown in (globetag("show", row.id), globetag("list")):
        assert all(character.isprintable() or character == "\n" for character in shown)
        assert "abc" not in shown
    assert r"\x1b[2J" in globetag("show", row.id)


def test_messages_are_chosen_by_queue_and_age(line, globetag):
    _refused(line, SILENT["undecodable"])
    assert "undecodable" in globetag("list", "--queue", LOCATE_QUEUE, "--newer-than", "1h")
    assert "there are none" in globetag("list", "--older-than", "1h")
    assert "there are none" in globetag("list", "--queue", "geotag.train")
    globetag("list", "--older-than", "soon", code=2)
    globetag("drop", code=2)
    globetag("replay", 1, "--all", code=2)


def test_of_what_was_too_long_to_keep_nothing_is_replayed(line, globetag):
    [row] = _refused(line, SILENT["too_large"])
    assert "only the first 65,536 were kept" in globetag("replay", row.id)
    assert _rows(line)[0].replayed_at is None
