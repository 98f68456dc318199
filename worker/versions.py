"""Everything that could change an answer, and the one hash over it that each prediction keeps."""

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from sqlalchemy import Connection

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
    connection: Connection,
    *,
    model: ModelIdentity,
    gate: ModelIdentity,
    gate_threshold: float,
    prompt_hash: str,
    sampling: Sampling,
    gazetteer_version: str,
) -> Versions:
    """Writes the two models to `model_version` and returns all versions with the hash over them.

    Weights that are registered have one row, whatever folder name they were loaded by, and count under its name.
    """
    settings = asdict(sampling) | {"gate_threshold": gate_threshold}
    if model.loaded_as:
        settings |= {"loaded_as": model.loaded_as}
    (model_id, model_name), (gate_id, gate_name) = (_ensure(connection, each) for each in (model, gate))
    told = [
        model_name,
        model.version,
        gate_name,
        gate.version,
        prompt_hash,
        settings,
        gazetteer_version,
        code_version(),
    ]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return Versions(
        pipeline_version=digest,
        model_version_id=model_id,
        gate_version_id=gate_id,
        prompt_hash=prompt_hash,
        sampling=settings,
        gazetteer_version=gazetteer_version,
        code_version=code_version(),
    )


def _ensure(connection: Connection, identity: ModelIdentity) -> tuple[int, str]:
    """The id and the name of the model's row."""
    connection.execute(queries.WEIGHTS_LOCK, {"version": identity.version})
    columns = {name: getattr(identity, name) for name in ("kind", "name", "version", "untrained")}
    row = connection.execute(queries.ENSURE_MODEL_VERSION, columns).one()
    return row.id, row.name
