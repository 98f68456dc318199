"""Messages that never become jobs are kept: raw, once, with the reason, before anybody acknowledges them.

What is kept came from strangers and may be hostile. It is bounded here and told apart by its fingerprint; whoever
shows it to a person quotes it (`worker.queue.quoting`).
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine

from schema import queries
from schema.reasons import MessageReason
from worker.queue.delivery import is_mark

KEPT_BYTES = 65_536
"""So much of a body is kept; a longer one can be read in part, but not replayed."""

_MAX_TEXT = 2000
_MAX_ENTRIES = 64
_MAX_DEPTH = 4
_MAX_JSON_CHARACTERS = 32_768
_SECRET_WORDS = (
    "authorization",
    "cookie",
    "credential",
    "passw",
    "secret",
    "signature",
    "token",
    "api-key",
    "apikey",
)
_IDS = ("message_id", "correlation_id")


def bury(
    database: Engine | Connection,
    *,
    queue: str,
    source: str,
    reason: MessageReason,
    detail: str,
    body: bytes,
    headers: Mapping[str, object],
    properties: Mapping[str, object] | None = None,
    again: bool = True,
) -> int:
    """Keeps a refused message and returns the id of its row in `dead_message`.

    The same message once more (same queue, ids and body) is the same row while that is open: `again` counts it as
    one more refusal. `headers` are the message's own, `properties` those of AMQP (content_type, content_encoding,
    message_id, …); HTTP and the like leave them away. Given an engine it commits; given a connection the caller
    does. Raises `sqlalchemy.exc.SQLAlchemyError` while the database is away: then the message must not be
    acknowledged.
    """
    properties = properties or {}
    row = {
        "queue": _text(queue),
        "source": _text(source),
        "reason": reason,
        "detail": _text(detail),
        "body": body[:KEPT_BYTES],
        "body_bytes": len(body),
        "headers": _json(headers),
        "properties": _json(properties),
        "fingerprint": fingerprint(queue, body, headers, properties),
        "again": int(again),
    }
    if isinstance(database, Engine):
        with database.begin() as connection:
            return int(connection.execute(queries.dead.BURY, row).scalar_one())
    return int(database.execute(queries.dead.BURY, row).scalar_one())


def fingerprint(
    queue: str, body: bytes, headers: Mapping[str, object], properties: Mapping[str, object] | None = None
) -> str:
    """What tells one message from another, as hex: SHA-256 over queue, headers, AMQP's ids, and the whole body.

    Headers that a broker adds on the way do not count: a delivery and its copy in a dead-letter queue agree.
    """
    own = {name: value for name, value in headers.items() if not is_mark(name)}
    ids = {name: (properties or {}).get(name) for name in _IDS}
    head = json.dumps([queue, _plain(own, _MAX_DEPTH), _plain(ids, 1)], sort_keys=True)
    return hashlib.sha256(head.encode() + b"\n" + body).hexdigest()


def _json(fields: Mapping[str, object]) -> str:
    """JSON of what Postgres can keep; what is too much all in all is replaced by a remark."""
    kept = json.dumps(_plain(fields, _MAX_DEPTH))
    if len(kept) <= _MAX_JSON_CHARACTERS:
        return kept
    return json.dumps({"globetag-left-out": f"{len(kept):,} characters, which is more than is kept"})


def _plain(value: object, depth: int) -> Any:
    if isinstance(value, Mapping | list | tuple):
        return _plain_inside(value, depth - 1) if depth else "…"
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(bytes(value)[:_MAX_TEXT]).decode()}
    if isinstance(value, int) and abs(value) >= 2**63:
        return _text(hex(value))  # decimal digits of an endless number are refused by Python itself
    if value is None or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    return _text(str(value))  # text, times, UUIDs; NaN and infinity, which are no JSON


def _plain_inside(value: Mapping[Any, object] | list[object] | tuple[object, ...], depth: int) -> Any:
    if isinstance(value, Mapping):
        entries = list(value.items())[:_MAX_ENTRIES]
        return {_text(str(key)): _entry(str(key), each, depth) for key, each in entries}
    return [_plain(each, depth) for each in value[:_MAX_ENTRIES]]


def _entry(key: str, value: object, depth: int) -> Any:
    if any(word in key.lower() for word in _SECRET_WORDS):
        return "(left out)"
    return _plain(value, depth)


def _text(value: str) -> str:
    """What Postgres stores as text: no NUL, no lone surrogates, not endless."""
    short = value if len(value) <= _MAX_TEXT else value[: _MAX_TEXT - 1] + "…"
    return short.replace("\x00", "␀").encode("utf-8", "backslashreplace").decode("utf-8")
