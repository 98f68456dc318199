"""The header Idempotency-Key: the same request sent twice gets the same answer.

As draft-ietf-httpapi-idempotency-key-header-07 has it: an answer is kept with a fingerprint of what was asked; the
key with something else is refused with 422, the key of a request that is still in work with 409. The draft's value
is a string of RFC 9651 in double quotes; one without them is taken as well, and names the same key.
"""

import re
from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import Engine

from schema import queries
from worker.http.problem import Problem

KEPT_HOURS = 24

_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")  # visible ASCII without " , ; and \
_MAX_CHARACTERS = 255


def read_key(header: str | None) -> str | None:
    """The key, None where none was sent. Raises `Problem` (400) for one that is none."""
    if header is None:
        return None
    quoted = _QUOTED.fullmatch(header.strip())
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else header.strip()
    if not key or len(key) > _MAX_CHARACTERS or not (quoted or _BARE.fullmatch(key)):
        raise Problem(
            400, f"Idempotency-Key is a string in double quotes, of 1 to {_MAX_CHARACTERS} ASCII characters."
        )
    return key


def answer_once(database: Engine, caller: str, key: str | None, fingerprint: str, work: Callable[[], Any]) -> Any:
    """What `work` returns (JSON), or what it returned when the caller sent this key before.

    Raises `Problem`: 422 where the key belongs to another request, 409 while that is in work; and what `work`
    raises, which is kept nowhere. The lock ends with its connection, so a process that dies leaves no key behind
    that is in work for ever; its work may be done again, and `work` must bear that.
    """
    if key is None:
        return work()
    named = {"caller": caller, "key": key}
    with database.begin() as connection:
        if not connection.execute(queries.http.TRY_KEY, named).scalar_one():
            raise Problem(
                409, "A request with this Idempotency-Key is in work; try again.", headers={"Retry-After": "1"}
            )
        kept = connection.execute(queries.http.FIND_ANSWER, {**named, "kept_hours": KEPT_HOURS}).one_or_none()
        if kept is not None:
            if kept.fingerprint != fingerprint:
                raise Problem(422, "This Idempotency-Key was used for another request; take a new one.")
            return kept.answer
        answer = work()
        row = {**named, "fingerprint": fingerprint, "answer": orjson.dumps(answer).decode()}
        connection.execute(queries.http.KEEP_ANSWER, {**row, "kept_hours": KEPT_HOURS})
    return answer
