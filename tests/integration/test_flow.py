"""Which photographs are begun when: lanes, turns of the collections, the common bound; pause, resume, cancel."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text, update

from schema import queries
from schema.messages import INTERACTIVE_QUEUE, LANES, LOCATE_QUEUE, LOCATE_TASK
from schema.tables import collection, job
from tests.support import wait_for, write_pictures
from worker.intake.sources import Submission
from worker.queue.broker import waiting
from worker.queue.dispatch import MAX_LOSSES, Dispatcher
from worker.queue.enqueue import enqueue

ROUND = {"lane": 0, "least": 8, "last_chance": 2}


def _fill(line, name, count, *, priority=0):
    found = (Submission(f"file:///{name}/{number:07}.jpg") for number in range(count))
    return enqueue(line.database.engine, found, collection=name, priority=priority)


def _uris(line, broker, queue, count):
    bound = line.producer.amqp.queues[queue](broker.default_channel)
    return [wait_for(lambda: bound.get(no_ack=True), "a message").payload[1]["uri"] for _ in range(count)]


def _begin_what_is_out(line):
    """As if workers had taken up all that was published."""
    with line.database.engine.begin() as connection:
        out = (job.c.state == "queued") & job.c.published_at.is_not(None)
        connection.execute(update(job).where(out).values(state="running"))


def _set_paused(line, name, statement):
    with line.database.engine.begin() as connection:
        assert connection.execute(statement, {"name": name}).one_or_none() is not None


# --- lanes ---


def test_interactive_photographs_have_a_lane_of_their_own_and_each_lane_keeps_its_order(line, tmp_path):
    paths = write_pictures(tmp_path / "pictures", 40)
    for number, path in enumerate(paths):
        line.enqueue([path], priority=int(number >= 30))
    dispatcher = Dispatcher(line.database.engine, line.producer, depth=25)
    with line.producer.connection_for_write() as broker:
        assert dispatcher.step(broker) == 11
        assert _uris(line, broker, INTERACTIVE_QUEUE, 10) == [path.as_uri() for path in paths[30:]]
        assert _uris(line, broker, LOCATE_QUEUE, 1) == [paths[0].as_uri()], "one for seven"
        _begin_what_is_out(line)
        assert dispatcher.step(broker) == 25
        assert _uris(line, broker, LOCATE_QUEUE, 25) == [path.as_uri() for path in paths[1:26]]


def test_bulk_work_gets_one_in_eight_while_interactive_work_never_ends(line):
    _fill(line, "bulk", 200)
    _fill(line, "urgent", 600, priority=1)
    dispatcher = Dispatcher(line.database.engine, line.producer, depth=56)
    published = Counter()
    with line.producer.connection_for_write() as broker:
        while published[INTERACTIVE_QUEUE] < 560:
            dispatcher.step(broker)
            for queue in LANES.values():
                waits = waiting(broker, queue)
                published[queue] += len(_uris(line, broker, queue, waits))
            _begin_what_is_out(line)
    assert published[LOCATE_QUEUE] == 80


def test_an_interactive_photograph_passes_what_waits_in_the_broker(line, tmp_path):
    paths = write_pictures(tmp_path / "pictures", 121)
    line.enqueue(paths[:120])
    order, lock, begun, release = [], threading.Lock(), threading.Semaphore(0), threading.Semaphore(0)

    def say(image):
        with lock:
            order.append(image.convert("RGB").getpixel((0, 0))[1])
        begun.release()
        assert release.acquire(timeout=60), "the test never released the engine"
        return "<think>A.</think><answer>country: France\ncity: Paris</answer>"

    with line.working(say):
        for _ in range(line.settings.threads):
            assert begun.acquire(timeout=60)
        with line.producer.connection_for_write() as broker:
            wait_for(lambda: waiting(broker, LOCATE_QUEUE) > 50, "much bulk work in the broker")
        line.enqueue(paths[120:], priority=1)
        urgent = LANES[1]
        with line.producer.connection_for_write() as broker:
            wait_for(
                lambda: (
                    (line.jobs()["0120.png"].published_at and waiting(broker, urgent) == 0)
                    or (line.settings.broker_url is None and waiting(broker, urgent) == 1)
                ),
                "the urgent message to be with the worker, or first in the broker",
            )
        for _ in range(200):
            release.release()
        line.wait_until_settled(121)
    assert order.index(120) <= line.settings.threads + 12, "no more than a batch of messages before it"


def test_a_worker_that_stops_begins_nothing_of_what_it_was_handed_in_the_other_lane(line, tmp_path):
    threads = line.settings.threads
    paths = write_pictures(tmp_path / "pictures", 2 * threads)
    line.enqueue(paths[:threads])
    release, begun = threading.Event(), threading.Semaphore(0)

    def say(_image):
        begun.release()
        assert release.wait(60)
        return "<think>A.</think><answer>country: France\ncity: Paris</answer>"

    with line.working(say) as worker:
        for _ in range(threads):
            assert begun.acquire(timeout=60)
        line.enqueue(paths[threads:], priority=1)

        def published():
            return all(row.published_at for row in line.jobs().values())

        wait_for(published, "the urgent ones to be with the worker or the broker")
        stopping = threading.Thread(target=worker.runner.stop)
        stopping.start()
        wait_for(lambda: worker.service._draining, "the worker to take nothing more")
        release.set()
        stopping.join(60)
        assert not stopping.is_alive()
    assert line.states() == {"done": threads, "queued": threads}
    assert {row.attempts for row in line.jobs().values() if row.state == "queued"} == {0}
    assert line.messages(INTERACTIVE_QUEUE) == threads


# --- collections take turns ---


def test_a_large_collection_does_not_hold_up_a_small_one(line):
    _fill(line, "large", 3000)
    _fill(line, "small", 10)
    with line.producer.connection_for_write() as broker:
        assert Dispatcher(line.database.engine, line.producer, depth=40).step(broker) == 30
        uris = _uris(line, broker, LOCATE_QUEUE, 30)
    names = [uri.split("/")[3] for uri in uris]
    assert names == ["large", "small"] * 10 + ["large"] * 10, "each its turn, and half the room to each at most"


def test_many_collections_share_a_small_room(line):
    for number in range(30):
        _fill(line, f"c{number:02}", 20)
    with line.database.engine.begin() as connection:
        taken = connection.execute(queries.flow.TAKE_DUE, ROUND | {"room": 60}).all()
    assert Counter(row.uri.split("/")[3] for row in taken) == {f"c{number:02}": 2 for number in range(30)}


def test_one_that_is_alone_fills_the_room(line):
    _fill(line, "alone", 300)
    with line.producer.connection_for_write() as broker:
        assert Dispatcher(line.database.engine, line.producer, depth=200).step(broker) == 200


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_round_reads_what_it_takes_and_not_what_waits(line):
    """With 100,000 rows queued, most in one collection, and nothing analyzed. Rows count, not the clock."""
    with line.database.engine.begin() as connection:
        connection.execute(text("INSERT INTO collection (name) SELECT 'c' || n FROM generate_series(1, 50) n"))
        connection.execute(
            text(
                "INSERT INTO job (id, collection_id, uri) SELECT gen_random_uuid(), CASE WHEN n % 20 = 0"
                " THEN 2 + n % 49 ELSE 1 END, 'file:///' || n FROM generate_series(1, 100000) n"
            )
        )
    explain = text("EXPLAIN (ANALYZE, FORMAT JSON) " + queries.flow.TAKE_DUE.text)
    with line.database.engine.begin() as connection:
        connection.execute(queries.flow.BEGIN_ROUND)
        [plan] = connection.execute(explain, ROUND | {"room": 512}).scalar_one()
    nodes = list(_nodes(plan["Plan"]))
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "job"]
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes if node.get("Relation Name") == "job")
    assert 512 <= read < 5 * 512
    assert {"ix_job_due", "pk_job"} <= {node.get("Index Name") for node in nodes}


def _nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


# --- several dispatchers keep one bound ---


def test_many_dispatchers_together_keep_the_bound(line):
    _fill(line, "bulk", 2000)
    barrier = threading.Barrier(4)

    def dispatch(_):
        dispatcher = Dispatcher(line.database.engine, line.producer, depth=50)
        deepest = published = 0
        with line.producer.connection_for_write() as broker:
            barrier.wait(30)
            for _ in range(25):
                published += dispatcher.step(broker) or 0
                deepest = max(deepest, waiting(broker, LOCATE_QUEUE))
        return published, deepest

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(dispatch, range(4), timeout=120))
    assert sum(published for published, _ in results) == 50
    assert max(deepest for _, deepest in results) <= 50
    assert line.messages() == 50


def test_a_dispatcher_that_finds_another_at_it_comes_again(line):
    _fill(line, "bulk", 10)
    dispatcher = Dispatcher(line.database.engine, line.producer, depth=50)
    with line.producer.connection_for_write() as broker:
        with line.database.engine.begin() as other:
            assert other.execute(queries.flow.BEGIN_ROUND).one().is_ours
            assert dispatcher.step(broker) is None
        assert dispatcher.step(broker) == 10


# --- pause, resume, cancel ---


def test_a_paused_collection_is_not_published_and_its_neighbours_are(line):
    _fill(line, "paused", 10)
    _fill(line, "other", 10)
    _set_paused(line, "paused", queries.flow.PAUSE)
    dispatcher = Dispatcher(line.database.engine, line.producer, depth=50)
    with line.producer.connection_for_write() as broker:
        assert dispatcher.step(broker) == 10
        assert {uri.split("/")[3] for uri in _uris(line, broker, LOCATE_QUEUE, 10)} == {"other"}
        _set_paused(line, "paused", queries.flow.RESUME)
        assert dispatcher.step(broker) == 10


def test_a_last_chance_in_a_paused_collection_holds_up_none_elsewhere(line):
    _fill(line, "paused", 1)
    _fill(line, "other", 1)
    with line.database.engine.begin() as connection:
        connection.execute(update(job).values(losses=MAX_LOSSES - 1))
    _set_paused(line, "paused", queries.flow.PAUSE)
    with line.producer.connection_for_write() as broker:
        assert Dispatcher(line.database.engine, line.producer, depth=50).step(broker) == 1
        assert [uri.split("/")[3] for uri in _uris(line, broker, LOCATE_QUEUE, 1)] == ["other"]


def test_messages_that_are_out_when_their_collection_is_paused_are_handed_back(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 12))
    with line.producer.connection_for_write() as broker:
        assert Dispatcher(line.database.engine, line.producer, depth=50).step(broker) == 12
    _set_paused(line, "default", queries.flow.PAUSE)
    with line.working(dispatch=False):
        wait_for(lambda: line.messages() == 0, "all messages to be taken")
        wait_for(
            lambda: (
                {(row.state, row.published_at, row.attempts) for row in line.jobs().values()}
                == {("queued", None, 0)}
            ),
            "the rows to be handed back",
        )
    _set_paused(line, "default", queries.flow.RESUME)
    with line.working():
        assert line.wait_until_settled(12) == {"done": 12}
    assert {row.attempts for row in line.jobs().values()} == {1}


def test_a_strangers_photograph_for_a_paused_collection_waits_for_it(line, tmp_path):
    [path] = write_pictures(tmp_path / "pictures", 1)
    with line.database.engine.begin() as connection:
        connection.execute(collection.insert().values(name="press", paused_at=text("now()")))
    line.producer.send_task(LOCATE_TASK, kwargs={"uri": path.as_uri(), "collection": "press"}, queue=LOCATE_QUEUE)
    with line.working():
        wait_for(line.states, "its row")
        wait_for(lambda: line.messages() == 0, "its message to be settled")
        assert line.states() == {"queued": 1}
        _set_paused(line, "press", queries.flow.RESUME)
        assert line.wait_until_settled(1) == {"done": 1}
    assert line.jobs()["0000.png"].attempts == 1


def test_what_is_in_work_when_its_collection_is_paused_or_cancelled_is_finished(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 30))
    release, begun = threading.Event(), threading.Semaphore(0)

    def say(_image):
        begun.release()
        assert release.wait(60)
        return "<think>A.</think><answer>country: France\ncity: Paris</answer>"

    threads = line.settings.threads
    with line.working(say):
        for _ in range(threads):
            assert begun.acquire(timeout=60)
        _set_paused(line, "default", queries.flow.PAUSE)
        with line.database.engine.begin() as connection:
            chosen = {"collection_id": None, "batch_id": None, "detail": "d", "most": 1000}
            assert connection.execute(queries.flow.CANCEL, chosen).scalar_one() == 30 - threads
        release.set()
        assert line.wait_until_settled(30) == {"done": threads, "failed": 30 - threads}
    failed = [row for row in line.jobs().values() if row.state == "failed"]
    assert {(row.reason, row.detail, row.attempts) for row in failed} == {("cancelled", "d", 0)}
    assert all(row.finished_at for row in failed)


def test_cancelling_takes_what_is_named_and_no_more(line):
    first, second = _fill(line, "a", 5), _fill(line, "a2", 5)
    other = _fill(line, "b", 5)
    with line.database.engine.begin() as connection:
        ids = dict(connection.execute(select(collection.c.name, collection.c.id)).all())
        of = {"detail": "d", "most": 3}
        by_collection = {"collection_id": ids["a"], "batch_id": None} | of
        assert [connection.execute(queries.flow.CANCEL, by_collection).scalar_one() for _ in range(3)] == [3, 2, 0]
        by_batch = {"collection_id": None, "batch_id": second.batch_id} | of | {"most": 100}
        assert connection.execute(queries.flow.CANCEL, by_batch).scalar_one() == 5
    assert line.states() == {"failed": 10, "queued": 5}
    with line.database.engine.connect() as connection:
        batches = connection.execute(select(job.c.batch_id).where(job.c.state == "queued").distinct()).scalars()
        assert set(batches) == {other.batch_id} != {first.batch_id}


def test_a_retry_of_all_failures_leaves_what_was_cancelled(line):
    _fill(line, "a", 5)
    with line.database.engine.begin() as connection:
        everything = {"collection_id": None, "batch_id": None, "detail": "d", "most": 3}
        connection.execute(queries.flow.CANCEL, everything)
        connection.execute(update(job).where(job.c.state == "queued").values(state="failed", reason="empty"))
        chosen = {"collection": None, "batch_id": "00000000-0000-0000-0000-000000000000"}
        assert connection.execute(queries.jobs.RETRY_FAILED, chosen | {"reason": None}).scalar_one() == 2
        assert connection.execute(queries.jobs.RETRY_FAILED, chosen | {"reason": "cancelled"}).scalar_one() == 3
