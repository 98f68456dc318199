"""What a Celery message asks for, read by ourselves: of what a stranger wrote Celery gets to see the fields alone.

Celery follows what stands in a message: it sends the tasks that callbacks, chains and chords name, holds a slot
until an `eta` comes, acknowledges and forgets what has expired, runs its own helper tasks for whoever names them,
and stumbles over headers of other types than it writes itself. So a message is either one call of one of our tasks
and nothing more, or it is refused with the reason.

The layout is Celery's message protocol 2 (https://docs.celeryq.dev/en/stable/internals/protocol.html).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from schema.messages import INGRESS_QUEUE
from schema.reasons import MessageReason
from worker.errors import MessageError
from worker.queue.delivery import Delivery
from worker.queue.hardening import UNREADABLE

MAX_BODY_BYTES = 262_144
"""Far more than the fields may hold."""

_ENCODINGS = {"", "utf-8", "utf8", "us-ascii", "ascii", "binary", "identity"}
_SENDS_MORE = ("callbacks", "errbacks", "chain", "chord")
_MAX_ID = 255


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one task, with keyword arguments that are still to be checked."""

    task: str
    id: str
    fields: dict[str, Any]


def examine(delivery: Delivery, tasks: Collection[str], *, now: datetime | None = None) -> Call:
    """Returns the call that a message is. Raises `MessageError`, with a reason, for everything else."""
    headers = delivery.headers
    if UNREADABLE in headers:
        raise MessageError("its properties and headers could not be read", MessageReason.UNDECODABLE)
    task = headers.get("task")
    if not isinstance(task, str):
        raise MessageError(
            f"no Celery message (protocol 2): it names no task. Plain JSON belongs into {INGRESS_QUEUE}",
            MessageReason.UNKNOWN_TYPE,
        )
    if task not in tasks:
        raise MessageError(f"there is no task {task[:200]!r} on {delivery.queue}", MessageReason.UNKNOWN_TASK)
    args, fields, embed = _layout(read_json(delivery))
    if args:
        raise MessageError(f"{task} takes keyword arguments only")
    if "self" in fields:  # Celery calls the task with them, and has a parameter of that name
        raise MessageError("self: there is no such field")
    for name in _SENDS_MORE:
        if embed.get(name) or headers.get(name):
            raise MessageError(
                f"{name}: workers send no other tasks; outcomes are published as events",
                MessageReason.UNSUPPORTED_OPTION,
            )
    now = now or datetime.now(UTC)
    eta = _time("eta", headers.get("eta"))
    if eta is not None and eta > now + timedelta(seconds=1):
        raise MessageError(
            f"eta or countdown ({eta}): send it when it is to be done", MessageReason.UNSUPPORTED_OPTION
        )
    expires = _time("expires", headers.get("expires"))
    if expires is not None and expires < now:
        raise MessageError(f"it was to be begun before {expires}", MessageReason.EXPIRED)
    return Call(task, _id(headers.get("id")), fields)


def read_json(delivery: Delivery) -> Any:
    """The body, where it is the JSON that content type and encoding say it is. Raises `MessageError`."""
    content_type = str(delivery.properties.get("content_type") or "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise MessageError(
            f"the content type is {content_type[:200]!r}, not application/json", MessageReason.WRONG_CONTENT_TYPE
        )
    encoding = str(delivery.properties.get("content_encoding") or "").lower()
    if encoding not in _ENCODINGS or delivery.headers.get("compression"):
        raise MessageError("only uncompressed JSON in UTF-8 is read", MessageReason.UNDECODABLE)
    if len(delivery.body) > MAX_BODY_BYTES:
        raise MessageError(
            f"{len(delivery.body):,} bytes are more than {MAX_BODY_BYTES:,}", MessageReason.TOO_LARGE
        )
    try:
        return orjson.loads(delivery.body)
    except orjson.JSONDecodeError as error:
        raise MessageError(f"no JSON: {error}", MessageReason.UNDECODABLE) from None


def _layout(body: Any) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    match body:
        case [list() as args, dict() as fields, (dict() | None) as embed]:
            return args, fields, embed or {}
    raise MessageError(
        "no Celery message (protocol 2): the body is not [args, kwargs, embed]", MessageReason.UNKNOWN_TYPE
    )


def _time(name: str, value: object) -> datetime | None:
    """A time as Celery writes it, in UTC unless it says otherwise."""
    if value is None:
        return None
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
        if read is not None:
            return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # said below
    raise MessageError(f"{name} is no time: {value!r:.200}")


def _id(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= _MAX_ID and value.isprintable():
        return value
    raise MessageError(f"the header id is no text of 1 to {_MAX_ID} printable characters")


def cleaned(call: Call, delivery: Delivery) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Headers and body that say the call and nothing else, as Celery takes a message that is decoded already.

    The raw message rides along for the task's own refusals (`self.request.delivery`).
    """
    headers = {
        "task": call.task,
        "id": call.id,
        "lang": "py",
        "argsrepr": "",
        "kwargsrepr": "",
        "delivery": delivery,
    }
    return headers, {"task": call.task, "id": call.id, "args": [], "kwargs": call.fields}
