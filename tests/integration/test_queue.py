"""The whole line but for the models, on both brokers: what goes in comes out, once, whatever happens between.

Long because all of it shares one line, its brokers and its helpers.
"""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from celery import Celery
from sqlalchemy import func, select, text, update

from benchmarks.null_models import ANSWER, NullEngine, NullGate
from schema.messages import DEAD_SUFFIX, DEFAULT_COLLECTION, LOCATE_QUEUE, LOCATE_TASK, job_id_for
from schema.tables import collection, image, job, prediction, trace
from tests.support import number_of, picture, wait_for, write_pictures
from worker.assemble import Models, assemble
from worker.queue.app import make_app
from worker.queue.broker import celery_options, waiting
from worker.queue.dispatch import MAX_LOSSES, Dispatcher
from worker.queue.runner import Runner

DEAD_QUEUE = LOCATE_QUEUE + DEAD_SUFFIX


def _count(line, table):
    with line.database.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _send(line, *, args=(), producer=None, **fields):
    (producer or line.producer).send_task(LOCATE_TASK, args=args, kwargs=fields, queue=LOCATE_QUEUE)


def _backdate(line, **columns):
    """Moves times of all jobs into the past, by SQL intervals."""
    with line.database.engine.begin() as connection:
        values = {name: func.now() - text(f"interval '{ago}'") for name, ago in columns.items()}
        connection.execute(update(job).values(**values))


class Hold:
    """An engine's `say` that keeps every picture in work until `release` is set, and counts them."""

    def __init__(self):
        self.release = threading.Event()
        self._entered = threading.Semaphore(0)
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self, _image):
        with self._lock:
            self.count += 1
        assert self.release.wait(60), "the test never released the engine"
        return ANSWER


# --- N in = N out, each once ---


def test_every_photograph_that_goes_in_comes_out(line, tmp_path):
    paths = write_pictures(tmp_path / "pictures", 500)
    assert line.enqueue(paths).new == 500
    with line.working():
        assert line.wait_until_settled(500) == {"done": 500}
    assert {table.name: _count(line, table) for table in (job, image, prediction, trace)} == {
        "job": 500,
        "image": 500,
        "prediction": 500,
        "trace": 500,
    }
    assert line.messages() == 0, "every message was acknowledged"
    assert line.messages(DEAD_QUEUE) == 0


def test_a_job_is_worked_on_once_however_often_its_message_comes(line, tmp_path):
    paths = write_pictures(tmp_path / "pictures", 40)
    line.enqueue(paths)
    asked = Counter()

    def say(picture_):
        asked[number_of(picture_)] += 1
        return ANSWER

    for _ in range(3):
        for path in paths:
            _send(line, uri=path.as_uri())
    with line.working(say, dispatch=False):
        assert line.wait_until_settled(40) == {"done": 40}
        wait_for(lambda: line.messages() == 0, "the duplicates to be acknowledged")
    assert asked == Counter(range(40))
    assert {row.attempts for row in line.jobs().values()} == {1}
    assert _count(line, prediction) == 40
    assert line.messages() == 0


def test_the_same_content_under_two_names_is_computed_once_and_said_so(line, tmp_path):
    folder = tmp_path / "pictures"
    [first] = write_pictures(folder, 1)
    line.enqueue([first])
    with line.working():
        line.wait_until_settled(1)
        copy = folder / "copy.png"
        copy.write_bytes(first.read_bytes())
        line.enqueue([copy])
        line.wait_until_settled(2)
    jobs = line.jobs()
    assert (jobs["0000.png"].reused, jobs["copy.png"].reused) == (False, True)
    assert jobs["0000.png"].prediction_id == jobs["copy.png"].prediction_id


# --- failures harm themselves only ---


def test_a_defect_met_with_some_photographs_fails_those_and_no_others(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 30))

    def say(picture_):
        if number_of(picture_) % 5 == 0:
            raise RuntimeError("a defect")
        return ANSWER

    with line.working(say):
        assert line.wait_until_settled(30) == {"done": 24, "failed": 6}
    failed = {name: row for name, row in line.jobs().items() if row.state == "failed"}
    assert set(failed) == {f"{number:04}.png" for number in range(0, 30, 5)}
    assert {row.reason for row in failed.values()} == {"internal_error"}
    assert all("RuntimeError" in row.detail for row in failed.values())
    assert line.messages() == line.messages(DEAD_QUEUE) == 0


def test_a_message_that_makes_no_job_ends_in_the_dead_letter_queue_and_the_worker_goes_on(line, tmp_path):
    [path] = write_pictures(tmp_path / "pictures", 1)
    uri = path.as_uri()
    _send(line, args=(uri,))
    _send(line, uri=uri, colour="blue")
    _send(line)
    _send(line, uri="")
    _send(line, uri=uri, priority=7)
    _send(line, uri=uri, hints={"text": "x" * 2001})
    _send(line, uri=uri, job_id="no uuid")
    _send(line, uri=uri)
    with line.working(dispatch=False):
        assert line.wait_until_settled(1) == {"done": 1}
        wait_for(lambda: line.messages(DEAD_QUEUE) == 7, "seven dead letters")
    assert (line.messages(), line.messages(DEAD_QUEUE)) == (0, 7)


def test_a_photograph_that_comes_late_is_waited_for(line):
    asked = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = picture(1)
            self.send_response(503 if len(asked) < 3 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _send(line, uri=f"http://127.0.0.1:{server.server_port}/late.png")
        with line.working():
            assert line.wait_until_settled(1) == {"done": 1}
        server.shutdown()
    [row] = line.jobs().values()
    assert (row.attempts, len(asked), row.reason) == (3, 3, None)


def test_a_photograph_that_never_comes_fails_with_its_reason_after_the_last_attempt(line):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port  # free again, and nobody listens there
    _send(line, uri=f"http://127.0.0.1:{port}/never.png")
    with line.working():
        assert line.wait_until_settled(1) == {"failed": 1}
    [row] = line.jobs().values()
    assert (row.attempts, row.reason) == (line.settings.max_attempts, "unreachable")
    assert row.detail
    assert line.messages() == 0


# --- other producers ---


def test_any_celery_program_can_send_a_photograph_by_task_name(line, tmp_path):
    paths = write_pictures(tmp_path / "pictures", 2)
    options = celery_options(line.settings, line.database.url)
    foreign = Celery("somebody-else", broker=options["broker_url"], set_as_current=False)
    foreign.conf.broker_transport_options = options["broker_transport_options"]
    foreign.conf.task_create_missing_queue_type = "quorum"
    foreign.conf.task_queues = options["task_queues"]
    _send(line, producer=foreign, uri=paths[0].as_uri())
    mine = "7f3c8a54-26a1-4c11-9d0e-0a5f2f4d6c11"
    _send(
        line,
        producer=foreign,
        uri=paths[1].as_uri(),
        collection="postcards",
        job_id=mine,
        hints={"text": "Le pont", "region": "Île-de-France", "date": "1911"},
        verify=True,
        priority=1,
    )
    with line.working(dispatch=False):
        assert line.wait_until_settled(2) == {"done": 2}
    jobs = line.jobs()
    assert jobs["0000.png"].id == str(job_id_for(DEFAULT_COLLECTION, paths[0].as_uri()))
    assert (jobs["0001.png"].id, jobs["0001.png"].verify, jobs["0001.png"].priority) == (mine, True, 1)
    assert jobs["0001.png"].hints == {"text": "Le pont", "region": "Île-de-France", "date": "1911"}
    with line.database.engine.connect() as connection:
        names = set(connection.execute(select(collection.c.name)).scalars())
    assert names == {DEFAULT_COLLECTION, "postcards"}


# --- settled exactly once, after the commit ---


def test_a_message_that_comes_again_after_its_commit_changes_nothing(line, tmp_path):
    """As if the worker had died between the commit and the acknowledgement."""
    line.enqueue(write_pictures(tmp_path / "pictures", 20))
    models = Models(NullGate(), NullEngine(), gate_threshold=0.5)
    deliveries = Counter()
    lock = threading.Lock()
    with assemble(line.settings, line.database, models, dispatch=False) as worker:

        def commit_then_break(fields):
            worker.service.handle(fields)
            with lock:
                deliveries[fields["uri"]] += 1
                first = deliveries[fields["uri"]] == 1
            if first:
                raise ConnectionError("lost between commit and acknowledgement")

        app = make_app(line.settings, line.database.url, commit_then_break)
        runner = Runner(app, worker.service, Dispatcher(line.database.engine, app, depth=64))
        runner.start()
        try:
            assert line.wait_until_settled(20) == {"done": 20}
            wait_for(lambda: sum(deliveries.values()) == 40, "the second deliveries")
            wait_for(lambda: line.messages() == 0, "the acknowledgements")
        finally:
            runner.stop(drain_s=30)
    assert set(deliveries.values()) == {2}
    assert {row.attempts for row in line.jobs().values()} == {1}
    assert _count(line, prediction) == 20
    assert line.messages() == line.messages(DEAD_QUEUE) == 0


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_message_received_again_while_it_is_given_back_can_still_be_acknowledged(line, monkeypatch):
    """The consumer is faster than the thread that rejects: it reads the message as soon as that is visible."""
    with line.producer.connection_for_write() as connection:
        channel = connection.default_channel
        producer = connection.Producer(channel)
        for n in range(2):
            producer.publish({"n": n}, routing_key=LOCATE_QUEUE, exchange="")
        first = channel.basic_get(LOCATE_QUEUE)
        make_visible, again = channel.pgmq.set_vt, []

        def make_visible_and_receive(queue, msg_id, seconds):
            make_visible(queue, msg_id, seconds)
            again.append(channel.basic_get(LOCATE_QUEUE))

        monkeypatch.setattr(channel.pgmq, "set_vt", make_visible_and_receive)
        channel.basic_reject(first.delivery_tag, requeue=True)
        again.append(channel.basic_get(LOCATE_QUEUE))
        for message in again:
            channel.basic_ack(message.delivery_tag)
        name = channel.canonical_queue_name(LOCATE_QUEUE)
        assert channel.pgmq.metrics(name).queue_length == 0, "acknowledged, and yet still in the queue"


# --- lost workers, lost brokers ---


def test_jobs_of_a_vanished_worker_return_and_those_it_died_with_too_often_do_not(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 3))
    ghost = {"state": "running", "worker": "a/ghost/1/0", "attempts": 1, "lease_until": func.now()}
    with line.database.engine.begin() as connection:
        connection.execute(update(job).values(**ghost))
        last = job.c.uri.endswith("0002.png")
        connection.execute(update(job).where(last).values(losses=MAX_LOSSES - 1))
    with line.working():
        assert line.wait_until_settled(3) == {"done": 2, "dead": 1}
    jobs = line.jobs()
    assert [jobs[name].losses for name in sorted(jobs)] == [1, 1, MAX_LOSSES]
    assert [jobs[name].attempts for name in sorted(jobs)] == [2, 2, 1]
    assert jobs["0002.png"].reason == "worker_lost"
    assert f"died {MAX_LOSSES} times" in jobs["0002.png"].detail


def test_a_worker_that_is_alive_keeps_its_jobs_however_long_they_take(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 2))
    hold = Hold()
    lease_s = 1.0
    settings = line.settings.model_copy(update={"lease_s": lease_s})
    with line.working(hold, settings=settings):
        wait_for(lambda: hold.count == 2, "both in work")
        claimed = {row.lease_until for row in line.jobs().values()}

        def extended():
            return not claimed & {row.lease_until for row in line.jobs().values()}

        wait_for(extended, "the first heartbeat")
        beyond = max(claimed)
        wait_for(
            lambda: (
                min(row.lease_until for row in line.jobs().values())
                > beyond + 2 * (beyond - min(row.started_at for row in line.jobs().values()))
            ),
            "two leases' time",
        )
        hold.release.set()
        line.wait_until_settled(2)
    assert {(row.state, row.losses, row.attempts) for row in line.jobs().values()} == {("done", 0, 1)}


def test_losing_everything_in_the_broker_loses_no_job(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 25))
    dispatcher = Dispatcher(line.database.engine, line.producer, depth=100)
    with line.producer.connection_for_write() as broker:
        assert dispatcher.step(broker) == 25
        wait_for(lambda: line.messages() == 25, "the messages in the broker")
        line.producer.amqp.queues[LOCATE_QUEUE](broker.default_channel).purge()
        wait_for(lambda: line.messages() == 0, "an empty broker")
        assert dispatcher.step(broker) == 0, "they were published a moment ago and may be on their way"
    _backdate(line, published_at="1 minute")
    with line.working():
        assert line.wait_until_settled(25) == {"done": 25}
    assert line.messages() == 0


# --- dispatching ---


def test_the_broker_never_holds_more_than_its_depth(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 60))
    dispatcher = Dispatcher(line.database.engine, line.producer, depth=10)
    uris = set()
    with line.producer.connection_for_write() as broker:
        queue = line.producer.amqp.queues[LOCATE_QUEUE](broker.default_channel)
        for _ in range(6):
            assert dispatcher.step(broker) == 10
            wait_for(lambda: waiting(broker, LOCATE_QUEUE) == 10, "ten messages in the broker")
            assert dispatcher.step(broker) is None, "the broker is full"
            for _ in range(10):
                uris.add(queue.get(no_ack=True).payload[1]["uri"])
            wait_for(lambda: waiting(broker, LOCATE_QUEUE) == 0, "an empty broker")
            assert dispatcher.step(broker) is None, "what no worker has begun is still out"
            with line.database.engine.begin() as connection:
                told = job.c.published_at.is_not(None)
                connection.execute(update(job).where(told).values(state="running"))
        assert dispatcher.step(broker) == 0, "every job was published"
    assert len(uris) == 60


def test_two_dispatchers_at_once_publish_each_job_once(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 200))
    barrier = threading.Barrier(2)

    def dispatch():
        dispatcher = Dispatcher(line.database.engine, line.producer, depth=400)
        published = 0
        with line.producer.connection_for_write() as broker:
            barrier.wait(10)
            for _ in range(4):
                published += dispatcher.step(broker) or 0
        return published

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(dispatch) for _ in range(2)]
        published = [future.result(60) for future in futures]
    assert sum(published) == 200
    assert wait_for(line.messages, "the messages") == 200


def test_a_job_that_waits_for_another_try_is_not_published_before_its_time(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 4))
    with line.database.engine.begin() as connection:
        later = func.now() + text("interval '1 hour'")
        connection.execute(update(job).where(job.c.uri.endswith("0001.png")).values(due_at=later))
    with line.producer.connection_for_write() as broker:
        assert Dispatcher(line.database.engine, line.producer, depth=10).step(broker) == 3


def test_jobs_on_their_last_chance_are_published_one_at_a_time(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 5))
    with line.database.engine.begin() as connection:
        suspects = job.c.uri.not_like("%0004.png")
        connection.execute(update(job).where(suspects).values(losses=MAX_LOSSES - 1))
    dispatcher = Dispatcher(line.database.engine, line.producer, depth=10)
    with line.producer.connection_for_write() as broker:
        assert dispatcher.step(broker) == 2, "the one that was never lost, and one suspect"
        assert dispatcher.step(broker) == 0
        for left in (3, 2, 1):
            told = job.c.published_at.is_not(None) & (job.c.state == "queued") & suspects
            with line.database.engine.begin() as connection:
                connection.execute(update(job).where(told).values(state="running"))
            assert dispatcher.step(broker) == 0, "it is being worked on"
            with line.database.engine.begin() as connection:
                connection.execute(
                    update(job).where(job.c.state == "running").values(state="done", outcome="known")
                )
            assert dispatcher.step(broker) == 1, f"the next of {left}"


# --- the end of a worker ---


def test_a_worker_that_is_told_to_stop_finishes_what_is_in_work_and_takes_nothing_more(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 60))
    hold = Hold()
    threads = line.settings.threads
    with line.working(hold) as worker:
        wait_for(lambda: hold.count == threads, "every thread at work")
        stopping = threading.Thread(target=worker.runner.stop)
        stopping.start()
        assert stopping.is_alive()
        hold.release.set()
        stopping.join(60)
        assert not stopping.is_alive()
    states = line.states()
    assert states["done"] >= threads
    assert states == {"done": states["done"], "queued": 60 - states["done"]}
    assert {row.attempts for row in line.jobs().values() if row.state == "done"} == {1}
    assert {row.attempts for row in line.jobs().values() if row.state == "queued"} == {0}
    published = sum(row.published_at is not None for row in line.jobs().values())
    assert line.messages() == published - states["done"], "what is done is acknowledged, nothing else is"
    _backdate(line, published_at="1 hour")
    with line.working():
        assert line.wait_until_settled(60) == {"done": 60}


def test_a_worker_that_is_stopped_at_once_gives_its_jobs_back_uncounted(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 20))
    hold = Hold()
    at_once = threading.Event()
    at_once.set()
    with line.working(hold) as worker:
        wait_for(lambda: hold.count == line.settings.threads, "every thread at work")
        try:
            assert worker.runner.stop(at_once=at_once) is False
            assert line.states() == {"queued": 20}
            assert {(row.attempts, row.losses, row.worker) for row in line.jobs().values()} == {(0, 0, None)}
        finally:
            hold.release.set()
    _backdate(line, due_at="1 second", published_at="1 hour")
    with line.working():
        assert line.wait_until_settled(20) == {"done": 20}
    assert _count(line, prediction) == 20


def test_jobs_of_a_process_of_this_machine_that_is_gone_are_free_at_once(line, tmp_path):
    from worker.queue.presence import worker_id

    host, space, _, unique = worker_id().split("/")
    gone = f"{host}/{space}/{2**22 + 1}/{unique}"  # beyond the largest pid that Linux gives
    line.enqueue(write_pictures(tmp_path / "pictures", 2))
    with line.database.engine.begin() as connection:
        until = func.now() + text("interval '1 hour'")
        connection.execute(update(job).values(state="running", worker=gone, attempts=1, lease_until=until))
    with line.working():
        assert line.wait_until_settled(2) == {"done": 2}
    assert {row.losses for row in line.jobs().values()} == {1}


@pytest.mark.parametrize("broker_url", ["amqp://guest:guest@localhost:1//"])
def test_a_broker_that_is_not_there_is_one_line_that_names_the_setting(settings, database):
    from worker.errors import SetupError

    models = Models(NullGate(), NullEngine(), gate_threshold=0.5)
    with (
        pytest.raises(SetupError, match=r"^the broker of GLOBETAG_BROKER_URL cannot be used [^\n]*$"),
        assemble(settings, database, models, dispatch=False),
    ):
        pass
