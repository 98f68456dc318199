"""Tasks of Celery's message protocol 2 that were sent here instead of to the workers.

So a producer that knows Celery needs no more rights than any other. Source: Celery's manual, "Message Protocol".
"""

from collections.abc import Mapping
from typing import Any

from schema.messages import LOCATE_TASK
from schema.reasons import MessageReason
from worker.ingress.parts import Collections, Reading, Refused, Wanted
from worker.ingress.requests import read_request

_UNSUPPORTED_HEADERS = ("eta", "expires", "chord")
_UNSUPPORTED_PARTS = ("callbacks", "errbacks", "chain", "chord")


def is_task(headers: Mapping[str, object], body: Any) -> bool:
    """Whether a message is a task: only those have such a header, and a list as body."""
    return "task" in headers and isinstance(body, list)


def read_task(headers: Mapping[str, object], body: list[Any], collections: Collections) -> Reading:
    """The photograph that the task asks for. Raises `Refused`."""
    name = headers["task"]
    if name != LOCATE_TASK:
        raise Refused(MessageReason.UNKNOWN_TASK, f"the task {name!r:.200}; known is {LOCATE_TASK}")
    if len(body) != 3 or not isinstance(body[0], list) or not isinstance(body[2], dict):
        raise Refused(MessageReason.BAD_FIELDS, "the body is not [args, kwargs, embed]")
    args, fields, embedded = body
    if args:
        raise Refused(MessageReason.BAD_FIELDS, f"{LOCATE_TASK} takes keyword arguments only")
    asked = [part for part in _UNSUPPORTED_HEADERS if headers.get(part)]
    asked += [part for part in _UNSUPPORTED_PARTS if embedded.get(part)]
    if asked:
        raise Refused(MessageReason.UNSUPPORTED_OPTION, f"the task comes with {', '.join(asked)}")
    return Reading("celery", (Wanted(read_request(fields, collections)),))
