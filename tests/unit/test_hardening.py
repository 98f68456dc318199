"""Properties that cannot be read, and what is packed, end nobody's loop."""

import gzip
import struct

import pytest
from amqp import serialization
from amqp.basic_message import Message
from kombu import compression
from kombu.message import Message as KombuMessage
from kombu.transport import pyamqp

from worker.queue.delivery import Delivery
from worker.queue.hardening import UNREADABLE, harden


@pytest.fixture(autouse=True)
def hardened(monkeypatch):
    """Hardened for this test, and not for those after it."""
    monkeypatch.setattr(serialization, "PROPERTY_CLASSES", dict(serialization.PROPERTY_CLASSES))
    for each in ("_decoders", "_encoders", "_aliases"):
        monkeypatch.setattr(compression, each, dict(getattr(compression, each)))
    monkeypatch.setattr(pyamqp.Connection, "Channel", pyamqp.Channel)
    harden()
    harden()


def _received(properties):
    message = Message()
    message._load_properties(60, properties, 0)
    return message


@pytest.mark.parametrize(
    "properties",
    [
        struct.pack(">HI", 1 << 13, 11) + b"\x01aT" + struct.pack(">Q", 2**62),  # a time after the year 9999
        struct.pack(">H", 1 << 15) + b"\x02\xff\xfe",  # a content type that is no UTF-8
        struct.pack(">H", 1 << 13) + struct.pack(">I", 3) + b"\x01aZ",  # a value of a kind that there is not
        struct.pack(">H", 1 << 15) + b"",  # nothing where something is announced
        b"",
    ],
)
def test_what_cannot_be_read_is_kept_raw(properties):
    message = _received(properties)
    assert message.properties == {"application_headers": {UNREADABLE: properties}}


def test_what_can_be_read_is():
    sent = Message("x", content_type="application/json", application_headers={"a": 1})
    assert _received(sent._serialize_properties()).properties == sent.properties


def test_nothing_is_unpacked():
    packed = gzip.compress(b" " * 1_000_000)
    message = KombuMessage(packed, headers={"compression": "gzip"})
    assert message.errors
    assert Delivery.of(message, "q").body == packed
