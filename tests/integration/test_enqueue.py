"""Submissions become rows: what is new, known or changed, and what stopping in the middle leaves."""

import psycopg
import pytest
from sqlalchemy import func, select, update

from schema import queries
from schema.messages import JOB_CHANNEL
from schema.tables import collection, job
from worker.intake.sources import Problem, Submission
from worker.queue.enqueue import enqueue

SUBMISSIONS = [Submission(f"file:///archive/{number}.jpg", source_tag="1") for number in range(6)]


def _settle(database, *numbers, **columns):
    uris = [SUBMISSIONS[number].uri for number in numbers]
    with database.engine.begin() as connection:
        connection.execute(update(job).where(job.c.uri.in_(uris)).values(**columns))


def _done(database, *numbers, pipeline="one"):
    _settle(database, *numbers, state="done", outcome="located", pipeline_version=pipeline, attempts=1, losses=1)


def _counts(result):
    kinds = ("new", "changed", "waiting", "unchanged", "failed_before", "repeated")
    return {kind: getattr(result, kind) for kind in kinds if getattr(result, kind)}


def _rows(database):
    with database.engine.connect() as connection:
        return {row.uri: row for row in connection.execute(select(job).order_by(job.c.uri))}


def _row(database, number):
    return _rows(database)[SUBMISSIONS[number].uri]


def test_each_photograph_becomes_a_job_of_its_collection(database):
    told = []
    result = enqueue(database.engine, SUBMISSIONS, collection="glass plates", priority=1, on_progress=told.append)
    assert (_counts(result), result.jobs, sum(told)) == ({"new": 6}, 6, 6)
    rows = _rows(database).values()
    assert {(row.state, row.priority, row.attempts, row.batch_id) for row in rows} == {
        ("queued", 1, 0, result.batch_id)
    }
    with database.engine.connect() as connection:
        assert connection.execute(select(collection.c.name)).scalars().all() == ["glass plates"]


def test_enqueueing_again_makes_no_second_job(database):
    enqueue(database.engine, SUBMISSIONS)
    _settle(database, 0, state="running", lease_until=func.now())
    again = enqueue(database.engine, SUBMISSIONS)
    assert _counts(again) == {"waiting": 6}
    assert len(_rows(database)) == 6
    assert _row(database, 0).state == "running", "work in hand is not disturbed"


def test_what_is_settled_and_unchanged_stays_settled_and_failures_are_told_apart(database):
    enqueue(database.engine, SUBMISSIONS)
    _done(database, 0, 1)
    _settle(database, 2, state="failed", reason="empty", pipeline_version="one")
    _settle(database, 3, state="dead", reason="worker_lost")
    again = enqueue(database.engine, SUBMISSIONS, pipeline_version="one")
    assert _counts(again) == {"unchanged": 2, "failed_before": 2, "waiting": 2}
    assert [_row(database, number).state for number in range(4)] == ["done", "done", "failed", "dead"]
    assert {row.batch_id for row in _rows(database).values()} == {again.batch_id}


@pytest.mark.parametrize(
    "changed",
    [
        {"source_tag": "2"},
        {"hints": {"text": "a bridge"}},
        {"verify": True},
    ],
)
def test_what_has_changed_is_queued_again_as_if_never_tried(database, changed):
    enqueue(database.engine, SUBMISSIONS)
    _done(database, *range(6))
    before = SUBMISSIONS[0]
    renewed = Submission(before.uri, **({"source_tag": before.source_tag} | changed))
    again = enqueue(database.engine, [renewed, *SUBMISSIONS[1:]])
    assert _counts(again) == {"changed": 1, "unchanged": 5}
    row = _row(database, 0)
    assert (row.state, row.outcome, row.attempts, row.losses, row.published_at) == ("queued", None, 0, 0, None)
    assert {name: getattr(row, name) for name in changed} == changed


def test_a_sender_that_does_not_know_the_source_says_nothing_of_a_change(database):
    enqueue(database.engine, SUBMISSIONS)
    _done(database, 0)
    again = enqueue(database.engine, [Submission(SUBMISSIONS[0].uri)])
    assert _counts(again) == {"unchanged": 1}
    assert _row(database, 0).source_tag == "1", "what is known of it stays known"


def test_a_failure_whose_file_has_changed_is_queued_again(database):
    enqueue(database.engine, SUBMISSIONS)
    _settle(database, 0, state="failed", reason="unreadable", detail="damaged")
    again = enqueue(database.engine, [Submission(SUBMISSIONS[0].uri, source_tag="2")])
    assert _counts(again) == {"changed": 1}
    assert (_row(database, 0).state, _row(database, 0).reason, _row(database, 0).detail) == ("queued", None, None)


def test_a_change_while_the_job_runs_shows_once_it_is_settled(database):
    enqueue(database.engine, SUBMISSIONS[:1])
    _settle(database, 0, state="running")
    renewed = Submission(SUBMISSIONS[0].uri, source_tag="changed meanwhile")
    assert _counts(enqueue(database.engine, [renewed])) == {"waiting": 1}
    _done(database, 0)
    assert _counts(enqueue(database.engine, [renewed])) == {"changed": 1}


def test_another_pipeline_does_done_and_failed_jobs_again_but_not_what_kills_workers(database):
    enqueue(database.engine, SUBMISSIONS[:4])
    _done(database, 0, 1)
    _settle(database, 2, state="failed", reason="unparsable", pipeline_version="one")
    _settle(database, 3, state="dead", reason="worker_lost")
    same = enqueue(database.engine, SUBMISSIONS[:4], pipeline_version="one")
    assert _counts(same) == {"unchanged": 2, "failed_before": 2}
    another = enqueue(database.engine, SUBMISSIONS[:4], pipeline_version="two")
    assert _counts(another) == {"changed": 3, "failed_before": 1}
    assert (_row(database, 2).state, _row(database, 3).state) == ("queued", "dead")


def test_what_is_named_twice_is_one_job_and_counted(database):
    result = enqueue(database.engine, [*SUBMISSIONS, *SUBMISSIONS[:2]])
    assert _counts(result) == {"new": 6, "repeated": 2}


def test_the_same_photograph_in_two_collections_is_two_jobs(database):
    elsewhere = Submission(SUBMISSIONS[0].uri, collection="postcards")
    assert _counts(enqueue(database.engine, [SUBMISSIONS[0], elsewhere])) == {"new": 2}


def test_problems_are_counted_and_stop_nothing(database):
    found = [
        SUBMISSIONS[0],
        Problem("a.csv:3", "no uri"),
        Submission(""),
        Submission("file:///nul\x00.jpg"),
        Submission("file:///x.jpg", hints={"text": "x" * 3000}),
        SUBMISSIONS[1],
    ]
    result = enqueue(database.engine, found)
    assert _counts(result) == {"new": 2}
    assert len(result.problems) == 4
    assert all(problem.message and "\n" not in problem.message for problem in result.problems)


def test_stopped_in_the_middle_it_goes_on_where_it_stopped(database):
    many = [Submission(f"file:///archive/{number:05}.jpg", source_tag="1") for number in range(12500)]

    def interrupted():
        yield from many[:8500]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enqueue(database.engine, interrupted())
    written = len(_rows(database))
    assert 0 < written < 8500, "whole groups are kept, the one that was interrupted is not"
    result = enqueue(database.engine, many)
    assert _counts(result) == {"new": 12500 - written, "waiting": written}
    assert {row.batch_id for row in _rows(database).values()} == {result.batch_id}


def test_dispatchers_are_woken_when_the_rows_can_be_seen(database):
    with psycopg.connect(database.url, autocommit=True) as listener:
        listener.execute(f'LISTEN "{JOB_CHANNEL}"')
        enqueue(database.engine, SUBMISSIONS[:1])
        heard = next(listener.notifies(timeout=10, stop_after=1))
        assert heard.channel == JOB_CHANNEL
        [(count,)] = listener.execute("SELECT count(*) FROM job").fetchall()
    assert count == 1


def test_failed_jobs_are_retried_by_reason_and_collection(database):
    enqueue(database.engine, SUBMISSIONS[:3], collection="one")
    enqueue(database.engine, SUBMISSIONS[3:], collection="two")
    _settle(database, 0, 3, state="failed", reason="unparsable", attempts=3)
    _settle(database, 1, state="dead", reason="worker_lost", losses=3)
    _settle(database, 2, state="done", outcome="located")

    def retry(reason=None, name=None):
        chosen = {"reason": reason, "collection": name, "batch_id": "00000000-0000-0000-0000-000000000001"}
        with database.engine.begin() as connection:
            return connection.execute(queries.jobs.RETRY_FAILED, chosen).scalar_one()

    assert retry("empty") == 0
    assert retry("unparsable", "one") == 1
    assert (_row(database, 0).state, _row(database, 0).attempts, _row(database, 0).reason) == ("queued", 0, None)
    assert _row(database, 3).state == "failed"
    assert retry() == 2
    assert (_row(database, 1).state, _row(database, 1).losses) == ("queued", 0)
    assert _row(database, 2).state == "done"
