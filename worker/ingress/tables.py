"""What comes in through the database: rows of `submission`, and messages where the database is the broker.

Both are taken, turned into jobs and settled in one transaction: there is no moment in which one of them could
be lost or done twice, and whoever is killed in the middle has done nothing. The embedded broker's messages are
read as rows and not through kombu, whose transport expects its own envelope and fails on anything else; here a
bare JSON value, put there with `pgmq.send`, is a message too.
"""

import base64
import binascii
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Row

from schema import queries
from schema.messages import DEAD_SUFFIX, INGRESS_QUEUE, SUBMISSION_CHANNEL
from schema.reasons import SubmissionState
from worker.ingress.messages import Counts, keep_refused, read_any, store, tell
from worker.ingress.parts import Collections, Message, Reading, Refused, Wanted
from worker.ingress.register import POSTPONED_S, Verdict, register
from worker.ingress.requests import read_request
from worker.ingress.waiting import Patience
from worker.queue.broker import uses_pgmq
from worker.queue.listening import hears, listening
from worker.queue.patience import PatientTransactions
from worker.settings import Settings

log = logging.getLogger(__name__)

_MOST_ROWS = 500
_IDLE_S = 0.5
_PATIENCE_S = 15.0
_KEPT_DAYS = 7
_FORGET_EVERY_S = 600.0
_PGMQ_QUEUE = INGRESS_QUEUE.replace(".", "_")  # as kombu's transport calls it
_PGMQ_DEAD = (INGRESS_QUEUE + DEAD_SUFFIX).replace(".", "_")


class TableReader:
    """Takes submissions and, where the database is the broker, messages, until stopped."""

    def __init__(
        self, settings: Settings, database: Engine, collections: Collections, stopping: threading.Event
    ) -> None:
        self.counts = Counts()
        self._database = database
        self._collections = collections
        self._stopping = stopping
        self._has_messages = uses_pgmq(settings)
        self._patience = Patience("taking submissions", stopping)
        self._transactions = PatientTransactions(database, patience_s=_PATIENCE_S)
        self._next_forgetting_s = 0.0

    def run(self) -> None:
        """Takes until `stopping` is set. An outage of the database is logged and waited out."""
        self._patience.run(self._take)

    def give_up(self) -> None:
        """From now on a database that is away is not waited for."""
        self._transactions.give_up()

    def step(self) -> int:
        """Takes what is there, up to some hundreds; returns how many rows that were."""
        taken = self._group(self._submissions)
        if self._has_messages:
            taken += self._group(self._messages)
        self._forget()
        return taken

    def _take(self) -> None:
        with listening(self._database, SUBMISSION_CHANNEL) as notifications:
            while not self._stopping.is_set():
                if not self.step():
                    hears(notifications, self._stopping, _IDLE_S)
                self._patience.went_well()

    def _group(self, work: Callable[[Connection], tuple[list[Reading], list[Verdict]]]) -> int:
        readings, verdicts = self._transactions.run(work)
        self.counts.add(readings, verdicts)
        tell(verdicts)
        return len(readings)

    # ---------------------------------------------------------------- submissions

    def _submissions(self, connection: Connection) -> tuple[list[Reading], list[Verdict]]:
        rows = connection.execute(queries.ingress.TAKE_SUBMISSIONS, {"most": _MOST_ROWS}).all()
        if not rows:
            return [], []
        readings = [_of_row(row) for row in rows]
        verdicts = register(connection, readings)
        settled = []
        later = []
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict.postponed:
                later.append(row.id)
                continue
            refusal = verdict.refusal
            if refusal is not None:
                keep_refused(connection, _row_as_message(row), "sql", refusal)
            settled.append(
                {
                    "id": row.id,
                    "state": SubmissionState.REFUSED if refusal else SubmissionState.ACCEPTED,
                    "reason": refusal.reason if refusal else None,
                    "detail": refusal.detail if refusal else None,
                    "job_id": verdict.job_ids[0] if verdict.job_ids else None,
                }
            )
        connection.execute(queries.ingress.SETTLE_SUBMISSIONS, {"rows": orjson.dumps(settled).decode()})
        if later:
            connection.execute(queries.ingress.POSTPONE_SUBMISSIONS, {"ids": later, "wait_s": POSTPONED_S})
        return readings, verdicts

    # ---------------------------------------------------------------- messages of the embedded broker

    def _messages(self, connection: Connection) -> tuple[list[Reading], list[Verdict]]:
        taken = {"queue": _PGMQ_QUEUE, "most": _MOST_ROWS}
        rows = connection.execute(queries.ingress.TAKE_MESSAGES, taken).all()
        if not rows:
            return [], []
        messages = [unwrap(row.message) for row in rows]
        readings = [read_any(message, self._collections) for message in messages]
        verdicts = store(connection, messages, readings)
        for message, verdict in zip(messages, verdicts, strict=True):
            if verdict.refusal is not None:
                connection.execute(queries.ingress.SEND_MESSAGE, {"queue": _PGMQ_DEAD, "message": wrap(message)})
        ids = [row.msg_id for row in rows]
        connection.execute(queries.ingress.DELETE_MESSAGES, {"queue": _PGMQ_QUEUE, "ids": ids})
        return readings, verdicts

    def _forget(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_forgetting_s:
            return
        old = {"days": _KEPT_DAYS, "most": 10_000}
        self._transactions.run(lambda connection: connection.execute(queries.ingress.FORGET_ACCEPTED, old))
        self._next_forgetting_s = now_s + _FORGET_EVERY_S


def _of_row(row: Row[Any]) -> Reading:
    try:
        request = read_request(_fields(row), Collections())
    except Refused as refused:
        return Reading("sql", refusal=refused.refusal)
    return Reading("sql", (Wanted(request, row.source_tag, row.source_sequence),))


def _fields(row: Row[Any]) -> dict[str, Any]:
    """The fields of the message that would have asked for the same."""
    return {
        "uri": row.uri,
        "collection": row.collection,
        "hints": row.hints,
        "verify": row.verify,
        "priority": row.priority,
        "job_id": row.job_id and str(row.job_id),
    }


def _row_as_message(row: Row[Any]) -> Message:
    return Message(
        orjson.dumps(_fields(row)),
        {"submission": row.id, "submitted_by": row.submitted_by},
        content_type="application/json",
    )


def unwrap(text: str) -> Message:
    """A message from what its row holds: kombu's envelope, or the message itself as JSON."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:  # Postgres takes deeper nesting and larger numbers
        value = None
    if not (isinstance(value, dict) and isinstance(value.get("properties"), dict) and "body" in value):
        return Message(text.encode(), content_type="application/json")
    properties = value["properties"]
    body = value["body"]
    if not isinstance(body, str):
        body = orjson.dumps(body).decode()
    raw = body.encode()
    if properties.get("body_encoding") == "base64":
        try:
            raw = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            pass  # then it is read as it stands, and refused
    headers = value.get("headers")
    return Message(
        raw,
        headers if isinstance(headers, dict) else {},
        _text(value.get("content-type")),
        _text(value.get("content-encoding")),
        {name: each for name, each in properties.items() if not name.startswith(("body_", "delivery_"))},
    )


def wrap(message: Message) -> str:
    """A message in kombu's envelope, for the dead-letter queue."""
    envelope = {
        "body": base64.b64encode(message.body).decode(),
        "content-type": message.content_type,
        "content-encoding": message.content_encoding,
        "headers": message.headers,
        "properties": {
            **message.properties,
            "body_encoding": "base64",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": INGRESS_QUEUE + DEAD_SUFFIX},
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    return orjson.dumps(envelope).decode()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
