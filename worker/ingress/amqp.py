"""Messages from RabbitMQ: taken in groups, written in one transaction, and settled after its commit.

A loop over `drain_events` in a thread of its own. kombu's ConsumerMixin calls back for each message and
connects again on its own, but it knows nothing of groups, nor of a database that is away; a bootstep of Celery
would tie the intake to a worker. The messages are taken as py-amqp delivers them: kombu's own class for
messages unpacks what a header declares compressed, without any bound.
"""

import threading
import time
from typing import Any

from kombu import Connection
from sqlalchemy import Engine

from schema import queries
from schema.messages import INGRESS_QUEUE
from worker.ingress.messages import Counts, read_any, store, tell
from worker.ingress.parts import Collections, Message, Reading
from worker.ingress.waiting import Patience
from worker.queue.broker import dead_queue, ingress_queue
from worker.queue.hardening import harden
from worker.queue.patience import PatientTransactions
from worker.settings import Settings

_MOST_MESSAGES = 500
_MOST_PHOTOGRAPHS = 2000
_MOST_BYTES = 32 << 20  # what else was sent stays in the socket: a message may have as much as the broker allows
_GATHER_S = 0.05
_IDLE_S = 0.5
_HEARTBEAT_S = 60
_PATIENCE_S = 15.0  # less than the broker waits for a heartbeat; later the messages go back to it


class QueueReader:
    """Reads `geotag.ingress` until stopped. `run` is a thread's target."""

    def __init__(
        self, settings: Settings, database: Engine, collections: Collections, stopping: threading.Event
    ) -> None:
        self.counts = Counts()
        self._settings = settings
        self._database = database
        self._collections = collections
        self._stopping = stopping
        self._patience = Patience("reading messages", stopping)
        self._transactions = PatientTransactions(database, patience_s=_PATIENCE_S)

    def run(self) -> None:
        """Reads until `stopping` is set. An outage of database or broker is logged and waited out."""
        self._patience.run(self._read)

    def give_up(self) -> None:
        """From now on a database that is away is not waited for: messages in hand go back to the broker."""
        self._transactions.give_up()

    def _read(self) -> None:
        # The database first: each time that messages are taken and given back counts against their delivery limit.
        with self._database.connect() as connection:
            connection.execute(queries.ingress.IS_THERE)
        harden()
        with connect(self._settings) as broker:
            declare(broker, self._settings)
            channel = broker.channel()
            channel.basic_qos(0, _MOST_MESSAGES, False)
            group = _Group(self._collections)
            channel.basic_consume(INGRESS_QUEUE, callback=group.add)
            while not self._stopping.is_set():
                self._gather(broker, group)
                if group.deliveries:
                    self._write(channel, group)
                self._patience.went_well()

    def _gather(self, broker: Connection, group: "_Group") -> None:
        """Waits for a message, and then a little for more."""
        deadline_s: float | None = None
        while not self._stopping.is_set() and not group.is_full:
            broker.heartbeat_check()
            timeout_s = _IDLE_S if deadline_s is None else deadline_s - time.monotonic()
            if timeout_s <= 0:
                return
            try:
                broker.drain_events(timeout=timeout_s)
            except TimeoutError:
                return
            if deadline_s is None and group.deliveries:
                deadline_s = time.monotonic() + _GATHER_S

    def _write(self, channel: Any, group: "_Group") -> None:
        """Writes the group; then refused messages go to the dead-letter queue, and all others are done with."""
        messages, readings = group.messages, group.readings
        verdicts = self._transactions.run(lambda connection: store(connection, messages, readings))
        last_good = None
        for tag, verdict in zip(group.deliveries, verdicts, strict=True):
            if verdict.refusal is not None:
                channel.basic_reject(tag, requeue=False)
            else:
                last_good = tag
        if last_good is not None:
            channel.basic_ack(last_good, multiple=True)
        self.counts.add(readings, verdicts)
        tell(verdicts)
        group.clear()


class _Group:
    """Messages that were taken and not yet written, with what they ask for."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections
        self.clear()

    def clear(self) -> None:
        self.messages: list[Message] = []
        self.readings: list[Reading] = []
        self.deliveries: list[int] = []
        self._photographs = 0
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return (
            len(self.deliveries) >= _MOST_MESSAGES
            or self._photographs >= _MOST_PHOTOGRAPHS
            or self._bytes >= _MOST_BYTES
        )

    def add(self, delivered: Any) -> None:
        """Called by py-amqp with each message."""
        message = as_message(delivered)
        reading = read_any(message, self._collections)
        self.messages.append(message)
        self.readings.append(reading)
        self.deliveries.append(delivered.delivery_tag)
        self._photographs += len(reading.wanted)
        self._bytes += len(message.body)


def as_message(delivered: Any) -> Message:
    """What py-amqp delivered, without its ways to do things."""
    properties = {name: value for name, value in delivered.properties.items() if name != "application_headers"}
    body = delivered.body
    return Message(
        body=body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass"),
        headers=delivered.properties.get("application_headers") or {},
        content_type=_text(properties.get("content_type")),
        content_encoding=_text(properties.get("content_encoding")),
        properties=properties,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def connect(settings: Settings) -> Connection:
    """A connection of its own, not from a pool: it is to notice when the network is cut."""
    return Connection(settings.broker_url, connect_timeout=5, heartbeat=_HEARTBEAT_S)


def declare(broker: Connection, settings: Settings) -> None:
    """Makes the queue, its exchange and its dead-letter queue, where they do not exist yet."""
    for queue in (dead_queue(INGRESS_QUEUE, settings), ingress_queue(settings)):
        queue.bind(broker.default_channel).declare()
