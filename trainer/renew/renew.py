"""One look at the calibrations of what serves: asks about photographs of known place, waits, calibrates.

A look does what is to be done now and returns; nothing is kept between two looks but the rows in Postgres, so that
a process that dies loses nothing and any other goes on:

1. What serves has calibrations in force that do not expire soon: nothing to do.
2. Otherwise photographs of known place, from which no model has learnt, go back into the queue (`verify`, bulk),
   in the transaction that writes the renewal's row. Ordinary workers answer them by the whole pipeline.
3. When nine tenths (200 or more) are answered by the version that serves, or all are settled, the calibrations
   are made, each as the one before it was. Those that are there already, since a person or a process that died
   had made them, are not made again.
4. What is refused is kept with its reason, and tried again only when labels or answers have come.

Jobs that a worker of an earlier version took are asked again, twice at most.
"""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy import Engine as SqlEngine
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.messages import JOB_CHANNEL
from trainer.calibrate.make import make, store
from trainer.renew.choose import choose_jobs
from trainer.renew.due import Cause, Due, Serves, what_is_due, what_serves
from worker import registry
from worker.errors import SetupError

log = logging.getLogger(__name__)

ENOUGH = 0.9
"""This share answered by the version that serves is enough; the others may wait for a server that is away."""
LEAST = 200
"""But not fewer than so many: of few all are waited for, lest the calibration is refused for want of the last."""
ASKS = 3
"""So often a photograph is asked about that another version answered, in all."""
RETRY_AFTER = 20
"""So many labels and answers about known places must have come before what was refused is tried again."""


class Looked(StrEnum):
    """How a look ended."""

    OFF = "off"
    BUSY = "busy"
    NOT_DUE = "not_due"
    STANDS_REFUSED = "stands_refused"
    ASKED = "asked"
    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Look:
    """`told` says it to a person."""

    ended: Looked
    told: str


def look(engine: SqlEngine, *, base: str, photographs: int) -> Look:
    """Does what is to be done now for the workers with GLOBETAG_MODEL=`base`. Returns within about a minute.

    `photographs`: about so many are asked at most in one renewal; 0: nothing is renewed.
    """
    if photographs == 0:
        return Look(Looked.OFF, "GLOBETAG_CALIBRATE_PHOTOGRAPHS=0: nothing is calibrated by itself")
    with _alone(engine) as alone:
        if not alone:
            return Look(Looked.BUSY, "another process is at it")
        with engine.begin() as connection:
            serves = what_serves(connection, base, registry.look(engine, base))
            row = connection.execute(queries.renewal.OPEN_RENEWAL, {"base": base}).one_or_none()
            earlier: str | None = None
            if row is not None and row.model_version_id != serves.registered_id:
                told = "What serves was changed before the photographs were answered."
                _end(connection, row, serves, "superseded", told)
                earlier = str(row.batch_id)
                row = None
            due, cause = what_is_due(connection, serves)
            if row is None:
                begun = _begin(connection, serves, due, cause, photographs, earlier)
                if isinstance(begun, Look):
                    return begun
                row = begun
                if row.asked:
                    return Look(Looked.ASKED, f"{row.asked:,} photographs of known place are asked about")
            waiting = _waits(connection, row, serves, due)
        return waiting or _finish(engine, row, serves, due)


def _begin(
    connection: Connection, serves: Serves, due: list[Due], cause: Cause, photographs: int, earlier: str | None
) -> Look | Row[Any]:
    """Asks, and returns the row of the renewal; or why there is none to begin.

    `earlier`: the jobs of a renewal that was superseded; those that wait still are asked of what serves now.
    """
    if not due:
        return Look(Looked.NOT_DUE, "what serves is calibrated, or nobody has asked for it yet")
    if serves.untrained:
        return Look(Looked.NOT_DUE, "what serves is untrained: a radius would mean nothing")
    version = {
        "base": serves.base,
        "model_version_id": serves.registered_id,
        "answers_version": serves.answers_version,
    }
    refused = connection.execute(queries.renewal.LAST_REFUSAL, version).one_or_none()
    if refused is not None:
        since = {
            "labels_until": refused.labels_until,
            "predictions_until": refused.predictions_until,
            "model_version_id": serves.model_version_id,
        }
        come = connection.execute(queries.renewal.COME_SINCE, since).scalar_one()
        if come < RETRY_AFTER:
            told = (
                f"refused, {come} labels and answers have come since ({RETRY_AFTER} are needed): {refused.detail}"
            )
            return Look(Looked.STANDS_REFUSED, told)
    batch_id = str(uuid.uuid4())
    adopt = {"batch_id": batch_id, "earlier": earlier}
    asked = len(connection.execute(queries.renewal.ADOPT, adopt).all())
    asked += _ask(connection, choose_jobs(connection, serves, due, max(0, photographs - asked)), batch_id)
    given = {
        "base": serves.base,
        "model_version_id": serves.registered_id,
        "cause": cause,
        "batch_id": batch_id,
        "asked": asked,
    }
    row = connection.execute(queries.renewal.ADD_RENEWAL, given).one()
    scopes = ", ".join(each.scope for each in due)
    log.info("renewal %d (%s): %d photographs are asked about; for %s", row.id, cause, asked, scopes)
    return row


def _waits(connection: Connection, row: Row[Any], serves: Serves, due: list[Due]) -> Look | None:
    """Whether answers are still to come; None where there are enough, or no more will come."""
    if not due:
        return None  # somebody has calibrated meanwhile
    given = {"batch_id": row.batch_id, "model_version_id": serves.model_version_id}
    stand = connection.execute(queries.renewal.RENEWAL_PROGRESS, given).one()
    if stand.answered >= max(LEAST, ENOUGH * stand.jobs):
        return None
    if stand.pending:
        told = f"renewal {row.id} waits: {stand.answered:,} of {stand.jobs:,} photographs are answered"
        return Look(Looked.WAITING, told)
    if not stand.elsewhere or row.times >= ASKS:
        return None
    again = _ask(connection, choose_jobs(connection, serves, due, stand.elsewhere), row.batch_id)
    if not again:
        return None
    connection.execute(queries.renewal.RENEWAL_ASKED, {"id": row.id, "asked": again})
    log.info("renewal %d: %d photographs that another version answered are asked about again", row.id, again)
    return Look(Looked.ASKED, f"{again:,} photographs that another version answered are asked about again")


def _finish(engine: SqlEngine, row: Row[Any], serves: Serves, due: list[Due]) -> Look:
    """Makes each calibration that is due, and ends the renewal with what came of them."""
    told, refused = [], []
    registered = serves.standing.registered if serves.standing else None
    for each in due:
        try:
            made = make(
                engine,
                each.parameters,
                base=serves.base,
                serving=registered,
                collection=each.collection,
                answers_version=serves.answers_version,
            )
            calibration_id = store(engine, made, days=each.days)
        except SetupError as error:
            log.warning("renewal %d: no calibration for %s: %s", row.id, each.scope, error)
            refused.append(f"{each.scope}: {error}")
        else:
            kept = f"{made.checked.radius.coverage:.1%} of {made.found.sample.n:,} inside the radius"
            log.info("renewal %d: calibration %d for %s, %s", row.id, calibration_id, each.scope, kept)
            told.append(f"calibration {calibration_id} for {each.scope}, {kept}")
    state = "refused" if refused else "done"
    detail = "; ".join([*refused, *told]) or "Somebody had calibrated meanwhile."
    with engine.begin() as connection:
        _end(connection, row, serves, state, detail)
    return Look(Looked(state), detail)


def _ask(connection: Connection, job_ids: list[str], batch_id: str) -> int:
    """Puts the jobs back into the queue and wakes the dispatchers. Returns how many."""
    if not job_ids:
        return 0
    asked = connection.execute(queries.renewal.ASK, {"ids": job_ids, "batch_id": batch_id}).all()
    connection.execute(queries.jobs.NOTIFY_JOBS, {"channel": JOB_CHANNEL})
    return len(asked)


def _end(connection: Connection, row: Row[Any], serves: Serves, state: str, detail: str) -> None:
    given = {"id": row.id, "state": state, "detail": detail, "answers_version": serves.answers_version}
    connection.execute(queries.renewal.END_RENEWAL, given)


@contextmanager
def _alone(engine: SqlEngine) -> Iterator[bool]:
    """Holds the lock in a session of its own; False where another process has it."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    held = False
    try:
        held = bool(connection.execute(queries.renewal.RENEWAL_LOCK).scalar_one())
        yield held
    finally:
        try:
            if held:
                connection.execute(queries.renewal.RENEWAL_UNLOCK)
        except SQLAlchemyError:
            log.debug("the lock is gone with its session", exc_info=True)
        finally:
            connection.invalidate()  # a pooled session must not hold a lock
            connection.close()
