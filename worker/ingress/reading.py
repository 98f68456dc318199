"""One message in, what it asks for out. Pure: no database, no network, no clock.

What a message is follows from its content type where that says more than JSON, else from its shape: many producers
send no content type, or a wrong one. Whatever comes in, the answer is a `Reading`, never an exception.
"""

from typing import Any

from schema.reasons import MessageReason
from worker.ingress import cloud_events
from worker.ingress.bounded_json import parse
from worker.ingress.celery_tasks import is_task, read_task
from worker.ingress.parts import Collections, Message, Reading, Refused, Wanted
from worker.ingress.requests import read_request
from worker.ingress.s3_events import looks_like_s3, read_notification
from worker.queue.hardening import UNREADABLE

_UNDECLARED = {
    "",
    "application/data",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "binary/octet-stream",
    "text/plain",
}
"""Content types of producers that did not think of one. Their bodies are JSON or refused."""

_PLAIN_ENCODINGS = {"", "utf-8", "utf8", "us-ascii", "ascii", "binary", "identity", "8bit"}


def read(message: Message, collections: Collections | None = None) -> Reading:
    """What `message` asks for. `collections` says where photographs go whose message names no collection."""
    try:
        return _read(message, collections or Collections())
    except Refused as refused:
        return Reading(_kind(message), refusal=refused.refusal)


def _read(message: Message, collections: Collections) -> Reading:
    if UNREADABLE in message.headers:
        raise Refused(MessageReason.UNDECODABLE, "its properties cannot be read")
    encoding = (message.content_encoding or "").lower()
    if encoding not in _PLAIN_ENCODINGS or message.headers.get("compression"):
        raise Refused(MessageReason.UNDECODABLE, "the body is compressed or in another encoding than UTF-8")
    content_type = message.content_type or ""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _UNDECLARED and not cloud_events.is_json(content_type):
        raise Refused(MessageReason.WRONG_CONTENT_TYPE, f"the content type {content_type!r:.200} is not JSON")
    body = parse(message.body)
    if kind == cloud_events.BATCHED:
        return cloud_events.read_batch(body, collections)
    if kind == cloud_events.STRUCTURED:
        return cloud_events.read_event(body, collections)
    return _by_shape(message, body, collections)


def _by_shape(message: Message, body: Any, collections: Collections) -> Reading:
    attributes = cloud_events.attributes_in(message.headers)
    if attributes is not None:
        return cloud_events.read_event({**attributes, "data": body}, collections)
    if isinstance(body, list) and is_task(message.headers, body):
        return read_task(message.headers, body, collections)
    if not isinstance(body, dict):
        raise Refused(MessageReason.UNKNOWN_TYPE, "the body is not a JSON object")
    if "specversion" in body:
        return cloud_events.read_event(body, collections)
    if looks_like_s3(body):
        return read_notification(body, collections)
    return Reading("ingress", (Wanted(read_request(body, collections)),))


def _kind(message: Message) -> str:
    """What a refused message most likely was meant to be, for the list that people look through."""
    if "task" in message.headers:
        return "celery"
    kind = (message.content_type or "").lower()
    if "cloudevents" in kind or cloud_events.attributes_in(message.headers) or b'"specversion"' in message.body:
        return "cloudevents"
    return "s3" if b'"Records"' in message.body else "ingress"
