"""The exchange that events are published to: a topic exchange, on RabbitMQ and on pgmq alike."""

from collections.abc import Mapping
from typing import Any

import orjson
from celery import Celery
from kombu import Connection, Exchange, Producer

from schema.events import CLOUDEVENTS_JSON, EVENTS_EXCHANGE

_CONFIRM_S = 30.0

events_exchange = Exchange(EVENTS_EXCHANGE, type="topic", durable=True, delivery_mode="persistent")
"""The routing key of an event is its type: bind a queue with `geotag.image.*.v1`, say, or `#`."""


class Publisher:
    """Publishes to the broker of an application; returns when the broker has confirmed. For one thread.

    Raises `BROKER_ERRORS`. It connects with the first event; `close` it after an error, and the next call connects
    anew.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def publish(self, event: Mapping[str, Any]) -> None:
        """Hands one event (a CloudEvent in structured form) to the exchange."""
        if self._producer is None:
            self._connection = self._app.connection_for_write()
            self._producer = Producer(self._connection, exchange=events_exchange, auto_declare=True)
        self._producer.publish(
            orjson.dumps(event),
            routing_key=event["type"],
            content_type=CLOUDEVENTS_JSON,
            content_encoding="utf-8",
            message_id=event["id"],
            confirm_timeout=_CONFIRM_S,
            retry=False,
        )

    def close(self) -> None:
        """Closes the connection, if there is one."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()
