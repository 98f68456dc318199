"""Everything that could change an answer, and the one hash over it that each prediction keeps."""

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from sqlalchemy import Engine as SqlEngine

from schema import queries
from worker.identity import ModelIdentity
from worker.reason.engines import Sampling


@dataclass(frozen=True, slots=True)
class Versions:
    """Stored with each prediction, so that it can be explained later (invariant 7 of the design)."""

    pipeline_version: str
    model_version_id: int
    gate_version_id: int
    prompt_hash: str
    sampling: dict[str, Any]
    gazetteer_version: str
    code_version: str


def code_version() -> str:
    """The version of this package."""
    return version("globetag")


def record_versions(
    database: SqlEngine,
    *,
    model: ModelIdentity,
    gate: ModelIdentity,
    gate_threshold: float,
    prompt_hash: str,
    sampling: Sampling,
    gazetteer_version: str,
) -> Versions:
    """Writes the two models to `model_version` and returns all versions with the hash over them."""
    settings = asdict(sampling) | {"gate_threshold": gate_threshold}
    told = [
        model.name,
        model.version,
        gate.name,
        gate.version,
        prompt_hash,
        settings,
        gazetteer_version,
        code_version(),
    ]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    with database.begin() as connection:
        model_id, gate_id = (
            connection.execute(queries.ENSURE_MODEL_VERSION, asdict(identity)).scalar_one()
            for identity in (model, gate)
        )
    return Versions(
        pipeline_version=digest,
        model_version_id=model_id,
        gate_version_id=gate_id,
        prompt_hash=prompt_hash,
        sampling=settings,
        gazetteer_version=gazetteer_version,
        code_version=code_version(),
    )
