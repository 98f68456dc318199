"""kombu's pgmq transport, with one race taken out of it, and the errors of those who settle too late.

A message that is rejected with `requeue` keeps its delivery tag. kombu (5.7) first makes it visible and only then
marks the tag as done. Where the consumer reads the message again in between, the mark falls on the new delivery:
its acknowledgement no longer finds the message, which stays in the queue, invisible until its time-out.
"""

import logging
from typing import Any

from kombu.transport import pgmq

log = logging.getLogger(__name__)


class Channel(pgmq.Channel):  # type: ignore[misc]
    """Marks a rejected delivery as done before anybody can receive the message again.

    A connection that broke takes its channels along while threads still have deliveries of theirs in hand.
    """

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Settles the delivery. On a channel whose connection broke there is nothing to settle any more."""
        if self.connection is None:
            log.info("an acknowledgement came after its connection had ended; the message will come again")
            return
        super().basic_ack(delivery_tag, multiple=multiple)

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
            super().basic_reject(delivery_tag, requeue=requeue)
            return
        self.qos.reject(delivery_tag, requeue=False)
        self.pgmq.set_vt(queue, msg_id, 0)


class Transport(pgmq.Transport):  # type: ignore[misc]
    """See `Channel`."""

    Channel: Any = Channel
