"""Submissions become rows. Enqueueing the same photograph twice is one job; what has changed is queued again."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import orjson
from sqlalchemy import Engine

from schema import queries
from schema.messages import DEFAULT_COLLECTION, JOB_CHANNEL, LocateRequest
from worker.intake.sources import Problem, Submission
from worker.intake.uri import shown

_CHUNK = 1000


@dataclass(slots=True)
class Enqueued:
    """What became of what was named, by count.

    `unchanged` were settled before and stay so; `failed_before` likewise, as failures; `waiting` were queued or
    running already; `repeated` were named more than once.
    """

    batch_id: str
    new: int = 0
    changed: int = 0
    waiting: int = 0
    unchanged: int = 0
    failed_before: int = 0
    repeated: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def jobs(self) -> int:
        """How many jobs the batch has."""
        return self.new + self.changed + self.waiting + self.unchanged + self.failed_before


_KINDS = {
    "new": "new",
    "changed": "changed",
    "waiting": "waiting",
    "done": "unchanged",
    "failed": "failed_before",
    "dead": "failed_before",
}


def enqueue(
    database: Engine,
    found: Iterable[Submission | Problem],
    *,
    collection: str = DEFAULT_COLLECTION,
    verify: bool = False,
    priority: int = 0,
    pipeline_version: str | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Enqueued:
    """Writes jobs for all that was found, a thousand in a transaction, and wakes the dispatchers.

    Stopping it in the middle loses nothing: what was written stays, and a second call goes on from there.
    `pipeline_version`: jobs that another pipeline settled are queued again. `on_progress` is told of each group's
    size. What is no valid job becomes a `Problem` in the result and stops nothing.
    """
    result = Enqueued(batch_id=str(uuid.uuid4()))
    requests = _requests(found, collection, verify, priority, result)
    while chunk := list(islice(requests, _CHUNK)):
        with database.begin() as connection:
            for name in sorted({request.collection for request, _ in chunk}):
                collection_id = connection.execute(
                    queries.collections.ENSURE_COLLECTION, {"name": name}
                ).scalar_one()
                rows = {
                    request.effective_job_id: _row(request, tag)
                    for request, tag in chunk
                    if request.collection == name
                }
                named = sum(request.collection == name for request, _ in chunk)
                result.repeated += named - len(rows)
                kinds = connection.execute(
                    queries.jobs.ENQUEUE,
                    {
                        "rows": orjson.dumps(list(rows.values())).decode(),
                        "collection_id": collection_id,
                        "batch_id": result.batch_id,
                        "pipeline_version": pipeline_version,
                    },
                )
                for kind, ids in kinds.all():
                    if kind == "changed":
                        connection.execute(queries.jobs.REQUEUE, {"ids": [str(job_id) for job_id in ids]})
                    field_name = _KINDS[kind]
                    setattr(result, field_name, getattr(result, field_name) + len(ids))
            connection.execute(queries.jobs.NOTIFY_JOBS, {"channel": JOB_CHANNEL})
        on_progress(len(chunk))
    return result


def _requests(
    found: Iterable[Submission | Problem], collection: str, verify: bool, priority: int, result: Enqueued
) -> Iterator[tuple[LocateRequest, str | None]]:
    for item in found:
        if isinstance(item, Problem):
            result.problems.append(item)
            continue
        try:
            request = LocateRequest.read(
                {
                    "uri": item.uri,
                    "collection": item.collection or collection,
                    "hints": dict(item.hints),
                    "verify": item.verify or verify,
                    "priority": priority,
                }
            )
        except ValueError as error:
            result.problems.append(Problem(shown(item.uri), str(error)))
            continue
        yield request, item.source_tag


def _row(request: LocateRequest, source_tag: str | None) -> dict[str, object]:
    return {
        "id": request.effective_job_id,
        "uri": request.uri,
        "source_tag": source_tag,
        "hints": request.hints.model_dump(exclude_none=True),
        "verify": request.verify,
        "priority": request.priority,
    }
