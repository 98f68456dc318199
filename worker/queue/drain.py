"""Dead-letter queues to table: what the broker put aside, and what could not be kept while Postgres was away.

RabbitMQ moves messages into `*.dead` by itself when workers gave them back too often (the delivery limit) or when
they expired. The table first, then the acknowledgement: a crash between the two meets the same row again.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery
from kombu import Connection
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schema.messages import (
    INGRESS_QUEUE,
    LOCATE_QUEUE,
    LOCATE_TASK,
    TRAIN_QUEUE,
    TRAIN_TASK,
    LocateRequest,
    TrainRequest,
)
from schema.reasons import MessageReason
from worker.errors import MessageError
from worker.queue.broker import BROKER_ERRORS, dead_queue
from worker.queue.dead import bury
from worker.queue.delivery import Delivery, is_mark
from worker.queue.examine import examine
from worker.queue.hardening import UNREADABLE, harden
from worker.queue.patience import first_line
from worker.settings import Settings

log = logging.getLogger(__name__)

QUEUES = (LOCATE_QUEUE, INGRESS_QUEUE, TRAIN_QUEUE)
"""Those that have a dead-letter queue."""

_EVERY_S = 300.0
_BROKERS_WORDS = {"expired": MessageReason.EXPIRED, "delivery_limit": MessageReason.DELIVERY_LIMIT}
_READERS = {LOCATE_QUEUE: (LOCATE_TASK, LocateRequest.read), TRAIN_QUEUE: (TRAIN_TASK, TrainRequest.read)}


def drain(app: Celery, settings: Settings, database: Engine) -> int:
    """Moves all that waits in the dead-letter queues into the table; returns how many messages that were.

    Raises what the broker or the database raises when it is away; what was not moved yet stays in its queue.
    """
    harden()
    with app.connection_for_read() as connection:
        return sum(_drain_queue(connection, settings, database, queue) for queue in QUEUES)


@contextmanager
def draining(app: Celery, settings: Settings, database: Engine) -> Iterator[None]:
    """Drains at once and then every five minutes, in a thread, until the block is left."""
    stopping = threading.Event()

    def run() -> None:
        while True:
            try:
                drain(app, settings, database)
            except (*BROKER_ERRORS, SQLAlchemyError) as error:
                log.warning("dead letters wait in their queues, trying again later: %s", first_line(error))
            if stopping.wait(_EVERY_S):
                return

    thread = threading.Thread(target=run, name="drain", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _drain_queue(connection: Connection, settings: Settings, database: Engine, queue: str) -> int:
    moved = 0
    with connection.channel() as channel:
        dead = dead_queue(queue, settings)
        dead.bind(channel).declare()
        while (raw := channel.basic_get(dead.name, no_ack=False)) is not None:
            to_python = getattr(channel, "message_to_python", None)
            message = raw if to_python is None else to_python(raw)
            _bury(database, Delivery.of(message, queue))
            message.ack()
            moved += 1
    return moved


def _bury(database: Engine, delivery: Delivery) -> None:
    error = _why(delivery)
    bury(
        database,
        queue=delivery.queue,
        source="broker",
        reason=error.reason,
        detail=str(error),
        body=delivery.body,
        headers={
            name: value for name, value in delivery.headers.items() if name == UNREADABLE or not is_mark(name)
        },
        properties=delivery.properties,
        again=False,
    )


def _why(delivery: Delivery) -> MessageError:
    """What the broker says, or what is found when the message is looked at once more."""
    deaths = delivery.headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    word = str(last.get("reason", "unknown"))
    if word in _BROKERS_WORDS:
        return MessageError(f"the broker put it aside: {word}", _BROKERS_WORDS[word])
    if delivery.queue in _READERS:
        task, read = _READERS[delivery.queue]
        try:
            read(examine(delivery, {task}).fields)
        except MessageError as error:
            return error
        except ValueError as error:
            return MessageError(str(error))
    return MessageError(f"the broker put it aside: {word}", MessageReason.DEAD_LETTERED)
