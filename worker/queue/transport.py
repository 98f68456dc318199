"""kombu's pgmq transport, without one race and one leak. Neither late settling nor foreign rows end its loop.

Celery's loop asks between two waits for messages whether it is to stop, and waits once more before it does. It
waits for two seconds each time; here never for longer than `LONGEST_WAIT_S`, as it simply waits again.

A message that is rejected with `requeue` keeps its delivery tag. kombu (5.7) first makes it visible and only then
marks the tag as done. Where the consumer reads the message again in between, the mark falls on the new delivery:
its acknowledgement no longer finds the message, which stays in the queue, invisible until its time-out.

A message that the database does not let be settled, since that connection broke, counts as in work for kombu (5.7)
ever after. The loop that reads has a connection of its own from the pool and may notice nothing: with each such
message there is room for one less, until a worker reads none any more and says nothing.

Whoever has the right may put any JSON into a queue's table. What kombu did not write breaks its consumer, and the
next one too; so it is wrapped as the body of a message without headers, which the consumer then refuses.
"""

import base64
import binascii
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from kombu.transport import pgmq
from pgmq.logger import LoggingManager

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 0.05

# Where loguru is installed (vLLM brings it), pgmq writes each of its calls with it, at DEBUG to standard error,
# whatever the levels of `logging`: half of a worker's time. Without it, it uses `logging` as all others do.
LoggingManager._use_loguru = False


class Channel(pgmq.Channel):  # type: ignore[misc]
    """Marks a rejected delivery as done before anybody can receive the message again.

    A connection that broke takes its channels along while threads still have deliveries of theirs in hand.
    """

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Settles the delivery. On a channel whose connection broke there is nothing to settle any more."""
        if self.connection is None:
            log.info("an acknowledgement came after its connection had ended; the message will come again")
            return
        with self._given_up(delivery_tag):
            super().basic_ack(delivery_tag, multiple=multiple)

    @contextmanager
    def _given_up(self, delivery_tag: str) -> Iterator[None]:
        """Around settling: where that fails, the message is not in work here any more, and comes again."""
        try:
            yield
        except Exception:
            self.qos.ack(delivery_tag)
            raise

    def _pgmq_message_to_python(self, pgmq_message: Any, queue: str) -> Any:
        if not _is_kombus(pgmq_message.message):
            pgmq_message.message = {
                "body": orjson.dumps(pgmq_message.message).decode(),
                "content-type": "application/json",
                "content-encoding": "utf-8",
                "headers": {},
                "properties": {},
            }
        properties = pgmq_message.message["properties"]
        # Not as the sender says, but for where he sent it: they are about this delivery.
        properties |= {"delivery_info": _sent_to(properties), "delivery_tag": str(uuid.uuid4())}
        return super()._pgmq_message_to_python(pgmq_message, queue)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Settles the delivery; with `requeue` the message becomes visible again."""
        if self.connection is None:
            log.info("a rejection came after its connection had ended; the message will come again")
            return
        try:
            delivery = self.qos.get(delivery_tag).delivery_info
        except KeyError:
            delivery = {}
        queue, msg_id = delivery.get("pgmq_queue"), delivery.get("pgmq_msg_id")
        if not requeue or queue is None or msg_id is None:
            with self._given_up(delivery_tag):
                super().basic_reject(delivery_tag, requeue=requeue)
            return
        self.qos.reject(delivery_tag, requeue=False)
        self.pgmq.set_vt(queue, msg_id, 0)


class Transport(pgmq.Transport):  # type: ignore[misc]
    """See `Channel`."""

    Channel: Any = Channel

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Waits for messages; raises `TimeoutError` where none came, which may be sooner than `timeout` says."""
        super().drain_events(connection, None if timeout is None else min(timeout, LONGEST_WAIT_S))


def _sent_to(properties: dict[str, Any]) -> dict[str, str]:
    given = properties.get("delivery_info")
    told = given if isinstance(given, dict) else {}
    return {name: told[name] for name in ("exchange", "routing_key") if isinstance(told.get(name), str)}


def _is_kombus(payload: object) -> bool:
    """Is it laid out as kombu's virtual transports do it?"""
    if not isinstance(payload, dict) or not isinstance(payload.get("properties"), dict):
        return False
    properties, body = payload["properties"], payload.get("body")
    kinds = [
        (payload.get("headers", {}), dict | None),
        (payload.get("content-type"), str | None),
        (payload.get("content-encoding"), str | None),
        (body, str | None),
    ]
    if not all(isinstance(value, kind) for value, kind in kinds):
        return False
    if properties.get("body_encoding") is None or not body:
        return True
    try:
        base64.b64decode(body)
    except (binascii.Error, ValueError):
        return False
    return bool(properties["body_encoding"] == "base64")
