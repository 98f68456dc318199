"""Submissions become rows. Enqueueing the same photograph twice is one job; what has changed is queued again."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import orjson
from sqlalchemy import Connection, Engine

from schema import queries
from schema.messages import DEFAULT_COLLECTION, JOB_CHANNEL, LocateRequest
from worker.intake.sources import Problem, Submission
from worker.intake.uri import shown
from worker.queue.rows import JobRow, read_row, row_of

TAKEN = "taken"
TAKEN_JOB = "job_id: another photograph has this job"

_CHUNK = 5000

_Wanted = tuple[LocateRequest, str | None]
_Row = tuple[str, JobRow]
T = TypeVar("T")
U = TypeVar("U")


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
    """Writes jobs for all that was found, some thousand in a transaction, and wakes the dispatchers.

    Stopping it in the middle loses nothing: what was written stays, and a second call goes on from there.
    `pipeline_version`: jobs that another pipeline settled are queued again. `on_progress` is told of each group's
    size. What is no valid job becomes a `Problem` in the result and stops nothing.
    """
    result = Enqueued(batch_id=str(uuid.uuid4()))
    rows = _rows(found, collection, verify, priority, result)

    def write(chunk: list[_Row]) -> tuple[list[_Row], dict[str, str]]:
        with database.begin() as connection:
            return chunk, _write(connection, chunk, batch_id=result.batch_id, pipeline_version=pipeline_version)

    chunks = iter(lambda: list(islice(rows, _CHUNK)), [])
    for chunk, kinds in _one_behind(chunks, write):
        result.repeated += len(chunk) - len(kinds)
        for kind, jobs in Counter(kinds.values()).items():
            if kind != TAKEN:
                setattr(result, _KINDS[kind], getattr(result, _KINDS[kind]) + jobs)
            else:
                result.problems += _of_another(chunk, {job_id for job_id in kinds if kinds[job_id] == TAKEN})
        on_progress(len(chunk))
    return result


def write_jobs(
    connection: Connection,
    wanted: Sequence[_Wanted],
    *,
    batch_id: str | None = None,
    pipeline_version: str | None = None,
) -> dict[str, str]:
    """Writes jobs for requests with their source tags, and wakes the dispatchers at the commit.

    Returns the kind of each job by its id: new, changed, waiting, done, failed or dead; `taken` where it is
    another photograph's and stays so. Of requests with the same id the last counts.
    """
    rows = [(request.collection, row_of(request, tag)) for request, tag in wanted]
    return _write(connection, rows, batch_id=batch_id, pipeline_version=pipeline_version)


def _write(
    connection: Connection, wanted: Sequence[_Row], *, batch_id: str | None, pipeline_version: str | None
) -> dict[str, str]:
    by_collection: dict[str, dict[str, JobRow]] = {}
    for collection, row in wanted:
        by_collection.setdefault(collection, {})[row["id"]] = row
    asked = {"batch_id": batch_id, "pipeline_version": pipeline_version}
    kinds: dict[str, str] = {}
    for name, rows in sorted(by_collection.items()):
        given = {
            "rows": orjson.dumps(list(rows.values())).decode(),
            "collection_id": _collection(connection, name),
        }
        kinds |= dict.fromkeys(rows, "new")
        for kind, ids in connection.execute(queries.jobs.ENQUEUE, {**given, **asked}).all():
            if kind == "changed":
                connection.execute(queries.jobs.REQUEUE, {"ids": ids})
            kinds |= dict.fromkeys(ids, kind)
    connection.execute(queries.jobs.NOTIFY_JOBS, {"channel": JOB_CHANNEL})
    return kinds


def _collection(connection: Connection, name: str) -> int:
    found = connection.execute(queries.collections.ENSURE_COLLECTION, {"name": name}).scalar()
    if found is None:  # another process made it at the same moment; a new statement sees it
        found = connection.execute(queries.collections.COLLECTION_ID, {"collection": name}).scalar_one()
    assert isinstance(found, int)
    return found


def _of_another(chunk: Sequence[_Row], taken: set[str]) -> list[Problem]:
    named = {row["id"]: row["uri"] for _, row in chunk}
    return [Problem(shown(uri), TAKEN_JOB) for job_id, uri in named.items() if job_id in taken]


def _one_behind(items: Iterable[T], work: Callable[[T], U]) -> Iterator[U]:
    """The results of `work`, in order. It works in a thread of its own while the next item is made."""
    before: Future[U] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="enqueue") as thread:
        for item in items:
            if before is not None:
                yield before.result()
            before = thread.submit(work, item)
        if before is not None:
            yield before.result()


def _rows(
    found: Iterable[Submission | Problem], collection: str, verify: bool, priority: int, result: Enqueued
) -> Iterator[_Row]:
    for item in found:
        if isinstance(item, Problem):
            result.problems.append(item)
            continue
        try:
            row = read_row(item, collection, verify=verify, priority=priority)
        except ValueError as error:
            result.problems.append(Problem(shown(item.uri), str(error)))
            continue
        yield row
