"""JSON of strangers: bounded in size and depth, and strict (RFC 8259: UTF-8, no NaN, no lone surrogates)."""

from typing import Any

import orjson

from schema.reasons import MessageReason
from worker.ingress.parts import Refused

MAX_BODY_BYTES = 1 << 20
"""Larger messages are refused. SNS, SQS and EventBridge pass on 256 KiB to 1 MiB, and an address may have 8,192
characters: what is larger is no request for photographs."""

MAX_DEPTH = 32


def parse(body: bytes) -> Any:
    """What `body` holds. Raises `Refused` (too_large, undecodable)."""
    if len(body) > MAX_BODY_BYTES:
        raise Refused(MessageReason.TOO_LARGE, f"{len(body):,} bytes; the limit is {MAX_BODY_BYTES:,}")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(MessageReason.UNDECODABLE, f"not JSON: {error.msg} at character {error.pos}") from None
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return found
    raise Refused(MessageReason.BAD_FIELDS, f"nested more than {MAX_DEPTH} deep")
