"""What a worker does with a message: claim the job, settle it, store the outcome, stay known as alive."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.messages import LocateRequest
from worker.backoff import Backoff, settled_as
from worker.errors import Draining, JobError, MessageError
from worker.outcome import Job, Suspect
from worker.queue.floor import Floor
from worker.queue.patience import PatientTransactions, first_line
from worker.queue.presence import is_gone
from worker.queue.recorder import Recorder
from worker.serving import Serving, ServingClosed, Watcher

log = logging.getLogger(__name__)


class Service:
    """One worker process. `handle` is called by the pool's threads, one message each."""

    def __init__(
        self,
        transactions: PatientTransactions,
        serving: Serving,
        recorder: Recorder,
        *,
        lease_s: float,
        watcher: Watcher | None = None,
        condemn: Callable[[str], JobError | None] = lambda _: None,
        backoff: Backoff | None = None,
    ) -> None:
        """`watcher`: exchanges what serves when something else is promoted; None: the model stays.

        `condemn` says of a photograph that a worker died with why it is not to be worked on now, if it is not to
        be; `backoff`, when it is tried again where that may pass.
        """
        self.worker = recorder.worker
        self._transactions = transactions
        self._serving = serving
        self._recorder = recorder
        self._watcher = watcher
        self._condemn = condemn
        self._backoff = backoff or Backoff()
        self.floor = Floor()
        self._suspects: set[str] = set()
        self._lease_s = lease_s
        self._messages = 0
        self._jobs: set[str] = set()
        self._changed = threading.Condition()
        self._draining = False
        self._stopping = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Frees what dead processes of this machine held, keeps its own leases alive, and watches promotions."""
        self._transactions.run(_free_jobs_of_gone_workers)
        self._heartbeat.start()
        if self._watcher is not None:
            self._watcher.start()

    def handle(self, fields: dict[str, Any]) -> None:
        """Works on one message; returns when its outcome is committed, or when there is nothing to do.

        Raises `MessageError` for fields that make no job, `Draining` where nothing is begun any more, and what the
        database raises when it stays away.
        """
        self._check_that_work_begins()
        try:
            request = LocateRequest.read(fields)
        except ValueError as error:
            raise MessageError(str(error)) from None
        job_id = request.effective_job_id
        with self._changed:
            self._messages += 1
        try:
            with self.floor.together():
                self._check_that_work_begins()
                found = self._recorder.claim(request)
                if isinstance(found, Job):
                    self._work(found)
            if isinstance(found, Suspect):
                self._try(request, found)
            elif found is None:
                log.debug("job %s is taken or settled; nothing to do", job_id)
        finally:
            with self._changed:
                self._messages -= 1
                self._changed.notify_all()

    def stop_taking(self) -> None:
        """Begins nothing more: each lane may have handed the pool as many messages as it has threads."""
        self._draining = True

    def _check_that_work_begins(self) -> None:
        if self._draining:
            raise Draining

    def _work(self, job: Job, refusal: JobError | None = None) -> None:
        with self._changed:
            self._jobs.add(job.id)
        try:
            # One lease for the whole line: the look-up, the model and the stored row are of one version.
            with self._serving.lease() as line:
                line.save(line.settle(job) if refusal is None else settled_as(job, refusal, self._backoff))
        except ServingClosed:
            log.info("job %s waited for a model when the worker stopped; it goes back", job.id)
        finally:
            with self._changed:
                self._jobs.discard(job.id)

    def _try(self, request: LocateRequest, suspect: Suspect) -> None:
        """Fetches and probes the photograph, and works on it while nothing else is in work here but its like.

        It is claimed only then: a process that dies before that dies of something else. A refusal needs no such
        peace, as nothing is opened: so a host that answers nobody does not make the others wait.
        """
        with self._changed:
            if suspect.id in self._suspects:
                return  # a second message of the same job
            self._suspects.add(suspect.id)
        try:
            refusal = self._condemn(suspect.uri)
            with self._place_of(suspect) if refusal is None else self.floor.together():
                self._check_that_work_begins()
                job = self._recorder.claim_suspect(request)
                if job is not None:
                    self._work(job, refusal)
        finally:
            with self._changed:
                self._suspects.discard(suspect.id)
                if not self._suspects:
                    self.floor.begin_anew()

    def _place_of(self, suspect: Suspect) -> AbstractContextManager[None]:
        """Only one worker died with it: among others of which that is true. Else alone."""
        return self.floor.among_suspects() if suspect.losses == 1 else self.floor.alone()

    def wait_until_idle(self, timeout_s: float | None = None) -> bool:
        """Returns True once no message is in work, False after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._messages == 0, timeout_s)

    def close(self) -> None:
        """Gives back what was started and not finished, and stops. Call it after the consumer has stopped."""
        self._stopping.set()
        self._transactions.give_up()
        if self._watcher is not None:
            self._watcher.stop()
        self._serving.stop()
        self._recorder.close()
        if self._heartbeat.is_alive():
            self._heartbeat.join()
        try:
            self._transactions.run(lambda c: c.execute(queries.jobs.RELEASE, {"worker": self.worker}))
        except SQLAlchemyError:
            log.warning("the database is away; unfinished jobs return when their leases run out")

    def _beat(self) -> None:
        """Extends the leases of the jobs that are in work here; a claim that got lost on its way runs out."""
        while not self._stopping.wait(self._lease_s / 4):
            with self._changed:
                in_work = {"lease_s": self._lease_s, "worker": self.worker, "ids": list(self._jobs)}
            try:
                self._transactions.run(partial(_extend, in_work))
            except SQLAlchemyError as error:
                log.warning("the leases could not be extended: %s", first_line(error))


def _extend(in_work: dict[str, Any], connection: Connection) -> None:
    connection.execute(queries.jobs.EXTEND_LEASES, in_work)


def _free_jobs_of_gone_workers(connection: Connection) -> None:
    held_by = connection.execute(queries.jobs.BUSY_WORKERS).scalars().all()
    gone = [worker for worker in held_by if worker and is_gone(worker)]
    if gone:
        log.info("freeing the jobs of %d worker(s) of this machine that are gone", len(gone))
        connection.execute(queries.jobs.EXPIRE_LEASES, {"workers": gone})
