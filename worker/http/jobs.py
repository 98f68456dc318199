"""Jobs in, and what became of them: the work behind `POST /v1/jobs` and `GET /v1/jobs/{id}`."""

import threading
import time
import uuid
from typing import Any

from sqlalchemy import Engine

from schema import queries
from schema.messages import LocateRequest
from schema.reasons import JobState, Reason
from worker.http.body import Asked
from worker.http.idempotency import answer_once
from worker.http.problem import Problem
from worker.http.tokens import Caller
from worker.intake.sources import Submission
from worker.queue.enqueue import enqueue

RETRY_AFTER_S = 30
_LOOK_EVERY_S = 1.0


class Jobs:
    """The interface's side of the table `job`. Thread-safe; every call blocks on the database."""

    def __init__(self, database: Engine, *, max_queued: int) -> None:
        """`max_queued`: while so many jobs are queued, no more are taken."""
        self._database = database
        self._max_queued = max_queued
        self._lock = threading.Lock()
        self._queued = 0
        self._counted_at_s = float("-inf")

    def submit(self, caller: Caller, asked: Asked, key: str | None) -> Any:
        """Queues what was asked for; returns the answer's body.

        Raises `Problem`: 403 for a collection that is not the caller's, 409 and 422 for a misused key, 429 while
        too much waits. An answer that was given before is given again also then.
        """
        for request in asked.requests:
            if not caller.may_use(request.collection):
                raise Problem(403, "This token does not stand for the collection that was named.")
        kind = "list" if asked.is_list else "one"
        return answer_once(
            self._database, caller.name, key, f"{kind} {asked.fingerprint}", lambda: self._submit(asked)
        )

    def read(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """What is told of a job. Raises `Problem` (404) where there is none, or none that is the caller's."""
        unknown = Problem(404, "There is no such job.")
        try:
            wanted = uuid.UUID(job_id)
        except ValueError:
            raise unknown from None
        with self._database.connect() as connection:
            row = connection.execute(queries.http.READ_JOB, {"job_id": str(wanted)}).one_or_none()
        if row is None or not caller.may_use(row.collection):
            raise unknown
        return _told(row)

    def _submit(self, asked: Asked) -> Any:
        self._refuse_when_full()
        for priority in sorted({request.priority for request in asked.requests}):
            submissions = [_submission(each) for each in asked.requests if each.priority == priority]
            result = enqueue(self._database, submissions, priority=priority)
            if result.problems:
                raise Problem(
                    422, "Not taken.", errors=[{"detail": each.message} for each in result.problems[:20]]
                )
        ids = [request.effective_job_id for request in asked.requests]
        with self._database.connect() as connection:
            rows = connection.execute(queries.http.JOB_STATES, {"ids": ids})
            states = {str(row.id): row.state for row in rows}
        told = [{"job_id": job_id, "state": states[job_id]} for job_id in ids]
        return {"jobs": told} if asked.is_list else told[0]

    def _refuse_when_full(self) -> None:
        """The count may be a second old: so many too many may come in between."""
        with self._lock:
            if time.monotonic() - self._counted_at_s > _LOOK_EVERY_S:
                with self._database.connect() as connection:
                    limit = {"limit": self._max_queued}
                    self._queued = connection.execute(queries.http.COUNT_QUEUED, limit).scalar_one()
                self._counted_at_s = time.monotonic()
            is_full = self._queued >= self._max_queued
        if is_full:
            raise Problem(
                429,
                f"{self._max_queued:,} jobs or more are waiting; send this one later.",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )


def _submission(request: LocateRequest) -> Submission:
    hints = request.hints.model_dump(exclude_none=True)
    return Submission(request.uri, hints=hints, collection=request.collection, verify=request.verify)


def _told(row: Any) -> dict[str, Any]:
    """A job as its caller sees it. There is a place only where the job is done."""
    has_place = row.state == JobState.DONE and row.lat is not None
    return {
        "job_id": str(row.job_id),
        "collection": row.collection,
        "state": row.state,
        "outcome": row.outcome,
        "reason": _reason(row.reason),
        "place": _place(row) if has_place else None,
        "submitted_at": row.created_at.isoformat(),
        "settled_at": row.finished_at.isoformat() if row.finished_at else None,
        "pipeline_version": row.pipeline_version,
    }


def _reason(reason: str | None) -> dict[str, str] | None:
    return {"code": reason, "sentence": Reason(reason).sentence} if reason else None


def _place(row: Any) -> dict[str, Any]:
    """`source` says whether it is known (exif, xmp, import, manual) or inferred (prediction)."""
    is_inferred = row.source == "prediction"
    return {
        "source": row.source,
        "lat": row.lat,
        "lon": row.lon,
        "radius_km": row.radius_km,
        "coverage": row.coverage,
        "granularity": row.granularity,
        "country_code": row.country_code,
        "region": row.region,
        "city": row.city,
        "geoname_id": row.geoname_id,
        "confidence": row.confidence if is_inferred else None,
        "untrained": bool(row.untrained) if is_inferred else False,
    }
