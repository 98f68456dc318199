"""A web host that hangs, refuses or is busy, met by a whole worker: its photographs wait, all others are done."""

import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import func, select, text, update

from schema.tables import job
from tests.support import picture, wait_for
from worker.breaker import Breakers, Limits
from worker.intake.guarded import _answers_nobody, _pause_of
from worker.intake.sources import Submission
from worker.queue.enqueue import enqueue


class Host:
    """A web server on this machine. `answer(path)` returns a status and headers; 200 comes with a picture."""

    def __init__(self, answer=lambda _: (200, {})):
        self.answer = answer
        self.asked = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.asked.append(time.monotonic())
                status, headers = host.answer(self.path)
                body = picture(int(self.path.strip("/")) % 60000) if status == 200 else b""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def _serving(host):
    thread = threading.Thread(target=host.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.server.shutdown()
        thread.join(10)
        host.server.server_close()


@pytest.fixture
def neighbour():
    with _serving(Host()) as host:
        yield host


@pytest.fixture
def quick_circuits(monkeypatch):
    """Circuits that open for a second, so that a test sees them close again."""
    limits = Limits(open_s=1.0, longest_s=2.0, most_calls=6, slow_s=0.3)
    monkeypatch.setattr(
        "worker.assemble.host_breakers",
        lambda _: Breakers(limits, is_failure=_answers_nobody, pause_of=_pause_of),
    )


def _enqueue(line, url, count):
    enqueue(line.database.engine, [Submission(f"{url}/{number}") for number in range(count)])


def _states(line, url):
    with line.database.engine.connect() as connection:
        mine = job.c.uri.startswith(url + "/")
        rows = connection.execute(select(job.c.state, func.count()).where(mine).group_by(job.c.state)).all()
    return {row.state: row[1] for row in rows}


def _rows(line, url):
    with line.database.engine.connect() as connection:
        return connection.execute(select(job).where(job.c.uri.startswith(url + "/"))).all()


def _put_off(line, url):
    return sum(row.put_off_since is not None for row in _rows(line, url))


def _make_due(line, **more):
    """What is queued comes up again now. Rows that a worker has in its hands are passed over."""
    with line.database.engine.begin() as connection:
        free = select(job.c.id).where(job.c.state == "queued").with_for_update(skip_locked=True)
        connection.execute(update(job).where(job.c.id.in_(free)).values(due_at=func.now(), **more))


def _until_done(line, url, count):
    def done():
        _make_due(line)
        return _states(line, url) == {"done": count}

    wait_for(done, f"{count} done of {url}", 120)


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_host_that_hangs_takes_neither_all_threads_nor_an_attempt_of_each(line, neighbour, quick_circuits):
    settings = line.settings.model_copy(update={"fetch_timeout_s": 2.0})
    with socket.create_server(("127.0.0.1", 0), backlog=200) as deaf:
        dead = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        _enqueue(line, dead, 300)
        _enqueue(line, neighbour.url, 60)
        with line.working(settings=settings):
            wait_for(lambda: _states(line, neighbour.url) == {"done": 60}, "the neighbours", 60)
            rows = _rows(line, dead)
    assert {row.state for row in rows} <= {"queued", "running"}
    tried = [row.attempts for row in rows if row.attempts]
    assert len(tried) <= 20, "six at first, and one at a time to see whether it is back"
    put_off = [row for row in rows if row.put_off_since]
    assert len(put_off) > 250
    assert {row.attempts for row in put_off} <= {0, 1}
    assert all(row.due_at > row.put_off_since for row in put_off)


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_host_that_comes_back_gets_all_its_photographs_done(line, quick_circuits):
    away = threading.Event()
    away.set()
    with _serving(Host(lambda _: (500, {}) if away.is_set() else (200, {}))) as host:
        _enqueue(line, host.url, 80)
        with line.working():
            wait_for(
                lambda: sum(row.put_off_since is not None for row in _rows(line, host.url)) > 60, "the circuit"
            )
            asked = len(host.asked)
            assert asked < 30, "of 80 photographs, most were not tried"
            away.clear()
            _until_done(line, host.url, 80)
    rows = _rows(line, host.url)
    assert {row.put_off_since for row in rows} == {None}
    assert {row.attempts for row in rows} <= {1, 2, 3}


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_busy_host_is_left_alone_for_as_long_as_it_asks(line):
    with _serving(Host(lambda _: (429, {"Retry-After": "600"}))) as host:
        _enqueue(line, host.url, 40)
        with line.working():
            wait_for(lambda: all(row.reason for row in _rows(line, host.url)), "each to be looked at once")
    assert len(host.asked) <= 8, "no more than were in work at that moment"
    with line.database.engine.connect() as connection:
        soonest = connection.execute(select(func.min(job.c.due_at) - func.now())).scalar_one()
    assert soonest.total_seconds() > 500


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_photographs_of_a_host_that_never_comes_back_fail_in_the_end(line, quick_circuits):
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"  # free again, and nobody listens there
    _enqueue(line, nobody, 40)
    with line.working() as _:
        wait_for(lambda: _put_off(line, nobody) >= 20, "the circuit")

        def failed():
            _make_due(line, put_off_since=func.now() - text("interval '9 hours'"))
            return _states(line, nobody) == {"failed": 40}

        wait_for(failed, "all to be given up", 120)
    rows = _rows(line, nobody)
    assert {row.reason for row in rows} == {"unreachable"}
    assert any("waited for for 9.0 hours" in row.detail for row in rows)
