"""Starting jobs: a message becomes a job that this worker has, or nothing where someone else has it.

The attempt is counted in the same transaction, so before any work: an image that kills the process has left its
mark.
"""

from typing import Any

import orjson
from sqlalchemy import Connection

from schema import queries
from schema.messages import Hints, LocateRequest
from worker.outcome import Job, Rules, Suspect


def claim(
    connection: Connection, requests: list[LocateRequest], *, worker: str, lease_s: float, suspects: bool = False
) -> list[Job | Suspect | None]:
    """Starts the jobs of a group of messages, in order; None where the job is taken or settled, or its
    collection paused.

    A job that a worker died with is started only with `suspects`; else a `Suspect` says so. A request whose job
    has no row (a producer sent it straight to the workers) gets one.
    """
    ids = [request.effective_job_id for request in requests]
    mine = {"worker": worker, "lease_s": lease_s}
    rows = list(connection.execute(queries.jobs.CLAIM, {"ids": ids, "suspects": suspects, **mine}))
    waiting = {}
    if len(rows) < len(set(ids)):
        exist = {str(row.id): row for row in connection.execute(queries.jobs.KNOWN_JOBS, {"ids": ids})}
        waiting = {job_id: Suspect(job_id, row.uri, row.losses) for job_id, row in exist.items() if row.is_suspect}
        foreign = [request for request in requests if request.effective_job_id not in exist]
        rows += _start_foreign(connection, foreign, mine) if foreign else []
    started = {str(row.id): row for row in rows}
    # Two messages of one job in one group: the first gets it.
    return [_job(started.pop(job_id)) if job_id in started else waiting.get(job_id) for job_id in ids]


def _start_foreign(connection: Connection, requests: list[LocateRequest], mine: dict[str, Any]) -> list[Any]:
    for name in sorted({request.collection for request in requests}):
        connection.execute(queries.collections.ENSURE_COLLECTION, {"name": name})
    rows = [
        {
            "id": request.effective_job_id,
            "collection": request.collection,
            "uri": request.uri,
            "hints": request.hints.model_dump(exclude_none=True),
            "verify": request.verify,
            "priority": request.priority,
        }
        for request in requests
    ]
    return list(connection.execute(queries.jobs.CLAIM_FOREIGN, {"rows": orjson.dumps(rows).decode(), **mine}))


def _job(row: Any) -> Job:
    return Job(
        id=str(row.id),
        uri=row.uri,
        hints=Hints(**row.hints),
        verify=row.verify,
        attempts=row.attempts,
        losses=row.losses,
        collection=row.collection,
        rules=Rules(row.region, row.max_radius_km),
        put_off_s=row.put_off_s,
    )
