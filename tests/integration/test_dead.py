"""Refused messages are kept once, bounded, and shown with the failures."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from schema import queries
from schema.reasons import MessageReason
from schema.tables import dead_message
from worker.queue.dead import KEPT_BYTES, bury


def _bury(database, **changes):
    message = {
        "queue": "geotag.locate",
        "source": "celery",
        "reason": MessageReason.UNDECODABLE,
        "detail": "broken",
        "body": b"{",
        "headers": {},
        **changes,
    }
    return bury(database.engine, **message)


def _rows(database):
    with database.engine.connect() as connection:
        return connection.execute(select(dead_message).order_by(dead_message.c.id)).all()


def _close(database, message, statement=queries.dead.REPLAYED):
    with database.engine.begin() as connection:
        connection.execute(statement, {"id": message, "by": "anna"})


def test_the_same_message_again_is_one_row(database):
    first = _bury(database, properties={"message_id": "1"}, headers={"x-death": [1]})
    assert _bury(database, properties={"message_id": "1"}, source="drain", again=False) == first
    assert _bury(database, properties={"message_id": "1"}) == first
    [row] = _rows(database)
    assert (row.times, row.source, bytes(row.body), row.body_bytes) == (2, "celery", b"{", 1)
    assert row.last_refused_at > row.received_at


@pytest.mark.parametrize(
    "other",
    [
        {"body": b"}"},
        {"queue": "geotag.train"},
        {"properties": {"message_id": "2"}},
        {"properties": {"correlation_id": "2"}},
        {"headers": {"id": "2"}},
        {"headers": {"task": "other"}},
    ],
)
def test_another_message_is_another_row(database, other):
    assert _bury(database) != _bury(database, **other)


@pytest.mark.parametrize("statement", [queries.dead.REPLAYED, queries.dead.DROP])
def test_what_is_refused_again_after_it_was_closed_is_a_new_row(database, statement):
    first = _bury(database)
    _close(database, first, statement)
    assert _bury(database) != first


def test_of_an_endless_body_the_beginning_is_kept_and_all_of_it_tells_it_apart(database):
    one = _bury(database, body=b"x" * KEPT_BYTES + b"1")
    assert _bury(database, body=b"x" * KEPT_BYTES + b"2") != one
    assert [(len(row.body), row.body_bytes) for row in _rows(database)] == [(KEPT_BYTES, KEPT_BYTES + 1)] * 2


def test_secrets_in_headers_are_left_out(database):
    _bury(database, headers={"Authorization": "Bearer abc", "deep": {"X-Api-Key": "abc"}, "id": "7"})
    [row] = _rows(database)
    assert row.headers == {"Authorization": "(left out)", "deep": {"X-Api-Key": "(left out)"}, "id": "7"}


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    headers=st.dictionaries(st.text(), _ANYTHING),
    properties=st.dictionaries(st.text(), _ANYTHING),
    body=st.binary(),
    detail=st.text(),
    queue=st.text(),
)
def test_whatever_comes_can_be_kept(database, headers, properties, body, detail, queue):
    number = _bury(database, headers=headers, properties=properties, body=body, detail=detail, queue=queue)
    with database.engine.connect() as connection:
        row = connection.execute(queries.dead.SHOW, {"id": number}).one()
    assert bytes(row.body) == body


@pytest.mark.parametrize(
    "headers", [{"a": "\ud800\x00"}, {"a": 10**5000}, {f"{n}": "x" * 3000 for n in range(100)}]
)
def test_awkward_headers_can_be_kept(database, headers):
    assert _bury(database, headers=headers)


def test_the_failure_view_shows_open_messages_beside_jobs(database):
    number = _bury(database)
    look = text("SELECT * FROM failure")
    with database.engine.connect() as connection:
        row = connection.execute(look).one()
    assert (row.kind, row.message_id, row.queue, row.source, row.state) == (
        "message",
        number,
        "geotag.locate",
        "celery",
        "dead",
    )
    assert (row.reason, row.detail, row.job_id, row.uri, row.attempts) == ("undecodable", "broken", None, None, 1)
    _close(database, number)
    with database.engine.connect() as connection:
        assert connection.execute(look).all() == []


def test_dropping_erases_what_was_in_it_and_keeps_that_it_was(database):
    number = _bury(database, headers={"a": "b"}, properties={"message_id": "c"})
    _close(database, number, queries.dead.DROP)
    [row] = _rows(database)
    assert (row.body, row.headers, row.properties, row.by) == (None, {}, {}, "anna")
    assert row.dropped_at is not None
