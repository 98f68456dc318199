"""A worker process's life: start in order, drain, stop in order.

Order of the end, each step so that the next loses nothing: stop publishing; stop taking messages; let what is in
work finish, be committed and be acknowledged while the broker's connection still lives; stop Celery; give back
what was not finished; close database and models.
"""

import logging
import threading
import time
from typing import Any

from celery import Celery
from celery.app.trace import setup_worker_optimizations
from celery.worker import state as celery_state

from schema.messages import LOCATE_QUEUE
from worker.errors import SetupError
from worker.queue.dispatch import Dispatcher
from worker.queue.service import Service

log = logging.getLogger(__name__)

_TICK_S = 0.25


class Runner:
    """Runs Celery's worker in a thread of this process, with a dispatcher beside it."""

    def __init__(self, app: Celery, service: Service, dispatcher: Dispatcher | None) -> None:
        self._app = app
        self._service = service
        self._dispatcher = dispatcher
        self._controller: Any = None
        self._threads: list[threading.Thread] = []
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Returns when messages are being consumed. Raises `SetupError` when the broker cannot be reached."""
        self._service.start()
        self._spawn(self._consume, "celery")
        self._ready.wait()
        if self._failure is not None:
            raise SetupError(f"the worker could not start: {self._failure}") from self._failure
        if self._dispatcher is not None:
            self._spawn(self._dispatcher.run, "dispatcher")

    @property
    def failure(self) -> BaseException | None:
        """What ended the consumer, if it ended by itself."""
        return self._failure

    def stop(self, *, drain_s: float | None = None, at_once: threading.Event | None = None) -> bool:
        """Drains for up to `drain_s` (None: as long as it takes) or until `at_once` is set, and stops.

        Returns False when something was still in work; its jobs go back into the queue.
        """
        if self._dispatcher is not None:
            self._dispatcher.stop()
        consumer = self._controller.consumer if self._controller is not None else None
        if consumer is not None and self._failure is None:
            consumer.call_soon(consumer.cancel_task_queue, LOCATE_QUEUE)
        drained = self._drain(drain_s, at_once)
        if self._controller is not None:
            celery_state.should_stop = 0
        for thread in self._threads:
            thread.join(timeout=None if drained else 5.0)
        celery_state.should_stop = None
        self._service.close()
        return drained

    def _drain(self, drain_s: float | None, at_once: threading.Event | None) -> bool:
        deadline = None if drain_s is None else time.monotonic() + drain_s
        while not self._service.wait_until_idle(0.2):
            if (at_once is not None and at_once.is_set()) or (
                deadline is not None and time.monotonic() > deadline
            ):
                return False
        return True

    def _spawn(self, target: Any, name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _on_ready(self, _: Any) -> None:
        hub = self._controller.hub
        if hub is not None:  # RabbitMQ: its loop may sleep ten seconds before it sees that it is to stop
            hub.call_repeatedly(_TICK_S, lambda: None)
        self._ready.set()

    def _consume(self) -> None:
        try:
            # What `celery worker` does before it starts: binds this process's tasks to this application.
            setup_worker_optimizations(self._app, self._service.worker)
            self._controller = self._app.WorkController(
                app=self._app,
                pool_cls="threads",
                ready_callback=self._on_ready,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                quiet=True,
            )
            self._controller.start()
        except BaseException as error:
            self._failure = error
            log.debug("the consumer ended", exc_info=True)
        finally:
            self._ready.set()
