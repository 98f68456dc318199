"""Webhooks on a real database with a real receiver: signed, tried again, given up, never sent where they may not.

Long because every test shares the receiver that it is about.
"""

import json
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, func, insert, select, text, update
from standardwebhooks import Webhook

from schema import queries
from schema.events import CLOUDEVENTS_JSON, FAILED, LOCATED, WEBHOOK_TEST
from schema.tables import job, outbox, webhook, webhook_delivery
from tests.support import wait_for
from worker.commands.webhook import command
from worker.errors import SetupError
from worker.events.deliverer import Deliverer
from worker.events.posting import Poster
from worker.events.publisher import Publisher
from worker.events.relay import Relay
from worker.events.retrying import MAX_ATTEMPTS
from worker.events.signing import new_secret
from worker.queue.app import make_app
from worker.settings import Settings


class Receiver(ThreadingHTTPServer):
    """On 127.0.0.1. `say(number)` is how request `number` is answered: a status, with headers, or a function."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.say = lambda number: 204
        self.requests = []
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook/SECRET-PATH"

    @property
    def events(self):
        return [json.loads(body) for _, _, body in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.requests.append((self.path, dict(self.headers), body))
            number = len(self.server.requests)
        answer = self.server.say(number)
        if callable(answer):
            answer(self)
            return
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        self.send_response(status)
        for name, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


@contextmanager
def _receiving():
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def receiver():
    with _receiving() as server:
        yield server


@pytest.fixture
def relay(database):
    return Relay(database.engine, Publisher(make_app(Settings(), database.url)), keep_days=7)


@pytest.fixture
def deliver(database):
    """Runs deliveries until none is due or under way; `allow_private` False is what strangers' addresses get."""

    def deliver(*, allow_private=True, timeout_s=5.0):
        poster = Poster(allow_private=allow_private, timeout_s=timeout_s)
        deliverer = Deliverer(database.engine, poster)
        deliverer.stop()
        deliverer.run()

    return deliver


def _add(database, url, *, types=None, collection=None, secret=None):
    with database.engine.begin() as connection:
        collection_id = None
        if collection:
            collection_id = connection.execute(
                queries.collections.ENSURE_COLLECTION, {"name": collection}
            ).scalar_one()
        row = {"url": url, "secret": secret or new_secret(), "types": types and json.dumps(types)}
        return connection.execute(
            queries.webhooks.ADD_WEBHOOK, row | {"collection_id": collection_id}
        ).scalar_one()


def _settle(database, count=1, *, collection="default"):
    with database.engine.begin() as connection:
        collection_id = connection.execute(
            queries.collections.ENSURE_COLLECTION, {"name": collection}
        ).scalar_one()
        ids = [str(uuid.uuid4()) for _ in range(count)]
        rows = [{"id": one, "collection_id": collection_id, "uri": f"file:///{one}.jpg"} for one in ids]
        connection.execute(insert(job), rows)
        connection.execute(update(job).where(job.c.id.in_(ids)).values(state="failed", reason="unreadable"))
    return ids


def _deliveries(database):
    with database.engine.connect() as connection:
        return connection.execute(select(webhook_delivery).order_by(webhook_delivery.c.outbox_id)).all()


def _hook(database):
    with database.engine.connect() as connection:
        return connection.execute(select(webhook)).one()


def _make_due(database):
    with database.engine.begin() as connection:
        connection.execute(update(webhook_delivery).values(due_at=func.now()))
        connection.execute(update(webhook).values(not_before=None))


# --- what a receiver gets ---


def test_events_arrive_signed_once_each(database, relay, deliver, receiver):
    secret = new_secret()
    _add(database, receiver.url, secret=secret)
    ids = _settle(database, 30)
    relay.place()
    deliver()
    assert Counter(event["subject"] for event in receiver.events) == Counter(ids)
    for path, headers, body in receiver.requests:
        Webhook(secret).verify(body.decode(), {name.lower(): value for name, value in headers.items()})
        assert path == "/hook/SECRET-PATH"
        assert headers["Content-Type"] == CLOUDEVENTS_JSON
        assert headers["webhook-id"] == json.loads(body)["id"]
        assert headers["User-Agent"].startswith("globetag")
    assert {(row.state, row.attempts, row.status) for row in _deliveries(database)} == {("delivered", 1, 204)}
    deliver()
    assert len(receiver.requests) == 30


def test_a_webhook_gets_the_types_and_the_collection_that_it_asked_for(database, relay, deliver, receiver):
    _add(database, receiver.url, types=[FAILED], collection="press")
    _add(database, receiver.url, types=[LOCATED])
    _settle(database, 2)
    [mine] = _settle(database, 1, collection="press")
    with database.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(outbox)).scalar_one() == 1, (
            "the others cost nothing"
        )
    relay.place()
    deliver()
    assert [event["subject"] for event in receiver.events] == [mine]


def test_what_was_erased_meanwhile_is_not_sent(database, relay, deliver, receiver):
    _add(database, receiver.url)
    gone, stays = _settle(database, 2)
    relay.place()
    with database.engine.begin() as connection:
        connection.execute(delete(job).where(job.c.id == gone))
    deliver()
    assert [event["subject"] for event in receiver.events] == [stays]
    assert len(_deliveries(database)) == 1


def test_the_loops_deliver_by_themselves(database, receiver):
    """As `globetag dispatch` runs them, woken by notifications."""
    _add(database, receiver.url)
    relay = Relay(database.engine, Publisher(make_app(Settings(), database.url)), keep_days=7)
    deliverer = Deliverer(database.engine, Poster(allow_private=True))
    threads = [threading.Thread(target=each.run, daemon=True) for each in (relay, deliverer)]
    for thread in threads:
        thread.start()
    ids = _settle(database, 20)
    wait_for(lambda: len(receiver.requests) >= 20, "twenty requests")
    relay.stop()
    threads[0].join(30)
    deliverer.stop()
    threads[1].join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert Counter(event["subject"] for event in receiver.events) == Counter(ids)


# --- receivers that fail ---


def test_a_receiver_that_fails_first_gets_it_later_under_the_same_id(database, relay, deliver, receiver):
    secret = new_secret()
    _add(database, receiver.url, secret=secret)
    receiver.say = lambda number: 503 if number < 3 else 200
    _settle(database)
    relay.place()
    for attempts in (1, 2):
        deliver()
        [row] = _deliveries(database)
        assert (row.state, row.attempts, row.status) == ("pending", attempts, 503)
        with database.engine.connect() as connection:
            wait_s = connection.execute(text("SELECT extract(epoch FROM due_at - now()) FROM webhook_delivery"))
            assert 4**attempts < float(wait_s.scalar_one()) < 6 * 4 ** (attempts - 1)
        deliver()
        assert len(receiver.requests) == attempts, "before it is due nothing is sent"
        assert _hook(database).failures == attempts
        _make_due(database)
    deliver()
    [row] = _deliveries(database)
    assert (row.state, row.attempts, row.problem) == ("delivered", 3, None)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1
    assert (_hook(database).failures, _hook(database).failing_since) == (0, None)
    for _, headers, body in receiver.requests:
        Webhook(secret).verify(body.decode(), {name.lower(): value for name, value in headers.items()})


def test_a_failing_receiver_is_tried_with_one_event_at_a_time(database, relay, deliver, receiver):
    _add(database, receiver.url)
    receiver.say = lambda number: 500
    _settle(database, 50)
    relay.place()
    deliver()
    assert len(receiver.requests) <= 8
    _make_due(database)
    before = len(receiver.requests)
    deliver()
    assert len(receiver.requests) == before + 1
    receiver.say = lambda number: 200
    _make_due(database)
    deliver()
    assert {row.state for row in _deliveries(database)} == {"delivered"}


def test_what_no_attempt_delivers_is_given_up_and_seen(database, relay, deliver, receiver):
    webhook_id = _add(database, receiver.url)
    receiver.say = lambda number: 500
    _settle(database)
    relay.place()
    for _ in range(MAX_ATTEMPTS):
        deliver()
        _make_due(database)
    deliver()
    assert len(receiver.requests) == MAX_ATTEMPTS
    [row] = _deliveries(database)
    assert (row.state, row.problem) == ("dead", "The receiver answered 500.")
    with database.engine.begin() as connection:
        standing = connection.execute(queries.webhooks.LIST_WEBHOOKS).one()
        assert (standing.pending, standing.dead, standing.last_problem) == (0, 1, row.problem)
        connection.execute(queries.webhooks.ENABLE_WEBHOOK, {"id": webhook_id})
        assert connection.execute(queries.webhooks.REVIVE_DELIVERIES, {"id": webhook_id}).scalar_one() == 1
    receiver.say = lambda number: 200
    deliver()
    assert _deliveries(database)[0].state == "delivered"


def test_a_receiver_that_takes_nothing_for_days_is_disabled_with_a_reason(
    database, relay, deliver, receiver, caplog
):
    _add(database, receiver.url)
    receiver.say = lambda number: 500
    _settle(database, 3)
    relay.place()
    deliver()
    assert _hook(database).enabled
    with database.engine.begin() as connection:
        connection.execute(update(webhook).values(failing_since=func.now() - text("interval '73 hours'")))
    _make_due(database)
    deliver()
    hook = _hook(database)
    assert not hook.enabled
    assert hook.disabled_reason.startswith("Nothing could be delivered since ")
    assert hook.disabled_reason.endswith("The receiver answered 500.")
    assert "is disabled" in caplog.text
    assert "SECRET-PATH" not in caplog.text
    assert hook.secret not in caplog.text
    assert {row.state for row in _deliveries(database)} == {"dead"}
    _settle(database, 2)
    relay.place()
    assert len(_deliveries(database)) == 3, "nothing is handed to a webhook that is disabled"


def test_a_receiver_that_says_it_is_gone_is_disabled_at_once(database, relay, deliver, receiver):
    _add(database, receiver.url)
    receiver.say = lambda number: 410
    _settle(database)
    relay.place()
    deliver()
    assert (_hook(database).enabled, "410" in _hook(database).disabled_reason) == (False, True)


def test_a_receiver_may_ask_for_time(database, relay, deliver, receiver):
    _add(database, receiver.url)
    receiver.say = lambda number: (429, {"Retry-After": "600"})
    _settle(database)
    relay.place()
    deliver()
    with database.engine.connect() as connection:
        wait_s = connection.execute(text("SELECT extract(epoch FROM due_at - now()) FROM webhook_delivery"))
        assert 590 < float(wait_s.scalar_one()) < 601


def test_redirects_are_not_followed(database, relay, deliver, receiver):
    with _receiving() as elsewhere:
        _add(database, receiver.url)
        receiver.say = lambda number: (307, {"Location": elsewhere.url})
        _settle(database)
        relay.place()
        deliver()
        assert (len(receiver.requests), len(elsewhere.requests)) == (1, 0)
    [row] = _deliveries(database)
    assert (row.state, row.status) == ("pending", 307)
    assert "redirects" in row.problem


def test_a_slow_receiver_is_cut_off_and_stops_nobody_else(database, relay, deliver, receiver):
    released = threading.Event()

    def stall(handler):
        released.wait(60)
        handler.close_connection = True

    with _receiving() as quick:
        receiver.say = lambda number: stall
        slow_id = _add(database, receiver.url)
        _add(database, quick.url)
        _settle(database, 12)
        relay.place()
        started_s = time.monotonic()
        deliver(timeout_s=1.5)
        assert time.monotonic() - started_s < 12
        assert len(quick.requests) == 12
    released.set()
    slow = [row for row in _deliveries(database) if row.webhook_id == slow_id and row.attempts]
    assert slow
    assert {(row.state, row.problem) for row in slow} == {("pending", "There was no answer within 1.5 s.")}


def test_an_endless_answer_is_cut_off_and_counts(database, relay, deliver, receiver):
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        try:
            while len(sent) < 10_000:
                handler.wfile.write(b"x" * 65536)
                sent.append(1)
        except OSError:
            handler.close_connection = True

    receiver.say = lambda number: endless
    _add(database, receiver.url)
    _settle(database)
    relay.place()
    deliver()
    [row] = _deliveries(database)
    assert (row.state, row.status) == ("delivered", 200)
    assert len(sent) < 1000


def test_nobody_is_reached_in_private_networks_unless_that_is_allowed(database, relay, deliver, receiver):
    for url in (
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/",
        "https://localhost/",
    ):
        _add(database, url)
    _add(database, receiver.url.replace("http:", "https:"))
    _settle(database)
    relay.place()
    deliver(allow_private=False)
    problems = [row.problem for row in _deliveries(database)]
    assert len(problems) == 5
    assert all("leads to" in problem or "not a usual port" in problem for problem in problems)
    assert receiver.requests == []


def test_whoever_dies_while_it_posts_leaves_the_delivery_due_again(database, relay, deliver, receiver):
    _add(database, receiver.url)
    _settle(database)
    relay.place()
    bounds = {"most": 4, "busy": [], "lease_s": 60}
    with database.engine.begin() as connection:
        assert len(connection.execute(queries.webhooks.TAKE_DUE, bounds).all()) == 1
    deliver()
    assert receiver.requests == [], "its lease still runs"
    _make_due(database)
    deliver()
    [row] = _deliveries(database)
    assert (row.state, row.attempts, len(receiver.requests)) == ("delivered", 2, 1)


# --- the commands ---


@pytest.fixture
def globetag(database, monkeypatch):
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    monkeypatch.setenv("GLOBETAG_ALLOW_PRIVATE_ADDRESSES", "true")

    def globetag(*arguments):
        result = CliRunner().invoke(command, [str(each) for each in arguments])
        if isinstance(result.exception, SetupError):
            raise result.exception
        assert result.exception is None, result.output
        return result.output

    return globetag


def test_a_webhook_is_added_tested_rotated_and_removed(database, globetag, receiver):
    secret = globetag("add", receiver.url, "--type", FAILED, "--collection", "press").splitlines()[-1]
    webhook_id = _hook(database).id
    assert _hook(database).secret == secret
    told = globetag("list")
    assert (FAILED in told, "press" in told, "127.0.0.1" in told) == (True, True, True)
    assert "accepted" in globetag("test", webhook_id)
    newer = globetag("rotate", webhook_id).splitlines()[-1]
    assert newer != secret
    assert "accepted" in globetag("test", webhook_id)
    for _, headers, body in receiver.requests:
        assert json.loads(body)["type"] == WEBHOOK_TEST
        Webhook(secret).verify(body.decode(), {name.lower(): value for name, value in headers.items()})
    _, headers, body = receiver.requests[-1]
    Webhook(newer).verify(body.decode(), {name.lower(): value for name, value in headers.items()})
    assert secret not in globetag("list")
    globetag("rotate", webhook_id, "--overlap-h", 0)
    globetag("test", webhook_id)
    assert " " not in receiver.requests[-1][1]["webhook-signature"], "the secret before signs no more"
    globetag("remove", webhook_id)
    assert "no webhooks" in globetag("list")


def test_the_list_says_what_is_wrong(database, globetag, receiver, relay, deliver):
    globetag("add", receiver.url)
    receiver.say = lambda number: 410
    _settle(database)
    relay.place()
    deliver()
    told = globetag("list")
    assert "DISABLED: The receiver answered 410" in told
    assert "1 given up" in told
    assert "SECRET-PATH" not in told
    receiver.say = lambda number: 200
    assert "1 events are tried again" in globetag("enable", _hook(database).id)
    deliver()
    assert "1 delivered, 0 pending, 0 given up" in globetag("list")


@pytest.mark.parametrize("arguments", [("test", 7), ("remove", 7), ("rotate", 7), ("enable", 7)])
def test_a_webhook_that_is_not_there_is_told_of(globetag, arguments):
    with pytest.raises(SetupError, match="there is no webhook 7; `globetag webhook list`"):
        globetag(*arguments)


def test_a_test_event_that_is_refused_is_an_error(database, globetag, receiver):
    globetag("add", receiver.url)
    receiver.say = lambda number: 401
    with pytest.raises(SetupError, match=r"http://127.0.0.1:\d+ did not accept the test event: .* 401"):
        globetag("test", _hook(database).id)


def test_an_address_that_cannot_be_one_is_refused(globetag):
    with pytest.raises(SetupError, match=r"https://hooks.example cannot be a webhook: .*user name or password"):
        globetag("add", "https://me:pass@hooks.example/x")


def test_the_reader_sees_how_webhooks_stand_but_no_secret(database, receiver):
    _add(database, receiver.url)
    with database.engine.connect() as connection:
        connection.execute(text("SET ROLE globetag_reader"))
        [row] = connection.execute(text("SELECT * FROM webhook_standing")).mappings().all()
    told = json.dumps(dict(row), default=str)
    assert "whsec_" not in told
    assert "SECRET-PATH" not in told
