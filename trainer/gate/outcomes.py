"""What a gate learns from: embeddings of photographs with known place, and how far off this pipeline's answer was.

"This pipeline" is the LVLM that serves, with the prompt of today. Photographs that the gate kept from it have no
outcome: where many were kept back, a head fitted to the others would think too well of their like, so they are
counted and reported. Photographs that a trained LVLM has learnt from are left out: it does better on them than on
any others.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy import Engine as SqlEngine

from schema import queries
from schema.reasons import Reason
from trainer.curate.cells import Grid
from trainer.curate.curate import unknown_collection
from trainer.curate.labels import Embedding, Known, Side, read_embeddings, read_known
from trainer.curate.rights import refusal
from trainer.gate.logistic import Floats
from worker import registry
from worker.errors import SetupError
from worker.identity import ModelIdentity
from worker.place.sphere import distance_km
from worker.reason.prompt import PROMPT_HASH

CELL_KM = 50.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """N photographs, by content hash. `km_N` is infinite where the pipeline gave no point.

    `pipeline` says whose outcomes they are; `left_out` counts photographs with known place that could not be used.
    """

    id_N: tuple[str, ...]
    embedding_N_D: NDArray[np.float32]
    km_N: Floats
    cell_N: tuple[str, ...]
    pipeline: str
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def data_hash(self) -> str:
        """Hexadecimal SHA-256 over all of it but the counts."""
        digest = hashlib.sha256("\n".join([self.pipeline, *self.id_N, *self.cell_N]).encode())
        digest.update(np.ascontiguousarray(self.km_N).tobytes())
        digest.update(np.ascontiguousarray(self.embedding_N_D).tobytes())
        return digest.hexdigest()


def read_outcomes(
    engine: SqlEngine, *, base: str, backbone: ModelIdentity, collection: str | None = None
) -> Outcomes:
    """What the database holds for the model that serves as `base` and the embeddings of `backbone`.

    May be empty. Raises `SetupError` where the collection is unknown or the model has not answered yet.
    """
    standing = registry.serving(engine, base)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        if collection is not None:
            names = connection.execute(queries.collections.COLLECTION_NAMES).scalars().all()
            if collection not in names:
                raise SetupError(unknown_collection(collection, names))
        model_id, version = (standing.id, standing.version) if standing else _base_version(connection, base)
        until = connection.execute(queries.curation.NEWEST_LABEL).scalar_one()
        rows = read_known(connection, until=int(until), collection=collection)
        answers = _answers(connection, model_id)
        left_out: Counter[str] = Counter()
        kept = [row for row in rows if row.inside and not _unusable(row, answers, standing is not None, left_out)]
        embeddings = read_embeddings(connection, [row.image_id for row in kept])
        backbone_id = _backbone_id(connection, backbone)
        refused = connection.execute(
            queries.curation.GATE_REFUSALS,
            {"model_version_id": model_id, "gate_reason": Reason.GATE_BELOW_THRESHOLD},
        ).scalar_one()
    kept = [row for row in kept if _has_embedding(embeddings.get(row.image_id), backbone_id, left_out)]
    if refused:
        left_out["kept back by the gate in earlier runs (whether they have a known place or not)"] = int(refused)
    grid = Grid(CELL_KM)
    vectors = [embeddings[row.image_id].vector_D for row in kept]
    return Outcomes(
        id_N=tuple(row.sha256 for row in kept),
        embedding_N_D=_unit(np.stack(vectors)) if vectors else np.zeros((0, 0), dtype=np.float32),
        km_N=np.array([_km(row, answers[row.image_id]) for row in kept], dtype=np.float64),
        cell_N=tuple(grid.cell(row.lat, row.lon) for row in kept),
        pipeline=f"{base}, model version {model_id} ({version}), prompt {PROMPT_HASH}",
        left_out=dict(left_out),
    )


def _base_version(connection: Connection, base: str) -> tuple[int, str]:
    row = connection.execute(queries.curation.BASE_VERSION, {"base": base}).one_or_none()
    if row is None:
        raise SetupError(
            f"GLOBETAG_MODEL={base} has not answered here yet, so there are no outcomes to learn from:"
            " `globetag run --verify` photographs whose place is known"
        )
    return int(row.id), str(row.version)


def _backbone_id(connection: Connection, backbone: ModelIdentity) -> int | None:
    given = {"kind": backbone.kind, "name": backbone.name, "version": backbone.version}
    return connection.execute(queries.curation.FIND_MODEL_VERSION, given).scalar_one_or_none()


def _answers(connection: Connection, model_id: int) -> dict[int, tuple[float, float] | None]:
    """By image: the point that the model's answer came to, None where it came to none."""
    given = {
        "model_version_id": model_id,
        "prompt_hash": PROMPT_HASH,
        "gate_reason": Reason.GATE_BELOW_THRESHOLD,
        "own_failure": Reason.UNPARSABLE,
    }
    found = connection.execute(queries.curation.GATE_OUTCOMES, given)
    return {row.image_id: None if row.lat is None else (row.lat, row.lon) for row in found}


def _unusable(row: Known, answers: Mapping[int, object], is_trained: bool, left_out: Counter[str]) -> bool:
    """Counts why a photograph may not or cannot be learnt from."""
    rights = refusal(row.data_mining, consented=row.consented)
    if rights is not None:
        left_out[rights.sentence] += 1
    elif is_trained and row.before is Side.TRAIN:
        left_out["the model that serves may have learnt from it"] += 1
    elif row.image_id not in answers:
        left_out["the model that serves was not asked about it (`--verify` asks)"] += 1
    else:
        return False
    return True


def _has_embedding(found: Embedding | None, backbone_id: int | None, left_out: Counter[str]) -> bool:
    if found is None:
        left_out["no embedding is stored"] += 1
    elif found.model_id != backbone_id:
        left_out["its embedding is another backbone's"] += 1
    elif not np.isfinite(found.vector_D).all() or not found.vector_D.any():
        left_out["its embedding is no direction"] += 1
    else:
        return True
    return False


def _km(row: Known, point: tuple[float, float] | None) -> float:
    return math.inf if point is None else distance_km(row.lat, row.lon, *point)


def _unit(vectors_N_D: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stored as halves, so that their lengths are a little off 1."""
    return np.asarray(vectors_N_D / np.linalg.norm(vectors_N_D, axis=1, keepdims=True), dtype=np.float32)
