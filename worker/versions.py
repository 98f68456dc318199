"""Everything that could change an answer, and the one hash over it that each prediction keeps."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from sqlalchemy import Connection

from schema import queries
from worker.calibrations import NO_CALIBRATIONS, Calibrations, in_force
from worker.identity import ModelIdentity
from worker.reason.engines import Sampling


@dataclass(frozen=True, slots=True)
class Versions:
    """Stored with each prediction, so that it can be explained later (invariant 7 of the design).

    `answers_version` is the hash over all that comes before the calibrations, `pipeline_version` that with them;
    the same where there are none. `embedding_model_id` is the gate's backbone; it is stored with each embedding.
    """

    pipeline_version: str
    model_version_id: int
    gate_version_id: int
    embedding_model_id: int
    prompt_hash: str
    sampling: dict[str, Any]
    gazetteer_version: str
    code_version: str
    answers_version: str | None = None
    calibrations: Calibrations = NO_CALIBRATIONS


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
    rules: Mapping[str, Any] | None = None,
) -> Versions:
    """Writes the models to `model_version` and returns all versions with the hash over them.

    `rules` are further settings that may change an answer, as JSON; they are stored with `sampling`.
    The calibrations are those that are in force now.

    Weights that are registered have one row, whatever folder name they were loaded by, and count under its name.
    """
    settings = asdict(sampling) | {"gate_threshold": gate_threshold} | dict(rules or {})
    if model.loaded_as:
        settings |= {"loaded_as": model.loaded_as}
    (model_id, model_name), (gate_id, gate_name) = (_ensure(connection, each) for each in (model, gate))
    embedding_model_id = gate_id if gate.backbone is None else _ensure(connection, gate.backbone)[0]
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
    answers_version = _digest(told)
    calibrations = in_force(connection, answers_version)
    calibrated = [answers_version, *calibrations.versions]
    return Versions(
        pipeline_version=_digest(calibrated) if calibrations.versions else answers_version,
        model_version_id=model_id,
        gate_version_id=gate_id,
        embedding_model_id=embedding_model_id,
        prompt_hash=prompt_hash,
        sampling=settings,
        gazetteer_version=gazetteer_version,
        code_version=code_version(),
        answers_version=answers_version,
        calibrations=calibrations,
    )


def _digest(told: list[Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _ensure(connection: Connection, identity: ModelIdentity) -> tuple[int, str]:
    """The id and the name of the model's row."""
    connection.execute(queries.models.WEIGHTS_LOCK, {"version": identity.version})
    columns = {name: getattr(identity, name) for name in ("kind", "name", "version", "untrained")}
    row = connection.execute(queries.models.ENSURE_MODEL_VERSION, columns).one()
    return row.id, row.name
