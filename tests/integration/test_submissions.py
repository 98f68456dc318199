"""Photographs handed in with SQL: what a producer may do, what becomes of it, and what nobody may."""

import secrets

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from schema.messages import job_id_for
from schema.reasons import MessageReason, SubmissionState
from tests.integration.ingress_line import IngressLine
from tests.support import wait_for
from worker.ingress import tables


@pytest.fixture
def broker_url() -> str | None:
    """How rows come in does not depend on the broker: the database is one."""
    unset: str | None = None
    return unset


@pytest.fixture
def intake(settings, database):
    return IngressLine(settings, database)


@pytest.fixture
def producer(database):
    """Two connections of users who may hand in photographs."""
    names = [f"shop_{secrets.token_hex(4)}" for _ in range(2)]
    with psycopg.connect(database.url, autocommit=True) as owner:
        for name in names:
            owner.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE globetag_producer").format(sql.Identifier(name)))
        urls = [make_url(database.url).set(username=name).render_as_string(hide_password=False) for name in names]
        with psycopg.connect(urls[0], autocommit=True) as one, psycopg.connect(urls[1], autocommit=True) as other:
            yield one, other
        for name in names:
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _hand_in(connection, uri, **columns):
    names = sql.SQL(", ").join(map(sql.Identifier, ["uri", *columns]))
    values = sql.SQL(", ").join(sql.Placeholder() * (len(columns) + 1))
    statement = sql.SQL("INSERT INTO submission ({}) VALUES ({}) RETURNING id").format(names, values)
    return connection.execute(statement, [uri, *columns.values()]).fetchone()[0]


def _mine(connection):
    rows = connection.execute(
        "SELECT uri, state, reason, detail, job_id, job_state FROM my_submission ORDER BY id"
    )
    return rows.fetchall()


def test_a_producer_sees_what_became_of_his_rows_and_of_no_others(intake, producer):
    one, other = producer
    _hand_in(one, "/archive/a b.jpg", collection="press", hints='{"text": "a bridge"}', priority=1)
    _hand_in(one, "ftp://archive.example/2.jpg")
    _hand_in(one, "https://archive.example/3.jpg", hints='{"colour": "red"}')
    _hand_in(other, "https://archive.example/4.jpg", priority=7)
    with intake.taking_in():
        wait_for(lambda: {row[1] for row in [*_mine(one), *_mine(other)]} == {"accepted", "refused"}, "verdicts")
        wait_for(lambda: all(row.state != "new" for row in intake.submissions()), "all of them")
    first, second, third = _mine(one)
    job_id = job_id_for("press", "file:///archive/a%20b.jpg")
    assert first == ("/archive/a b.jpg", "accepted", None, None, job_id, "queued")
    assert second[1:3] == third[1:3] == ("refused", "bad_fields")
    assert "'ftp'" in second[3]
    assert "hints.colour" in third[3]
    [fourth] = _mine(other)
    assert "priority" in fourth[3]
    [row] = intake.jobs().values()
    assert (row.hints, row.priority, row.collection) == ({"text": "a bridge"}, 1, "press")
    assert len(intake.dead()) == 3
    assert {row.source for row in intake.dead()} == {"sql"}


def test_a_refused_row_is_kept_as_the_message_that_would_have_asked_for_the_same(intake, producer):
    number = _hand_in(producer[0], "ftp://x/1", collection="c")
    with intake.taking_in():
        wait_for(intake.dead, "the refused row")
    [dead] = intake.dead()
    assert b'"uri":"ftp://x/1","collection":"c"' in bytes(dead.body)
    assert dead.headers["submission"] == number
    assert dead.headers["submitted_by"].startswith("shop_")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO submission (uri, submitted_by) VALUES ('x', 'postgres')",
        "INSERT INTO submission (uri, state) VALUES ('x', 'accepted')",
        "INSERT INTO submission (uri, due_at) VALUES ('x', now())",
        "INSERT INTO submission (uri) VALUES ('x') RETURNING uri",
        "SELECT uri FROM submission",
        "UPDATE submission SET uri = 'y'",
        "DELETE FROM submission",
        "DELETE FROM my_submission",
        "INSERT INTO my_submission (uri) VALUES ('x')",
        "SELECT * FROM job",
        "SELECT * FROM dead_message",
        "SELECT * FROM current_location",
        "INSERT INTO collection (name) VALUES ('x')",
        "CREATE TABLE mine (id integer)",
    ],
)
def test_a_producer_may_do_no_more(producer, statement):
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
        producer[0].execute(statement)


@pytest.mark.parametrize(
    "columns",
    [
        {"uri": "x" * 8193},
        {"uri": "x", "collection": "c" * 201},
        {"uri": "x", "source_tag": "t" * 201},
        {"uri": "x", "hints": '{"text": "' + "t" * 65536 + '"}'},
    ],
)
def test_what_is_too_large_does_not_get_in(producer, columns):
    with pytest.raises(psycopg.errors.CheckViolation):
        _hand_in(producer[0], **columns)


def _state_of(intake, number):
    [state] = [row.state for row in intake.submissions() if row.id == number]
    return state


def test_a_changed_source_tag_queues_a_settled_photograph_again(intake, producer):
    uri = "https://archive.example/1.jpg"
    with intake.taking_in():
        for tag, expected in (("a", "queued"), ("a", "done"), (None, "done"), ("b", "queued")):
            number = _hand_in(producer[0], uri, source_tag=tag)
            wait_for(lambda number=number: _state_of(intake, number) != "new", "the verdict")
            [row] = intake.jobs().values()
            assert row.state == expected
            intake.execute("UPDATE job SET state = 'done', outcome = 'known', finished_at = now()")


def test_a_submission_whose_job_is_in_work_waits(intake, producer):
    uri = "https://archive.example/1.jpg"
    with intake.taking_in():
        _hand_in(producer[0], uri, source_tag="a")
        intake.wait_for_jobs(1)
        intake.execute("UPDATE job SET state = 'running', lease_until = now() + interval '1 hour'")
        _hand_in(producer[0], uri, source_tag="b")
        wait_for(lambda: intake.submissions()[1].due_at > intake.submissions()[1].created_at, "the delay")
    assert [row.state for row in intake.submissions()] == ["accepted", "new"]


def test_accepted_rows_are_forgotten_after_a_while_and_refused_ones_are_not(intake):
    for uri in ("https://archive.example/1.jpg", "ftp://x/1"):
        intake.execute("INSERT INTO submission (uri) VALUES (:uri)", uri=uri)
    with intake.taking_in():
        wait_for(lambda: all(row.state != "new" for row in intake.submissions()), "verdicts")
    intake.execute(
        "UPDATE submission SET settled_at = now() - make_interval(days => :days)", days=tables._KEPT_DAYS + 1
    )
    with intake.taking_in():
        wait_for(lambda: len(intake.submissions()) == 1, "the old row to go")
    [left] = intake.submissions()
    assert (left.state, left.reason) == (SubmissionState.REFUSED, MessageReason.BAD_FIELDS)
