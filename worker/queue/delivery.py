"""A message as it came: raw, before anybody has made anything of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kombu import Producer, Queue
from kombu.message import Message

from worker.queue.hardening import UNREADABLE

_PROPERTIES = (
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
)
_NAMING = ("message_id", "correlation_id", "type", "app_id")
"""Properties that a copy keeps, besides its priority. Others belong to the first delivery, or steer brokers."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a stranger sent to a queue. `properties` are AMQP's, also `content_type` and `content_encoding`."""

    queue: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, message: Message, queue: str) -> "Delivery":
        """Copies what a kombu message says, whichever transport brought it."""
        given = message.properties if isinstance(message.properties, Mapping) else {}
        properties = {name: given[name] for name in _PROPERTIES if given.get(name) is not None}
        for name in ("content_type", "content_encoding"):
            if getattr(message, name) is not None:
                properties[name] = getattr(message, name)
        headers = dict(message.headers) if isinstance(message.headers, Mapping) else {}
        return cls(queue, _bytes(message.body), headers, properties)


def publish(producer: Producer, queue: Queue, delivery: Delivery) -> None:
    """Puts a message into `queue` as it came, but for the marks that brokers leave on dead letters."""
    given = delivery.properties
    properties = {name: given[name] for name in _NAMING if isinstance(given.get(name), str)}
    if isinstance(given.get("priority"), int):
        properties["priority"] = given["priority"]
    producer.publish(
        delivery.body,
        content_type=str(given.get("content_type") or "application/octet-stream"),
        content_encoding=str(given.get("content_encoding") or "binary"),
        headers={name: value for name, value in delivery.headers.items() if not is_mark(name)},
        routing_key=queue.name,
        exchange="",
        declare=[queue],
        **properties,
    )


def is_mark(header: str) -> bool:
    """Does this header come from a broker that moved or returned the message, and not from its sender?"""
    return header.startswith(("x-death", "x-first-death", "x-last-death", "x-delivery-count", UNREADABLE))


def _bytes(body: object) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    return bytes(body) if isinstance(body, bytes | bytearray | memoryview) else str(body).encode()
