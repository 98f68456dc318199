"""Rows to broker: publishes jobs that are due, keeps the broker shallow, and brings lost jobs back.

Postgres is the truth and the broker a wake-up. Several dispatchers may run: they take turns at counting what is
out and taking rows, so that together they keep the bound; `SKIP LOCKED` keeps them clear of who claims or cancels.
If every message were lost, the rows would be published again; a message too many finds its job taken or settled
and is dropped.

Each lane (a priority) has a queue and a bound of its own, so that an urgent photograph passes whatever waits for a
worker. Within a lane collections take turns.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from kombu import Connection
from sqlalchemy import Connection as Transaction
from sqlalchemy import Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.messages import INTERACTIVE_QUEUE, JOB_CHANNEL, LANES, LOCATE_TASK
from schema.reasons import JobState
from worker.queue.broker import BROKER_ERRORS, waiting
from worker.queue.lanes import BulkShare
from worker.queue.listening import hears, listening
from worker.queue.patience import first_line
from worker.secrets import without_signature

log = logging.getLogger(__name__)

MAX_LOSSES = 4
"""A job is dead when its worker died this often with it: once in any company and once among suspects, which proves
nothing, and twice while the job was all that the worker had in work (`worker.queue.floor`). One death alone is not
enough, as workers are killed by others too. Photographs that kill the decoder are found by a probe after the first
loss already."""

_FULL_S = 0.05
_IDLE_S = 0.5
_LONGEST_PAUSE_S = 8.0  # workers idle so long at most when all is well again
_SWEEP_EVERY_S = 1.0
_REPUBLISH_AFTER_S = 900.0  # a message may wait this long in a shallow queue before its row is published again
_GRACE_S = 5.0  # a message may be on its way this long while the broker counts none
_LEAST = 8  # rows that a round takes from each collection that has as many, whatever its share


class Dispatcher:
    """Publishes due rows until stopped. `run` is a thread's target; `step` is one round, for tests."""

    def __init__(
        self, database: Engine, app: Celery, *, depth: int, declare: Callable[[], None] = lambda: None
    ) -> None:
        """`depth`: the most messages that may wait in the broker, in each lane. `declare` makes the queues that
        are not there.

        It is called with each new connection: a broker that has lost its data has lost the queues too, and with
        the dead-letter queue every message that is refused from then on.
        """
        self._database = database
        self._app = app
        self._depth = depth
        self._bulk_share = BulkShare(most=depth)
        self._declare = declare
        self._stopping = threading.Event()
        self._next_sweep_s = 0.0

    def run(self) -> None:
        """Dispatches until `stop`. An outage of database or broker is logged and waited out."""
        wait_s = 1.0
        while not self._stopping.is_set():
            try:
                self._declare()
                with (
                    self._app.connection_for_write() as broker,
                    listening(self._database, JOB_CHANNEL) as notifications,
                ):
                    while not self._stopping.is_set():
                        published = self.step(broker)
                        wait_s = 1.0
                        if published is None:
                            self._stopping.wait(_FULL_S)
                        elif published == 0:
                            hears(notifications, self._stopping, _IDLE_S)
            except (SQLAlchemyError, *BROKER_ERRORS) as error:
                log.warning("dispatching pauses for %.0f s: %s", wait_s, first_line(error))
                self._stopping.wait(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_PAUSE_S)

    def stop(self) -> None:
        """Ends `run` within half a second."""
        self._stopping.set()

    def step(self, broker: Connection) -> int | None:
        """Sweeps leases, then publishes what fits. Returns how many messages.

        None where nothing could be published now: a lane is full, or another dispatcher takes rows at this moment.
        """
        self._sweep()
        in_broker = {queue: waiting(broker, queue) for queue in LANES.values()}
        with self._database.begin() as database:
            if not database.execute(queries.flow.BEGIN_ROUND).one().is_ours:
                return None
            rooms, due = self._take(database, in_broker)
        for queue, rows in due.items():
            self._publish(rows, queue, broker)
        published = sum(map(len, due.values()))
        return published if published or all(rooms) else None

    def _take(
        self, database: Transaction, in_broker: dict[str, int]
    ) -> tuple[list[int], dict[str, Sequence[Row[Any]]]]:
        """The room in each lane, and the rows that are to be published in it, by queue."""
        rooms: list[int] = []
        due: dict[str, Sequence[Row[Any]]] = {}
        for lane, queue in LANES.items():
            if in_broker[queue] == 0:
                database.execute(queries.flow.FORGET_TOLD, {"ago_s": _GRACE_S, "lane": lane})
            told = database.execute(queries.flow.COUNT_TOLD, {"lane": lane}).scalar_one()
            out = max(in_broker[queue], told)
            room = 0 if out > self._depth // 2 else self._depth - out
            rooms.append(room)
            if queue != INTERACTIVE_QUEUE:
                urgent = len(due[INTERACTIVE_QUEUE])
                room = self._bulk_share.of(room, urgent=urgent, urgent_waiting=in_broker[INTERACTIVE_QUEUE])
            asked = {"lane": lane, "room": room, "least": _LEAST, "last_chance": MAX_LOSSES - 1}
            due[queue] = database.execute(queries.flow.TAKE_DUE, asked).all() if room else []
            if queue != INTERACTIVE_QUEUE:
                self._bulk_share.spend(len(due[queue]))
        return rooms, due

    def _sweep(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_sweep_s:
            return
        self._next_sweep_s = now_s + _SWEEP_EVERY_S
        with self._database.begin() as database:
            swept = database.execute(queries.jobs.SWEEP_LEASES, {"max_losses": MAX_LOSSES}).all()
        with self._database.begin() as database:
            for lane in LANES:
                database.execute(queries.flow.FORGET_TOLD, {"ago_s": _REPUBLISH_AFTER_S, "lane": lane})
        if swept:
            dead = [str(row.id) for row in swept if row.state == JobState.DEAD]
            log.warning("%d jobs lost their worker; %d are queued again", len(swept), len(swept) - len(dead))
            for job_id in dead:
                log.warning("job %s is dead: its worker died with it %d times", job_id, MAX_LOSSES)

    def _publish(self, due: Sequence[Row[Any]], queue: str, broker: Connection) -> None:
        """Hands the rows to the broker. Those that it did not take are free for the next round."""
        told = 0
        try:
            with self._app.amqp.Producer(broker) as producer:
                for row in due:
                    self._app.send_task(
                        LOCATE_TASK,
                        # The address counts in the job's row: what lets somebody in stays there.
                        kwargs={"job_id": str(row.id), "uri": without_signature(row.uri)},
                        kwargsrepr=f"{{'job_id': '{row.id}'}}",
                        producer=producer,
                        queue=queue,
                        ignore_result=True,
                    )
                    told += 1
        finally:
            if told < len(due):
                with self._database.begin() as database:
                    database.execute(queries.jobs.UNPUBLISH, {"ids": [str(row.id) for row in due[told:]]})
