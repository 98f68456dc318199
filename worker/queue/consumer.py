"""Celery's worker in a thread of this process, so that whoever started it decides when and how it ends."""

import logging
import threading
from collections.abc import Collection
from typing import Any

from celery import Celery
from celery.app.trace import setup_worker_optimizations
from celery.worker import state as celery_state

log = logging.getLogger(__name__)

_TICK_S = 0.25


def _in_one_line(record: logging.LogRecord) -> bool:
    """A message that cannot be settled since its connection broke is no defect: it comes again, and is dropped."""
    if str(record.msg).startswith(("Couldn't ack", "Couldn't reject")):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.exc_info = None
    return True


logging.getLogger("celery.worker.request").addFilter(_in_one_line)


class ConsumerEnded(RuntimeError):
    """Celery's worker ended though nobody asked it to. It keeps the cause to itself and to the log."""


class Consumer:
    """Takes the messages of its queues. `failure` is what ended it, if it ended by itself."""

    def __init__(self, app: Celery, *, name: str, queues: Collection[str]) -> None:
        """`name` is what Celery calls this worker; no other on this broker may have it."""
        self.failure: BaseException | None = None
        self._app = app
        self._name = name
        self._queues = queues
        self._controller: Any = None
        self._ready = threading.Event()
        self._is_taking = True
        self._ending = False
        self._thread = threading.Thread(target=self._consume, name="celery", daemon=True)

    def start(self) -> None:
        """Returns when messages are being consumed, or when that has failed."""
        self._thread.start()
        self._ready.wait()

    @property
    def is_consuming(self) -> bool:
        """Is there a connection to the broker over which messages come?"""
        consumer = self._controller.consumer if self._controller is not None else None
        if consumer is None or not self._is_taking or self.failure is not None:
            return False
        connection = consumer.connection  # None while Celery connects again
        return connection is not None and bool(connection.connected) and consumer.task_consumer is not None

    def stop_taking(self) -> None:
        """Takes no more messages; those in work go on, and can still be acknowledged."""
        self._is_taking = False
        consumer = self._controller.consumer if self._controller is not None else None
        if consumer is not None and self.failure is None:
            for queue in self._queues:
                consumer.call_soon(consumer.cancel_task_queue, queue)

    def end(self, timeout_s: float | None = None) -> None:
        """Closes the broker's connection and waits for the thread, for at most `timeout_s`."""
        self._ending = True
        if self._controller is not None:
            celery_state.should_stop = 0
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        celery_state.should_stop = None

    def _on_ready(self, _: Any) -> None:
        hub = self._controller.hub
        if hub is not None:  # RabbitMQ: its loop may sleep ten seconds before it sees that it is to stop
            hub.call_repeatedly(_TICK_S, lambda: None)
        self._ready.set()

    def _consume(self) -> None:
        try:
            # What `celery worker` does before it starts: binds this process's tasks to this application.
            setup_worker_optimizations(self._app, self._name)
            self._controller = self._app.WorkController(
                app=self._app,
                hostname=self._name,
                pool_cls="threads",
                ready_callback=self._on_ready,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                quiet=True,
            )
            self._controller.start()
            if not self._ending:  # it swallows its errors: without this the process would live on and do nothing
                raise ConsumerEnded("Celery's consumer ended by itself; the lines before this one say why")
        except BaseException as error:
            self.failure = error
            log.debug("the consumer ended", exc_info=True)
        finally:
            self._ready.set()
