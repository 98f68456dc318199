"""What a worker does with a message: claim the job, settle it, store the outcome, stay known as alive."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.messages import Hints, LocateRequest
from worker.batcher import Batcher
from worker.errors import MessageError
from worker.outcome import Job, Settled
from worker.queue.patience import PatientTransactions, first_line
from worker.queue.presence import is_gone, worker_id
from worker.queue.recorder import Recorder

log = logging.getLogger(__name__)


class Service:
    """One worker process. `handle` is called by the pool's threads, one message each."""

    def __init__(
        self,
        transactions: PatientTransactions,
        settle: Callable[[Job], Settled],
        recorder: Recorder,
        *,
        lease_s: float,
    ) -> None:
        self.worker = worker_id()
        self._transactions = transactions
        self._settle = settle
        self._recorder = recorder
        self._lease_s = lease_s
        self._claims: Batcher[LocateRequest, Job | None] = Batcher(
            self._claim, name="claims", max_size=128, max_wait_s=0.004
        )
        self._in_work = 0
        self._idle = threading.Condition()
        self._stopping = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Frees what dead processes of this machine held, and begins to keep its own leases alive."""
        self._transactions.run(_free_jobs_of_gone_workers)
        self._heartbeat.start()

    def handle(self, fields: dict[str, Any]) -> None:
        """Works on one message; returns when its outcome is committed, or when there is nothing to do.

        Raises `MessageError` for fields that make no job, and what the database raises when it stays away.
        """
        try:
            request = LocateRequest.read(fields)
        except ValueError as error:
            raise MessageError(str(error)) from None
        with self._idle:
            self._in_work += 1
        try:
            job = self._claims.submit(request)
            if job is None:
                log.debug("job %s is taken or settled; nothing to do", request.effective_job_id)
                return
            self._recorder.save(self._settle(job))
        finally:
            with self._idle:
                self._in_work -= 1
                self._idle.notify_all()

    def wait_until_idle(self, timeout_s: float | None = None) -> bool:
        """Returns True once no message is in work, False after `timeout_s`."""
        with self._idle:
            return self._idle.wait_for(lambda: self._in_work == 0, timeout_s)

    def close(self) -> None:
        """Gives back what was started and not finished, and stops. Call it after the consumer has stopped."""
        self._stopping.set()
        self._claims.close()
        self._recorder.close()
        if self._heartbeat.is_alive():
            self._heartbeat.join()
        try:
            self._transactions.give_up()
            self._transactions.run(lambda c: c.execute(queries.RELEASE, {"worker": self.worker}))
        except SQLAlchemyError:
            log.warning("the database is away; unfinished jobs return when their leases run out")

    def _beat(self) -> None:
        mine = {"lease_s": self._lease_s, "worker": self.worker}
        while not self._stopping.wait(self._lease_s / 4):
            try:
                self._transactions.run(lambda c: c.execute(queries.EXTEND_LEASES, mine))
            except SQLAlchemyError as error:
                log.warning("the leases could not be extended: %s", first_line(error))

    def _claim(self, requests: list[LocateRequest]) -> Sequence[Job | None]:
        """Starts the jobs of a group of messages. None where someone else has the job or it is settled."""
        ids = [request.effective_job_id for request in requests]
        mine = {"worker": self.worker, "lease_s": self._lease_s}

        def start(connection: Connection) -> list[Any]:
            rows = list(connection.execute(queries.CLAIM, {"ids": ids, **mine}))
            if len(rows) < len(set(ids)):
                exist = {str(found) for found in connection.execute(queries.KNOWN_JOBS, {"ids": ids}).scalars()}
                foreign = [request for request in requests if request.effective_job_id not in exist]
                rows += _start_foreign(connection, foreign, mine) if foreign else []
            return rows

        started = {str(row.id): row for row in self._transactions.run(start)}
        # Two messages of one job in one group: the first gets it.
        return [_job(started.pop(job_id)) if job_id in started else None for job_id in ids]


def _free_jobs_of_gone_workers(connection: Connection) -> None:
    held_by = connection.execute(queries.BUSY_WORKERS).scalars().all()
    gone = [worker for worker in held_by if worker and is_gone(worker)]
    if gone:
        log.info("freeing the jobs of %d worker(s) of this machine that are gone", len(gone))
        connection.execute(queries.EXPIRE_LEASES, {"workers": gone})


def _start_foreign(connection: Connection, requests: list[LocateRequest], mine: dict[str, Any]) -> list[Any]:
    """Jobs that a producer sent straight to the workers, by task name: there is no row yet."""
    for name in sorted({request.collection for request in requests}):
        connection.execute(queries.ENSURE_COLLECTION, {"name": name})
    rows = orjson.dumps([_foreign_row(request) for request in requests]).decode()
    return list(connection.execute(queries.CLAIM_FOREIGN, {"rows": rows, **mine}))


def _foreign_row(request: LocateRequest) -> dict[str, Any]:
    return {
        "id": request.effective_job_id,
        "collection": request.collection,
        "uri": request.uri,
        "hints": request.hints.model_dump(exclude_none=True),
        "verify": request.verify,
        "priority": request.priority,
    }


def _job(row: Any) -> Job:
    return Job(str(row.id), row.uri, Hints(**row.hints), row.verify, row.attempts, row.losses)
