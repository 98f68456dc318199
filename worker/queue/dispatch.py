"""Rows to broker: publishes jobs that are due, keeps the broker shallow, and brings lost jobs back.

Postgres is the truth and the broker a wake-up. Several dispatchers may run; `SKIP LOCKED` keeps them apart.
If every message were lost, the rows would be published again; a message too many finds its job taken or settled
and is dropped.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from celery import Celery
from kombu import Connection
from sqlalchemy import Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.messages import JOB_CHANNEL, LOCATE_QUEUE, LOCATE_TASK
from schema.reasons import JobState
from worker.queue.broker import BROKER_ERRORS, waiting
from worker.queue.patience import first_line

log = logging.getLogger(__name__)

MAX_LOSSES = 3
"""A job is dead when its worker died this often with it: once in company, which proves nothing, and twice while
the job was all that the worker had in work (`worker.queue.floor`). One death alone is not enough, as workers are
killed by others too. Photographs that kill the decoder are found by a probe after the first loss already."""

_FULL_S = 0.05
_IDLE_S = 0.5
_LONGEST_PAUSE_S = 8.0  # workers idle so long at most when all is well again
_SWEEP_EVERY_S = 1.0
_REPUBLISH_AFTER_S = 900.0  # a message may wait this long in a shallow queue before its row is published again
_GRACE_S = 5.0  # a message may be on its way this long while the broker counts none


class Dispatcher:
    """Publishes due rows until stopped. `run` is a thread's target; `step` is one round, for tests."""

    def __init__(
        self, database: Engine, app: Celery, *, depth: int, declare: Callable[[], None] = lambda: None
    ) -> None:
        """`depth`: the most messages that may wait in the broker. `declare` makes the queues that are not there.

        It is called with each new connection: a broker that has lost its data has lost the queues too, and with
        the dead-letter queue every message that is refused from then on.
        """
        self._database = database
        self._app = app
        self._depth = depth
        self._declare = declare
        self._stopping = threading.Event()
        self._next_sweep_s = 0.0

    def run(self) -> None:
        """Dispatches until `stop`. An outage of database or broker is logged and waited out."""
        wait_s = 1.0
        while not self._stopping.is_set():
            try:
                self._declare()
                with self._app.connection_for_write() as broker, self._listening() as notifications:
                    while not self._stopping.is_set():
                        published = self.step(broker)
                        wait_s = 1.0
                        if published is None:
                            self._stopping.wait(_FULL_S)
                        elif published == 0:
                            next(notifications.notifies(timeout=_IDLE_S, stop_after=1), None)
            except (SQLAlchemyError, *BROKER_ERRORS) as error:
                log.warning("dispatching pauses for %.0f s: %s", wait_s, first_line(error))
                self._stopping.wait(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_PAUSE_S)

    def stop(self) -> None:
        """Ends `run` within half a second."""
        self._stopping.set()

    def step(self, broker: Connection) -> int | None:
        """Sweeps leases, then publishes what fits. Returns how many messages, None while the broker is full."""
        self._sweep()
        in_broker = waiting(broker, LOCATE_QUEUE)
        if in_broker > self._depth // 2:
            return None
        room = self._depth - in_broker
        with self._database.begin() as database:
            if in_broker == 0:
                database.execute(queries.jobs.FORGET_PUBLISHED, {"grace_s": _GRACE_S})
            due = database.execute(
                queries.jobs.TAKE_DUE,
                {"room": room, "republish_after_s": _REPUBLISH_AFTER_S, "last_chance": MAX_LOSSES - 1},
            ).all()
        self._publish(due, broker)
        return len(due)

    def _sweep(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_sweep_s:
            return
        self._next_sweep_s = now_s + _SWEEP_EVERY_S
        with self._database.begin() as database:
            swept = database.execute(queries.jobs.SWEEP_LEASES, {"max_losses": MAX_LOSSES}).all()
        if swept:
            dead = [str(row.id) for row in swept if row.state == JobState.DEAD]
            log.warning("%d jobs lost their worker; %d are queued again", len(swept), len(swept) - len(dead))
            for job_id in dead:
                log.warning("job %s is dead: its worker died with it %d times", job_id, MAX_LOSSES)

    def _publish(self, due: Sequence[Row[Any]], broker: Connection) -> None:
        """Hands the rows to the broker. Those that it did not take are free for the next round."""
        told = 0
        try:
            with self._app.amqp.Producer(broker) as producer:
                for row in due:
                    self._app.send_task(
                        LOCATE_TASK,
                        kwargs={"job_id": str(row.id), "uri": row.uri},
                        producer=producer,
                        queue=LOCATE_QUEUE,
                        ignore_result=True,
                    )
                    told += 1
        finally:
            if told < len(due):
                with self._database.begin() as database:
                    database.execute(queries.jobs.UNPUBLISH, {"ids": [str(row.id) for row in due[told:]]})

    @contextmanager
    def _listening(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection that hears of new jobs."""
        with self._database.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f'LISTEN "{JOB_CHANNEL}"')
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            try:
                yield driver
            finally:
                connection.invalidate()  # a pooled connection must not go on listening
