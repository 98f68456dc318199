"""What kombu and py-amqp do with a message before anybody has looked at it, made harmless for this process.

kombu unpacks what says that it is compressed, however much comes of it. py-amqp decodes a body by whatever
encoding it claims, so that it is no longer what was sent. And it raises where it cannot read a message's
properties (a time after the year 9999, text that is no UTF-8, tables in tables in tables): that ends the
consumer's loop, and the next worker's, for the broker delivers the message again and again.
"""

import struct
from collections.abc import Callable
from typing import Any

from amqp import serialization
from amqp.exceptions import FrameSyntaxError
from kombu import compression
from kombu.transport import pyamqp

UNREADABLE = "globetag-unreadable-properties"
"""The one header of a message whose properties could not be read: their raw bytes."""

_BASIC = 60
"""AMQP's class of methods that messages belong to."""

_UNREADABLE = (ValueError, ArithmeticError, LookupError, RecursionError, struct.error, FrameSyntaxError, OSError)
_Decode = Callable[[bytes, int], tuple[dict[str, Any], int]]


def harden() -> None:
    """From now on no message breaks the process that receives it, and each has the body that was sent.

    May be called again. Connections that are open stay as they are.
    """
    pyamqp.Connection.Channel = _RawChannel
    for packed in compression.encoders():
        compression.register(compression.get_encoder(packed)[0], _refuse_to_unpack, packed)
    decode = serialization.PROPERTY_CLASSES[_BASIC]
    if not hasattr(decode, "is_guarded"):
        serialization.PROPERTY_CLASSES[_BASIC] = _guarded(decode)


class _RawChannel(pyamqp.Channel):  # type: ignore[misc]
    """Leaves bodies as they came."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "auto_decode": False})


def _guarded(decode: _Decode) -> _Decode:
    def read(buf: bytes, offset: int) -> tuple[dict[str, Any], int]:
        try:
            return decode(buf, offset)
        except _UNREADABLE:
            return {"application_headers": {UNREADABLE: bytes(buf[offset:])}}, len(buf)

    read.is_guarded = True  # type: ignore[attr-defined]
    return read


def _refuse_to_unpack(_: bytes) -> bytes:
    raise ValueError("compressed messages are not read")
