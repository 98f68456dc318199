"""All that a worker's threads ask of Postgres, many threads' errands in one transaction (group commit).

A thread has three errands in the life of a job: claim it, ask for earlier answers, save the outcome. A transaction
costs about the same for one row as for thirty, so whatever the threads bring within a few milliseconds shares one.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from schema import queries
from schema.messages import LocateRequest
from schema.reasons import JobState, Reason, Status
from worker.batcher import Batcher
from worker.outcome import ImageRecord, Job, Remembered, Settled, Suspect
from worker.queue.claims import claim
from worker.queue.patience import PatientTransactions
from worker.queue.presence import worker_id
from worker.versions import Versions

log = logging.getLogger(__name__)

_MAX_GROUP = 128
_GATHER_S = 0.004


class Ledger:
    """What one version of the pipeline has answered, and answers now. Thread-safe; returns after the commit."""

    def __init__(self, recorder: "Recorder", versions: Versions) -> None:
        self.versions = versions
        self.parameters = {
            "pipeline_version": versions.pipeline_version,
            "model_version_id": versions.model_version_id,
            "gate_version_id": versions.gate_version_id,
            "prompt_hash": versions.prompt_hash,
            "sampling": orjson.dumps(versions.sampling).decode(),
            "gazetteer_version": versions.gazetteer_version,
            "code_version": versions.code_version,
            "answers_version": versions.answers_version,
        }
        self._recorder = recorder

    def find(self, sha256: str, request_hash: str) -> Remembered | None:
        """What is stored of this content: this pipeline's answer to this request, a label, an embedding."""
        found: Remembered | None = self._recorder.run(_Question(self, sha256, request_hash))
        return found

    def save(self, settled: Settled) -> None:
        """Stores how a job ended, as this version's. Once it returns, the message may be acknowledged.

        An outcome that the database refuses (a defect) is stored as `internal_error` without its particulars.
        """
        try:
            self._recorder.run(_Outcome(self, settled))
        except (DataError, IntegrityError, ValueError, TypeError) as error:
            log.exception("the outcome of job %s could not be stored", settled.job_id)
            detail = f"The outcome could not be stored ({type(error).__name__}); the worker's log has the details."
            bare = Settled(settled.job_id, JobState.FAILED, reason=Reason.INTERNAL_ERROR, detail=detail)
            self._recorder.run(_Outcome(self, bare))


@dataclass(frozen=True, slots=True)
class _Question:
    ledger: Ledger
    sha256: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    ledger: Ledger
    settled: Settled


@dataclass(frozen=True, slots=True)
class _Apart:
    """A claim of a job that a worker died with, by one that has none but such in work now."""

    request: LocateRequest


_Errand = LocateRequest | _Apart | _Outcome | _Question


class Recorder:
    """Claims jobs, and runs the errands of its ledgers. Thread-safe; every call returns after its commit."""

    def __init__(
        self,
        transactions: PatientTransactions,
        *,
        lease_s: float = 60.0,
        threads: int | None = None,
    ) -> None:
        """`threads`: how many will call; once all of them wait, nobody else is waited for."""
        self.worker = worker_id()
        self._lease_s = lease_s
        self._transactions = transactions
        self._errands: Batcher[_Errand, Any] = Batcher(
            self._run, name="recorder", max_size=_MAX_GROUP, max_wait_s=_GATHER_S, expected=threads
        )

    def claim(self, request: LocateRequest) -> Job | Suspect | None:
        """Starts the job that a message names; None where it is taken or settled, so there is nothing to do.

        A job that a worker died with is named and not started. Raises `sqlalchemy.exc.OperationalError` when the
        database stays away for too long, as all methods do.
        """
        found: Job | Suspect | None = self.run(request)
        return found

    def claim_suspect(self, request: LocateRequest) -> Job | None:
        """Starts a job that a worker died with, for a caller that has none but such in work."""
        job: Job | None = self.run(_Apart(request))
        return job

    def ledger(self, versions: Versions) -> Ledger:
        """Finds and saves for one version of the pipeline. Several may be in use at once."""
        return Ledger(self, versions)

    def run(self, errand: _Errand) -> Any:
        """Runs an errand in one transaction with those that other threads bring meanwhile; returns its result."""
        return self._errands.submit(errand)

    def close(self) -> None:
        """Runs what was handed in, then stops. A database that is away is waited for no longer."""
        self._transactions.give_up()
        self._errands.close()

    def _run(self, errands: list[_Errand]) -> Sequence[Any]:
        return self._transactions.run(lambda connection: self._share(connection, errands))

    def _share(self, connection: Connection, errands: list[_Errand]) -> list[Any]:
        """Runs all errands of a kind with one statement; questions last, so that they see what is saved.

        While a model is exchanged, errands of two versions may meet here: each version has its own statement.
        """
        results: list[Any] = [None] * len(errands)
        ledgers = {errand.ledger for errand in errands if isinstance(errand, _Outcome | _Question)}
        kinds: list[tuple[type, Ledger | None, Callable[[Connection, list[Any]], Sequence[Any]]]] = [
            (LocateRequest, None, self._claim),
            (_Apart, None, self._claim_suspects),
            *((_Outcome, ledger, partial(_save, ledger)) for ledger in ledgers),
            *((_Question, ledger, partial(_find, ledger)) for ledger in ledgers),
        ]
        for kind, ledger, run in kinds:
            places = [
                place
                for place, errand in enumerate(errands)
                if isinstance(errand, kind) and getattr(errand, "ledger", None) is ledger
            ]
            if places:
                answers = run(connection, [errands[place] for place in places])
                for place, answer in zip(places, answers, strict=True):
                    results[place] = answer
        return results

    def _claim(self, connection: Connection, requests: list[LocateRequest]) -> Sequence[Job | Suspect | None]:
        return claim(connection, requests, worker=self.worker, lease_s=self._lease_s)

    def _claim_suspects(self, connection: Connection, wanted: list[_Apart]) -> Sequence[Job | Suspect | None]:
        requests = [each.request for each in wanted]
        return claim(connection, requests, worker=self.worker, lease_s=self._lease_s, suspects=True)


def _save(ledger: Ledger, connection: Connection, group: list[_Outcome]) -> Sequence[None]:
    rows = orjson.dumps([_row(n, each.settled, ledger.versions) for n, each in enumerate(group)]).decode()
    ids = [each.settled.job_id for each in group]
    connection.execute(queries.jobs.SAVE, {"rows": rows, "ids": ids, **ledger.parameters})
    return [None] * len(group)


def _find(ledger: Ledger, connection: Connection, questions: list[_Question]) -> Sequence[Remembered | None]:
    asked = [{"sha256": question.sha256, "request_hash": question.request_hash} for question in questions]
    found = connection.execute(
        queries.jobs.FIND_ANSWERS,
        {
            "rows": orjson.dumps(asked).decode(),
            "embedding_model_id": ledger.versions.embedding_model_id,
            "pipeline_version": ledger.versions.pipeline_version,
        },
    )
    known = {
        (row.sha256, row.request_hash): Remembered(
            image_id=row.image_id,
            prediction_id=row.prediction_id,
            status=Status(row.status) if row.status else None,
            has_label=row.known,
            is_embedded=bool(row.embedded),
            is_forgotten=row.forgotten,
        )
        for row in found
    }
    return [known.get((question.sha256, question.request_hash)) for question in questions]


def _row(n: int, settled: Settled, versions: Versions) -> dict[str, Any]:
    return {
        "n": n,
        "job_id": settled.job_id,
        "state": settled.state,
        "outcome": settled.outcome,
        "reason": settled.reason,
        "detail": settled.detail,
        "reused": settled.reused,
        "retry_in_s": settled.retry_in_s,
        "untried": settled.untried,
        "image_id": settled.image_id,
        "prediction_id": settled.prediction_id,
        "image": _image_row(settled.image, versions) if settled.image else None,
        "label": settled.label,
        "prediction": settled.prediction,
        "trace": settled.trace,
    }


def _image_row(image: ImageRecord, versions: Versions) -> dict[str, Any]:
    embedding_D = image.embedding_D
    row = {name: getattr(image, name) for name in image.__slots__ if name != "embedding_D"}
    return row | {
        "embedding": None if embedding_D is None else _vector_text(embedding_D),
        "embedding_model_id": None if embedding_D is None else versions.embedding_model_id,
    }


def _vector_text(vector_D: NDArray[np.float32]) -> str:
    """pgvector's text form, `[0.1,0.2,…]`."""
    return orjson.dumps(vector_D, option=orjson.OPT_SERIALIZE_NUMPY).decode()
