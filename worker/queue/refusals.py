"""Refused messages: into the table first, into the dead-letter queue then, and only then acknowledged.

RabbitMQ moves what is rejected into the dead-letter queue by itself; pgmq knows no such thing and gets a copy.
While the database is away, RabbitMQ's dead-letter queue alone keeps the message, and `worker.queue.drain` brings
it into the table later; where the database is the broker the message stays in its queue.
"""

import logging
from typing import Any

from celery import Celery
from celery.exceptions import Reject
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schema.session import make_engine
from worker.errors import MessageError
from worker.queue.broker import dead_queue, uses_pgmq
from worker.queue.dead import bury
from worker.queue.delivery import Delivery, publish
from worker.queue.patience import first_line
from worker.settings import Settings

log = logging.getLogger(__name__)

SOURCE = "celery"


class Refusals:
    """Keeps what a worker refuses. Its methods may be called by any thread."""

    def __init__(self, app: Celery, settings: Settings, database: Engine | str) -> None:
        """`database`: an engine, or a URL to be connected to for each refusal (they are rare)."""
        self._app = app
        self._settings = settings
        self._database = database

    def keep(self, delivery: Delivery, error: MessageError) -> None:
        """Returns when the message may be rejected: it is kept, or the broker's dead-letter queue will keep it.

        Raises what the database raises where that is the broker too: the message must stay in its queue.
        """
        log.error("message refused (%s): %s", error.reason, ascii(str(error))[:500])
        try:
            self._bury(delivery, error)
        except SQLAlchemyError as away:
            if uses_pgmq(self._settings):
                raise
            log.error("the database is away; only the dead-letter queue keeps the message: %s", first_line(away))
            return
        if uses_pgmq(self._settings):
            self._copy(delivery)

    def refuse(self, request: Any, error: MessageError) -> Reject:
        """For the body of a task: keeps the message of `request`, and returns what the task is to raise."""
        self.keep(request.delivery, error)
        return Reject(str(error), requeue=False)

    def _bury(self, delivery: Delivery, error: MessageError) -> None:
        engine = make_engine(self._database, pool_size=1) if isinstance(self._database, str) else self._database
        try:
            bury(
                engine,
                queue=delivery.queue,
                source=SOURCE,
                reason=error.reason,
                detail=str(error),
                body=delivery.body,
                headers=delivery.headers,
                properties=delivery.properties,
            )
        finally:
            if isinstance(self._database, str):
                engine.dispose()

    def _copy(self, delivery: Delivery) -> None:
        with self._app.producer_pool.acquire(block=True) as producer:
            publish(producer, dead_queue(delivery.queue, self._settings), delivery)
