"""A worker process's life: start in order, drain, stop in order.

Order of the end, each step so that the next loses nothing: stop publishing; stop taking messages; let what is in
work finish, be committed and be acknowledged while the broker's connection still lives; stop Celery; give back
what was not finished, after the last events went out; close database and models.
"""

import threading
import time

from celery import Celery

from schema.messages import LANES
from worker.errors import SetupError
from worker.events.beside import Beside
from worker.queue.consumer import Consumer
from worker.queue.dispatch import Dispatcher
from worker.queue.service import Service


class Runner:
    """Runs Celery's worker in a thread of this process, with a dispatcher beside it."""

    def __init__(
        self, app: Celery, service: Service, dispatcher: Dispatcher | None, beside: Beside | None = None
    ) -> None:
        """`beside`: runs as long as jobs may still be settled here, and once more after the last."""
        self._service = service
        self._consumer = Consumer(app, name=service.worker, queues=LANES.values())
        self._dispatcher = dispatcher
        self._beside = beside
        self._dispatching: threading.Thread | None = None

    def start(self) -> None:
        """Returns when messages are being consumed. Raises `SetupError` when the broker cannot be reached."""
        self._service.start()
        self._consumer.start()
        if self.failure is not None:
            raise SetupError(f"the worker could not start: {self.failure}") from self.failure
        if self._dispatcher is not None:
            self._dispatching = threading.Thread(target=self._dispatcher.run, name="dispatcher", daemon=True)
            self._dispatching.start()
        if self._beside is not None:
            self._beside.start()

    @property
    def failure(self) -> BaseException | None:
        """What ended the consumer, if it ended by itself."""
        return self._consumer.failure

    @property
    def is_consuming(self) -> bool:
        """Are messages being taken? Not before the start, while the broker is away, and from `stop` on."""
        return self._consumer.is_consuming

    def stop(self, *, drain_s: float | None = None, at_once: threading.Event | None = None) -> bool:
        """Drains for up to `drain_s` (None: as long as it takes) or until `at_once` is set, and stops.

        Returns False when something was still in work; its jobs go back into the queue.
        """
        if self._dispatcher is not None:
            self._dispatcher.stop()
        self._consumer.stop_taking()
        self._service.stop_taking()
        drained = self._drain(drain_s, at_once)
        timeout_s = None if drained else 5.0
        self._consumer.end(timeout_s)
        if self._dispatching is not None:
            self._dispatching.join(timeout_s)
        if self._beside is not None:
            self._beside.stop(timeout_s)
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
