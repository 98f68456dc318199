"""A group of readings becomes jobs in one transaction. The caller commits, and only then settles the messages.

What was here before decides. A photograph has one job, however often and by whichever way it is asked for. A
state of the source that is known changes nothing. An event that a later one has overtaken is left aside. And
what asks for a change while the job is in work is put off: the worker has the old state in its hands, and would
settle it as the new.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from schema import queries
from schema.messages import Hints, LocateRequest
from schema.reasons import JobState, MessageReason
from worker.ingress.parts import Reading, Refusal, Wanted
from worker.queue.enqueue import TAKEN, TAKEN_JOB, write_jobs

log = logging.getLogger(__name__)

POSTPONED_S = 10.0
"""So much later a photograph whose job was in work is looked at again."""

DEFECT = Refusal(MessageReason.INTERNAL_ERROR, "it could not be read or written; the log has the details")

_CHUNK = 1000


@dataclass(slots=True)
class Verdict:
    """What became of one reading: the ids of its jobs; why all or some of it was refused; what is put off."""

    job_ids: list[str] = field(default_factory=list)
    refusal: Refusal | None = None
    postponed: list[Wanted] = field(default_factory=list)
    stale: int = 0


def register(connection: Connection, readings: Sequence[Reading]) -> list[Verdict]:
    """Writes the jobs of all readings; returns a verdict for each, in order.

    It writes jobs alone. Whoever calls keeps the refusals and what is put off, in the same transaction. A reading
    that cannot be written, although it passed all rules, is a defect and harms no other.
    """
    try:
        with connection.begin_nested():
            return _register(connection, readings)
    except Exception as error:
        # An outage concerns all of them, and so does a database that is not as it should be.
        if isinstance(error, SQLAlchemyError) and not isinstance(error, DataError | IntegrityError):
            raise
        if len(readings) == 1:
            log.exception("a defect: what a message asks for could not be written")
            return [Verdict(refusal=DEFECT)]
    return [verdict for reading in readings for verdict in register(connection, [reading])]


def _register(connection: Connection, readings: Sequence[Reading]) -> list[Verdict]:
    verdicts = [Verdict(refusal=reading.refusal) for reading in readings]
    asked = [(place, wanted) for place, reading in enumerate(readings) for wanted in reading.wanted]
    held = _hold(connection, [wanted.request.effective_job_id for _, wanted in asked])
    to_write: dict[str, Wanted] = {}
    owners: dict[str, list[int]] = {}
    for place, wanted in asked:
        job_id = wanted.request.effective_job_id
        verdict = verdicts[place]
        known = to_write.get(job_id) or held.get(job_id)
        if known is not None and not _same_photograph(known.request, wanted.request):
            _refuse_taken(verdict)
        elif known is not None and _is_later(known.sequence, wanted.sequence):
            verdict.stale += 1
            verdict.job_ids.append(job_id)
        else:
            whole = _with_what_stays(wanted, known)
            if job_id in held and held[job_id].in_work and held[job_id].differs(whole):
                verdict.postponed.append(whole)
            else:
                to_write[job_id] = whole
                owners.setdefault(job_id, []).append(place)
            verdict.job_ids.append(job_id)
    for job_id in _write(connection, to_write):  # another process was quicker, with another photograph
        for place in owners[job_id]:
            verdicts[place].job_ids.remove(job_id)
            _refuse_taken(verdicts[place])
    return verdicts


@dataclass(frozen=True, slots=True)
class _Held:
    """A job that there is, as if it had been wanted."""

    request: LocateRequest
    source_tag: str | None
    sequence: str | None
    in_work: bool

    def differs(self, wanted: Wanted) -> bool:
        mine, theirs = self.request, wanted.request
        return (self.source_tag, mine.hints, mine.verify) != (wanted.source_tag, theirs.hints, theirs.verify)


def _hold(connection: Connection, ids: list[str]) -> dict[str, _Held]:
    rows = connection.execute(queries.ingress.HOLD_JOBS, {"ids": ids}) if ids else ()
    return {str(row.id): _held(row) for row in rows}


def _held(row: Any) -> _Held:
    # Not validated: it is what the database has, and some of it may be older than today's rules.
    request = LocateRequest.model_construct(
        uri=row.uri,
        collection=row.collection,
        job_id=row.id,
        hints=Hints.model_construct(**{"text": None, "region": None, "date": None} | row.hints),
        verify=row.verify,
        priority=row.priority,
    )
    return _Held(request, row.source_tag, row.source_sequence, row.state == JobState.RUNNING)


def _same_photograph(one: LocateRequest, other: LocateRequest) -> bool:
    return (one.uri, one.collection) == (other.uri, other.collection)


def _is_later(known: str | None, now: str | None) -> bool:
    """Whether an event with the sequence `known` is later than one with the sequence `now`.

    Amazon's documentation has said of sequencers of different lengths both that the shorter one is padded with
    zeros on the left and that it is so on the right. Nothing is concluded from those.
    """
    return known is not None and now is not None and len(known) == len(now) and known > now


def _with_what_stays(wanted: Wanted, known: "Wanted | _Held | None") -> Wanted:
    """`wanted`, completed from what is known already by what its message could not say."""
    if known is None:
        return wanted
    request = wanted.request
    if wanted.keeps_options:
        kept = {"hints": known.request.hints, "verify": known.request.verify, "priority": known.request.priority}
        request = request.model_copy(update=kept)
    return Wanted(request, wanted.source_tag or known.source_tag, wanted.sequence or known.sequence)


def _write(connection: Connection, to_write: dict[str, Wanted]) -> list[str]:
    """Returns the ids that turned out to be other photographs' jobs."""
    taken: list[str] = []
    ids = sorted(to_write)
    for start in range(0, len(ids), _CHUNK):
        chunk = [to_write[job_id] for job_id in ids[start : start + _CHUNK]]
        kinds = write_jobs(connection, [(wanted.request, wanted.source_tag) for wanted in chunk])
        taken += [job_id for job_id in ids[start : start + _CHUNK] if kinds[job_id] == TAKEN]
    sequences = [
        {"id": job_id, "sequence": wanted.sequence}
        for job_id, wanted in to_write.items()
        if wanted.sequence and job_id not in taken
    ]
    if sequences:
        connection.execute(queries.ingress.SET_SEQUENCES, {"rows": orjson.dumps(sequences).decode()})
    return taken


def _refuse_taken(verdict: Verdict) -> None:
    verdict.refusal = verdict.refusal or Refusal(MessageReason.BAD_FIELDS, TAKEN_JOB)
