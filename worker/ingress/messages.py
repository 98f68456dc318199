"""A group of messages from a broker, in one transaction: their jobs, what is put off, and those that were refused.

The same for both brokers. What differs is how they are taken and how they are settled afterwards.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection

from schema import queries
from schema.messages import INGRESS_QUEUE, SUBMISSION_CHANNEL
from worker.ingress.parts import Collections, Message, Reading, Refusal, Wanted
from worker.ingress.reading import read
from worker.ingress.register import DEFECT, POSTPONED_S, Verdict, register
from worker.queue.dead import bury

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What has come in so far. `jobs` were made, or were there; `refused` counts messages, wholly or in part."""

    messages: int = 0
    jobs: int = 0
    refused: int = 0
    ignored: int = 0

    def add(self, readings: Sequence[Reading], verdicts: Sequence[Verdict]) -> None:
        """Adds a group, once it is committed."""
        self.messages += len(readings)
        self.jobs += sum(len(verdict.job_ids) for verdict in verdicts)
        self.refused += sum(verdict.refusal is not None for verdict in verdicts)
        self.ignored += sum(reading.ignored for reading in readings)


def read_any(message: Message, collections: Collections) -> Reading:
    """`read`, but a defect in it refuses this one message instead of coming back with it again and again."""
    try:
        return read(message, collections)
    except Exception:
        log.exception("a defect: a message could not be read")
        return Reading("ingress", refusal=DEFECT)


def store(connection: Connection, messages: Sequence[Message], readings: Sequence[Reading]) -> list[Verdict]:
    """Writes all that the messages ask for, and keeps the refused ones in `dead_message`. Does not commit."""
    verdicts = register(connection, readings)
    postpone(connection, [wanted for verdict in verdicts for wanted in verdict.postponed])
    for message, reading, verdict in zip(messages, readings, verdicts, strict=True):
        if verdict.refusal is not None:
            keep_refused(connection, message, reading.source, verdict.refusal)
    return verdicts


def keep_refused(connection: Connection, message: Message, source: str, refusal: Refusal) -> None:
    """Puts one message into `dead_message`."""
    bury(
        connection,
        queue=INGRESS_QUEUE,
        source=source,
        reason=refusal.reason,
        detail=refusal.detail,
        body=message.body,
        headers=message.headers,
        properties=message.properties,
    )


def postpone(connection: Connection, wanted: Sequence[Wanted]) -> None:
    """Keeps what cannot be done while its jobs are in work; the rows come round again."""
    if not wanted:
        return
    rows = [as_submission(each) for each in wanted]
    connection.execute(
        queries.ingress.POSTPONE_MESSAGES, {"rows": orjson.dumps(rows).decode(), "wait_s": POSTPONED_S}
    )
    connection.execute(queries.jobs.NOTIFY_JOBS, {"channel": SUBMISSION_CHANNEL})


def as_submission(wanted: Wanted) -> dict[str, object]:
    """The columns of `submission` that ask for the same."""
    request = wanted.request
    return {
        "uri": request.uri,
        "collection": request.collection,
        "hints": request.hints.model_dump(exclude_none=True),
        "verify": request.verify,
        "priority": request.priority,
        "source_tag": wanted.source_tag,
        "source_sequence": wanted.sequence,
        "job_id": str(request.job_id) if request.job_id else None,
    }


def tell(verdicts: Sequence[Verdict]) -> None:
    """Logs how many messages were refused and why, after the commit. What they hold is not for a log."""
    reasons = Counter(verdict.refusal.reason for verdict in verdicts if verdict.refusal is not None)
    if reasons:
        told = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        log.warning("%d message(s) refused (%s); they are kept in dead_message", reasons.total(), told)
