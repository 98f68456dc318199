"""Outbox to webhooks: each delivery is posted until the receiver has accepted it, or it is given up.

The attempt is counted and the delivery leased before the request: whoever dies with it leaves it due again. So a
receiver gets each event at least once, under the same `webhook-id`. One loop owns the database's connection; a few
threads post, at most `_EACH` requests to one webhook at once, so that a slow receiver does not stop the others.
"""

import logging
import random
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.events import CLOUDEVENTS_JSON, EVENT_CHANNEL, cloud_event
from worker.events.posting import TIMEOUT_S, Answer, Poster, receiver
from worker.events.retrying import PATIENCE_S, pause_s, retry_s
from worker.events.signing import signature_headers
from worker.queue.listening import hears, listening
from worker.queue.patience import first_line

log = logging.getLogger(__name__)

_THREADS = 32
_EACH = 8
_IDLE_S = 1.0
_BUSY_S = 0.2
_LAST_ROUND_S = 10.0
_GONE = 410


@dataclass(slots=True)
class _Delivery:
    """One event on its way to one webhook."""

    webhook_id: int
    outbox_id: int
    attempts: int
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    event: dict[str, Any] = field(repr=False)


class Deliverer:
    """Delivers until stopped. `run` is a thread's target; `step` is one round, for tests."""

    def __init__(self, database: Engine, poster: Poster, *, chance: random.Random | None = None) -> None:
        """`chance` scatters the times of further attempts."""
        self._database = database
        self._poster = poster
        self._chance = chance or random.Random()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="webhook")
        self._under_way: dict[Future[Answer], _Delivery] = {}
        self._stopping = threading.Event()

    def run(self) -> None:
        """Delivers until `stop`. An outage of the database is waited out."""
        wait_s = 1.0
        while not self._stopping.is_set():
            try:
                with listening(self._database, EVENT_CHANNEL) as notifications:
                    while not self._stopping.is_set():
                        moved = self.step()
                        wait_s = 1.0
                        if moved == 0 and not self._under_way:
                            hears(notifications, self._stopping, _IDLE_S)
            except (SQLAlchemyError, psycopg.Error) as error:
                log.warning("delivering to webhooks pauses for %.0f s: %s", wait_s, first_line(error))
                self._stopping.wait(wait_s)
                wait_s = min(wait_s * 2, 30.0)
        self._last_round()

    def stop(self) -> None:
        """Ends `run` once what is due was tried, within some ten seconds; a slow receiver's leases run out."""
        self._stopping.set()

    def step(self) -> int:
        """Takes what is due, posts it, and stores what has come back meanwhile. Returns how many of either."""
        taken = self._take()
        for delivery in taken:
            self._under_way[self._pool.submit(self._post, delivery)] = delivery
        if not self._under_way:
            return 0
        done, _ = wait(self._under_way, timeout=_BUSY_S, return_when=FIRST_COMPLETED)
        self._settle([(self._under_way[future], future.result()) for future in done])
        for future in done:
            del self._under_way[future]
        return len(taken) + len(done)

    def _take(self) -> list[_Delivery]:
        """Deliveries that are due, leased. Those whose event was erased are dropped."""
        if len(self._under_way) >= _THREADS:
            return []
        bounds = {"most": _EACH, "busy": self._busy(), "lease_s": 3 * TIMEOUT_S}
        with self._database.begin() as connection:
            rows = connection.execute(queries.webhooks.TAKE_DUE, bounds).all()
            if not rows:
                return []
            ids = sorted({row.outbox_id for row in rows})
            found = connection.execute(queries.events.READ_EVENTS, {"ids": ids}).all()
            events = {row.outbox_id: _event(row) for row in found}
            for row in rows:
                if row.outbox_id not in events:
                    keys = {"webhook_id": row.webhook_id, "outbox_id": row.outbox_id}
                    connection.execute(queries.webhooks.DROP_DELIVERY, keys)
        return [
            _Delivery(
                webhook_id=row.webhook_id,
                outbox_id=row.outbox_id,
                attempts=row.attempts,
                url=row.url,
                secrets=tuple(filter(None, (row.secret, row.previous_secret))),
                event=events[row.outbox_id],
            )
            for row in rows
            if row.outbox_id in events
        ]

    def _busy(self) -> list[int]:
        """The webhooks that have requests under way, each as often as it has."""
        return [delivery.webhook_id for delivery in self._under_way.values()]

    def _post(self, delivery: _Delivery) -> Answer:
        try:
            return post_event(self._poster, delivery.url, delivery.secrets, delivery.event)
        except Exception:  # the other webhooks go on; this one is tried again
            log.exception("a defect met while posting to webhook %d", delivery.webhook_id)
            return Answer(problem="A defect in Globetag stopped the request; the log has the details.")

    def _settle(self, answered: list[tuple[_Delivery, Answer]]) -> None:
        """Stores what came of these deliveries, in one transaction."""
        told: list[str] = []
        with self._database.begin() as connection:
            for delivery, answer in sorted(answered, key=lambda pair: (pair[0].webhook_id, pair[0].outbox_id)):
                keys = {
                    "webhook_id": delivery.webhook_id,
                    "outbox_id": delivery.outbox_id,
                    "status": answer.status,
                }
                if answer.problem is None:
                    connection.execute(queries.webhooks.DELIVERED, keys)
                else:
                    told += self._failed(connection, delivery, answer, keys)
        for line in told:
            log.error("%s", line)

    def _failed(
        self, connection: Connection, delivery: _Delivery, answer: Answer, keys: dict[str, Any]
    ) -> list[str]:
        """Sees to another attempt, gives the event up, or disables the webhook. Returns what is to be logged."""
        again_s = retry_s(delivery.attempts, self._chance, asked_s=answer.retry_after_s)
        failed = {"retry_s": again_s, "pause_s": pause_s(again_s), "problem": answer.problem}
        connection.execute(queries.webhooks.NOT_DELIVERED, keys | failed)
        why = {
            "webhook_id": delivery.webhook_id,
            "gone": answer.status == _GONE,
            "patience_s": PATIENCE_S,
            "problem": answer.problem,
        }
        name = f"webhook {delivery.webhook_id} ({receiver(delivery.url)})"
        disabled = connection.execute(queries.webhooks.DISABLE_FAILING, why).one_or_none()
        if disabled is not None:
            return [f"{name} is disabled: {disabled.disabled_reason}"]
        if again_s is None:
            event_id = delivery.event["id"]
            return [f"{name}: event {event_id} is given up after {delivery.attempts} attempts: {answer.problem}"]
        return []

    def _last_round(self) -> None:
        """What was settled last goes out before the process ends; what does not is due again after its lease."""
        deadline_s = time.monotonic() + _LAST_ROUND_S
        try:
            while (self.step() or self._under_way) and time.monotonic() < deadline_s:
                pass
        except SQLAlchemyError as error:
            log.warning("some webhooks are left for the next process: %s", first_line(error))
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            if not self._under_way:
                self._poster.close()


def post_event(poster: Poster, url: str, secrets: tuple[str, ...], event: dict[str, Any]) -> Answer:
    """Posts an event (a CloudEvent in structured form), signed with each of the secrets."""
    body = orjson.dumps(event)
    headers = signature_headers(secrets, event["id"], int(time.time()), body)
    return poster.post(url, body, {"Content-Type": CLOUDEVENTS_JSON, **headers})


def _event(row: Row[Any]) -> dict[str, Any]:
    return cloud_event(row.id, row.type, row.subject, row.time, row.data)
