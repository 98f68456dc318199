"""Writes settled jobs, many threads' outcomes in one transaction (group commit), and finds earlier answers."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy.exc import DataError

from schema import queries
from schema.reasons import JobState, Reason, Status
from worker.batcher import Batcher
from worker.outcome import ImageRecord, Remembered, Settled
from worker.queue.patience import PatientTransactions
from worker.versions import Versions

log = logging.getLogger(__name__)

_MAX_GROUP = 128
_GATHER_S = 0.004  # a transaction costs the same for one row as for ten; nobody notices four milliseconds


class Recorder:
    """Stores outcomes. `save` returns after the commit: only then may the message be acknowledged."""

    def __init__(self, transactions: PatientTransactions, versions: Versions) -> None:
        self._transactions = transactions
        self._versions = versions
        self._parameters = {
            "pipeline_version": versions.pipeline_version,
            "model_version_id": versions.model_version_id,
            "gate_version_id": versions.gate_version_id,
            "prompt_hash": versions.prompt_hash,
            "sampling": orjson.dumps(versions.sampling).decode(),
            "gazetteer_version": versions.gazetteer_version,
            "code_version": versions.code_version,
        }
        self._outcomes: Batcher[Settled, None] = Batcher(
            self._write, name="recorder", max_size=_MAX_GROUP, max_wait_s=_GATHER_S
        )
        self._questions: Batcher[tuple[str, str], Remembered | None] = Batcher(
            self._look_up, name="answers", max_size=_MAX_GROUP, max_wait_s=_GATHER_S
        )

    def save(self, settled: Settled) -> None:
        """Returns once the outcome is committed.

        Raises `sqlalchemy.exc.OperationalError` when the database stays away for too long. An outcome that the
        database refuses (a defect) is stored as `internal_error` without its particulars.
        """
        try:
            self._outcomes.submit(settled)
        except (DataError, ValueError, TypeError) as error:
            log.exception("the outcome of job %s could not be stored", settled.job_id)
            detail = f"The outcome could not be stored ({type(error).__name__}); the worker's log has the details."
            bare = Settled(settled.job_id, JobState.FAILED, reason=Reason.INTERNAL_ERROR, detail=detail)
            self._outcomes.submit(bare)

    def find(self, sha256: str, request_hash: str) -> Remembered | None:
        """What is stored of this content: this pipeline's answer to this request, a label, an embedding."""
        return self._questions.submit((sha256, request_hash))

    def close(self) -> None:
        """Writes what was handed in, then stops."""
        self._outcomes.close()
        self._questions.close()

    def _write(self, group: list[Settled]) -> Sequence[None]:
        rows = orjson.dumps([self._row(n, settled) for n, settled in enumerate(group)]).decode()
        parameters = {"rows": rows, "ids": [settled.job_id for settled in group], **self._parameters}
        self._transactions.run(lambda c: c.execute(queries.SAVE, parameters))
        return [None] * len(group)

    def _row(self, n: int, settled: Settled) -> dict[str, Any]:
        return {
            "n": n,
            "job_id": settled.job_id,
            "state": settled.state,
            "outcome": settled.outcome,
            "reason": settled.reason,
            "detail": settled.detail,
            "reused": settled.reused,
            "retry_in_s": settled.retry_in_s,
            "image_id": settled.image_id,
            "prediction_id": settled.prediction_id,
            "image": self._image_row(settled.image) if settled.image else None,
            "label": settled.label,
            "prediction": settled.prediction,
            "trace": settled.trace,
        }

    def _image_row(self, image: ImageRecord) -> dict[str, Any]:
        embedding_D = image.embedding_D
        row = {name: getattr(image, name) for name in image.__slots__ if name != "embedding_D"}
        return row | {
            "embedding": None if embedding_D is None else _vector_text(embedding_D),
            "embedding_model_id": None if embedding_D is None else self._versions.gate_version_id,
        }

    def _look_up(self, asked: list[tuple[str, str]]) -> Sequence[Remembered | None]:
        rows = orjson.dumps([{"sha256": sha256, "request_hash": request} for sha256, request in asked]).decode()
        parameters = {
            "rows": rows,
            "gate_version_id": self._versions.gate_version_id,
            "pipeline_version": self._versions.pipeline_version,
        }
        found = self._transactions.run(lambda c: c.execute(queries.FIND_ANSWERS, parameters).all())
        known = {
            (row.sha256, row.request_hash): Remembered(
                image_id=row.image_id,
                prediction_id=row.prediction_id,
                status=Status(row.status) if row.status else None,
                has_label=row.known,
                is_embedded=bool(row.embedded),
            )
            for row in found
        }
        return [known.get(question) for question in asked]


def _vector_text(vector_D: NDArray[np.float32]) -> str:
    """pgvector's text form, `[0.1,0.2,…]`."""
    return orjson.dumps(vector_D, option=orjson.OPT_SERIALIZE_NUMPY).decode()
