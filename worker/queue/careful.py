"""Celery's consumer, but nothing that it cannot use is lost.

Celery (5.7) acknowledges what it cannot decode, and rejects unknown tasks and layouts, with a line in the log.
Here every such message is kept first (`worker.queue.refusals`). That happens in the pool: the loop that reads from
the broker never waits for the database.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer
from kombu.message import Message
from vine import promise

from schema.reasons import MessageReason
from worker.errors import MessageError
from worker.queue.delivery import Delivery
from worker.queue.examine import cleaned, examine
from worker.queue.hardening import harden
from worker.queue.refusals import Refusals

log = logging.getLogger(__name__)

RETURN_S = 5.0
"""For so long a refused message that could not be kept takes up room: or it would be read again at once."""


class CarefulConsumer(Consumer):  # type: ignore[misc]
    """Reads each message itself and hands Celery the call alone. The application has its `refusals`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusals: Refusals = self.app.refusals
        self._queue: str = self.app.conf.task_default_queue
        harden()

    def create_task_handler(self, promise: Any = promise) -> Callable[[Message], None]:
        """Returns what is called with each message. It raises nothing but errors of the connection."""
        receive = super().create_task_handler(promise)
        tasks = frozenset(name for name in self.app.tasks if not name.startswith("celery."))

        def on_message(message: Message) -> None:
            delivery = Delivery.of(message, self._queue)
            try:
                call = examine(delivery, tasks)
            except MessageError as error:
                self._refuse(message, delivery, error)
                return
            message.headers, message._decoded_cache = cleaned(call, delivery)
            message.properties = {}
            receive(message)

        return on_message

    def on_decode_error(self, message: Message, exc: BaseException) -> None:
        """Called by kombu for what it could not unpack or decode."""
        error = MessageError(f"{type(exc).__name__}: {exc}", MessageReason.UNDECODABLE)
        self._refuse(message, Delivery.of(message, self._queue), error)

    def on_unknown_message(self, body: object, message: Message) -> None:
        """Called by Celery for a layout that it does not know."""
        self._refuse_odd(message, "Celery does not know the layout", body)

    def on_unknown_task(self, body: object, message: Message, exc: BaseException) -> None:  # noqa: ARG002
        """Called by Celery for a task that it does not know."""
        self._refuse_odd(message, "Celery does not know the task", exc)

    def on_invalid_task(self, body: object, message: Message, exc: BaseException) -> None:  # noqa: ARG002
        """Called by Celery for a task that it cannot make out."""
        self._refuse_odd(message, "Celery cannot make out the task", exc)

    def _refuse_odd(self, message: Message, what: str, why: object) -> None:
        """For what Celery finds fault with although it was examined: a defect of the examination."""
        delivery = message.headers.get("delivery") or Delivery.of(message, self._queue)
        self._refuse(message, delivery, MessageError(f"{what}: {why!r:.500}", MessageReason.INTERNAL_ERROR))

    def _refuse(self, message: Message, delivery: Delivery, error: MessageError) -> None:
        def keep() -> None:
            try:
                self._refusals.keep(delivery, error)
            except Exception:
                log.exception("a refused message could not be kept; it goes back to its queue in %g s", RETURN_S)
                back = partial(message.reject_log_error, log, self.connection_errors, requeue=True)
                self.call_soon(self.timer.call_after, RETURN_S, self.call_soon_ack, (back,))
                return
            self.call_soon_ack(message.reject_log_error, log, self.connection_errors)

        try:
            self.pool.apply_async(keep, callback=_ignore)
        except RuntimeError as ended:
            log.debug("the pool has ended (%s); the message returns to its queue", ended)


def _ignore(_: object) -> None:
    """Celery's pool wants a callback."""
