"""Rows of the table `job`, made of what sources yield. A million of them is what people enqueue at once.

`LocateRequest` says what is valid. Most of what comes is plainly so: printable text, short enough, no blanks
around it. That is seen without it, in a tenth of the time; whatever is not plain is left to it.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import TypedDict

from schema.messages import JOB_NAMESPACE, MAX_TEXT_CHARACTERS, MAX_URI_CHARACTERS, Hints, LocateRequest
from worker.intake.sources import Submission

_NAMES = frozenset(Hints.model_fields)
_NAMESPACE = hashlib.sha1(JOB_NAMESPACE.bytes, usedforsecurity=False)


class JobRow(TypedDict):
    """What `queries.jobs.ENQUEUE` takes; `id` is a UUID's text."""

    id: str
    uri: str
    source_tag: str | None
    hints: dict[str, str]
    verify: bool
    priority: int


def row_of(request: LocateRequest, source_tag: str | None) -> JobRow:
    """The row of a request."""
    return {
        "id": request.effective_job_id,
        "uri": request.uri,
        "source_tag": source_tag,
        "hints": request.hints.model_dump(exclude_none=True),
        "verify": request.verify,
        "priority": request.priority,
    }


def read_row(item: Submission, collection: str, *, verify: bool, priority: int) -> tuple[str, JobRow]:
    """The name of a submission's collection, and its row. `collection`: where it names none.

    Raises `ValueError` with one line that names what is wrong with it, as `LocateRequest.read` does.
    """
    named = item.collection or collection
    verify = item.verify or verify
    if not (
        _is_plain(item.uri, MAX_URI_CHARACTERS)
        and _is_plain_name(named, priority)
        and _are_plain_hints(item.hints)
    ):
        hints = dict(item.hints)
        fields = {"uri": item.uri, "collection": named, "hints": hints, "verify": verify, "priority": priority}
        request = LocateRequest.read(fields)
        return request.collection, row_of(request, item.source_tag)
    return named, {
        "id": job_id_text(named, item.uri),
        "uri": item.uri,
        "source_tag": item.source_tag,
        "hints": dict(item.hints),
        "verify": verify,
        "priority": priority,
    }


def job_id_text(collection: str, uri: str) -> str:
    """`str(schema.messages.job_id_for(collection, uri))`, in half the time (a UUID of version 5, RFC 9562)."""
    digest = _NAMESPACE.copy()
    digest.update(f"{collection}\n{uri}".encode())
    number = digest.hexdigest()
    variant = "89ab"[int(number[16], 16) & 3]
    return f"{number[:8]}-{number[8:12]}-5{number[13:16]}-{variant}{number[17:20]}-{number[20:32]}"


def _is_plain(text: str, most: int) -> bool:
    """Printable, which NUL, lone surrogates and all blanks but the space are not; no space at either end."""
    return 0 < len(text) <= most and text.isprintable() and text[0] != " " and text[-1] != " "


def _are_plain_hints(hints: Mapping[str, str]) -> bool:
    return all(name in _NAMES and _is_plain(text, MAX_TEXT_CHARACTERS) for name, text in hints.items())


@lru_cache(maxsize=256)
def _is_plain_name(collection: str, priority: int) -> bool:
    """What a whole manifest has in common is read once."""
    try:
        read = LocateRequest.read({"uri": "any:", "collection": collection, "priority": priority})
    except ValueError:
        return False
    return read.collection == collection
