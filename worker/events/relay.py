"""Outbox to exchange: events that were committed are placed, handed to webhooks, and published; at least once.

The transaction that settles a job has written its event. Here each gets its position, the order in which readers
of the view `event` see it, and a delivery for each webhook that wants it. Then it is published, and marked as sent
only when the broker has confirmed: a relay that dies between sends it again, under the same id. Several may run;
`SKIP LOCKED` keeps them apart.
"""

import logging
import threading
import time

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.events import OUTBOX_CHANNEL, cloud_event
from worker.events.publisher import Publisher
from worker.queue.broker import BROKER_ERRORS
from worker.queue.listening import hears, listening
from worker.queue.patience import first_line

log = logging.getLogger(__name__)

_MOST_PLACED = 2000
_MOST_PUBLISHED = 100  # as many may be sent twice when a relay dies
_MOST_PRUNED = 5000
_IDLE_S = 1.0
_PRUNE_EVERY_S = 300.0
_LONGEST_WAIT_S = 30.0
_LAST_ROUND_S = 10.0


class Relay:
    """Sends events until stopped. `run` is a thread's target; `place` and `publish` are parts of it, for tests."""

    def __init__(self, database: Engine, publisher: Publisher, *, keep_days: float) -> None:
        """`keep_days`: how long events that were sent can still be read in the view `event`."""
        self._database = database
        self._publisher = publisher
        self._keep_days = keep_days
        self._stopping = threading.Event()
        self._next_prune_s = 0.0
        self._broker_wait_s = 1.0
        self._broker_due_s = 0.0

    def run(self) -> None:
        """Relays until `stop`, then once more what is there. Outages of database or broker are waited out."""
        wait_s = 1.0
        while not self._stopping.is_set():
            try:
                with listening(self._database, OUTBOX_CHANNEL) as notifications:
                    while not self._stopping.is_set():
                        moved = self._round()
                        wait_s = 1.0
                        if not moved:
                            hears(notifications, self._stopping, _IDLE_S)
            except (SQLAlchemyError, psycopg.Error) as error:
                log.warning("the relay of events pauses for %.0f s: %s", wait_s, first_line(error))
                self._stopping.wait(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        self._last_round()

    def stop(self) -> None:
        """Ends `run`, within a second where nothing is left to send and within some ten where the broker hangs."""
        self._stopping.set()

    def place(self) -> int:
        """Gives committed events their positions, and hands them to webhooks. Returns how many."""
        with self._database.begin() as connection:
            state = connection.execute(queries.events.LOCK_STATE).one_or_none()
            if state is None:
                return 0  # another relay is at it, and goes on until nothing is left
            bounds = {"most": _MOST_PLACED, "publish": state.publish}
            row = connection.execute(queries.events.PLACE, bounds).one_or_none()
            return 0 if row is None else int(row.placed)

    def publish(self) -> int:
        """Publishes the next events and marks them as sent. Returns how many; raises `BROKER_ERRORS`.

        Those that the broker confirmed before it failed are marked, too.
        """
        failure: BaseException | None = None
        with self._database.begin() as connection:
            ids = connection.execute(queries.events.LOCK_UNSENT, {"most": _MOST_PUBLISHED}).scalars().all()
            if not ids:
                return 0
            rows = connection.execute(queries.events.READ_EVENTS, {"ids": list(ids)}).all()
            settled = set(ids) - {row.outbox_id for row in rows}  # their photographs were erased
            for row in rows:
                try:
                    self._publisher.publish(cloud_event(row.id, row.type, row.subject, row.time, row.data))
                except BROKER_ERRORS as error:
                    failure = error
                    break
                settled.add(row.outbox_id)
            connection.execute(queries.events.MARK_SENT, {"ids": sorted(settled)})
        if failure is not None:
            raise failure
        return len(settled)

    def prune(self) -> int:
        """Drops events that were sent long ago. Returns how many."""
        bounds = {"keep_days": self._keep_days, "most": _MOST_PRUNED}
        with self._database.begin() as connection:
            return int(connection.execute(queries.events.PRUNE, bounds).scalar_one())

    def _round(self) -> int:
        """One of each. Returns how many events moved on."""
        moved = self.place() + self._publish_patiently()
        now_s = time.monotonic()
        if now_s >= self._next_prune_s:
            pruned = self.prune()
            self._next_prune_s = now_s + (0.0 if pruned == _MOST_PRUNED else _PRUNE_EVERY_S)
        return moved

    def _publish_patiently(self) -> int:
        """Without a broker, events still get their positions and go to webhooks; they are published later."""
        if time.monotonic() < self._broker_due_s:
            return 0
        try:
            published = self.publish()
        except BROKER_ERRORS as error:
            self._publisher.close()
            log.warning("events wait %.0f s for the broker: %s", self._broker_wait_s, first_line(error))
            self._broker_due_s = time.monotonic() + self._broker_wait_s
            self._broker_wait_s = min(self._broker_wait_s * 2, _LONGEST_WAIT_S)
            return 0
        self._broker_wait_s = 1.0
        return published

    def _last_round(self) -> None:
        """What was settled last goes out, too, before the process ends. What does not is sent by the next one."""
        deadline_s = time.monotonic() + _LAST_ROUND_S
        try:
            while self.place() + self.publish() and time.monotonic() < deadline_s:
                pass
        except (SQLAlchemyError, *BROKER_ERRORS) as error:
            log.warning("some events are left for the next relay: %s", first_line(error))
        finally:
            self._publisher.close()
