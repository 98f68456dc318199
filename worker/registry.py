"""The registry: which trained models there are, which of them serves, and how that changed.

A trained model is a complete checkpoint folder whose files' hashes are kept in its row of `model_version`. What
serves workers with one GLOBETAG_MODEL (the base) is the newest row of `promotion` for it; rows are only added.
Nothing here loads a model, and nothing is copied: the folder stays where it is, and every worker must reach it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy import Engine as SqlEngine

from schema import queries
from worker.checkpoints import MODEL_SUFFIXES, Checkpoint
from worker.errors import SetupError


@dataclass(frozen=True, slots=True)
class Registered:
    """A row of `model_version`. `base`, `folder` and `files` (name: SHA-256) are None where it only answered."""

    id: int
    kind: str
    name: str
    version: str
    untrained: bool
    base: str | None
    folder: Path | None
    files: Mapping[str, str] | None
    parent_id: int | None
    training_run_id: int | None
    curation_id: int | None
    metrics: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """The promotion that counts for a base: what serves (None: the base itself), since when, by whom and why."""

    promotion_id: int
    registered: Registered | None
    action: str
    by: str
    reason: str
    since: datetime


def register(
    engine: SqlEngine,
    folder: Path,
    *,
    base: str,
    parent_id: int | None,
    training_run_id: int | None,
    curation_id: int | None,
    metrics: Mapping[str, Any],
) -> Registered:
    """Writes a checkpoint folder to the registry and returns its version; it serves nobody yet.

    Reads every file once, for its hash. Weights are known by their fingerprint: those that have answered here
    before keep their row, and registering them again, also from another folder, changes nothing but where they
    lie. Raises `SetupError` where the folder holds no checkpoint, or weights that belong to another base.
    """
    folder = folder.absolute()
    files = hash_files(folder)
    if not any(name.endswith(".safetensors") for name in files):
        raise SetupError(f"{folder} holds no safetensors weights; give the folder of a complete checkpoint")
    checkpoint = Checkpoint(str(folder), folder, None)
    version = checkpoint.version
    with engine.begin() as connection:
        connection.execute(queries.models.WEIGHTS_LOCK, {"version": version})
        known = connection.execute(queries.models.FIND_WEIGHTS, {"version": version}).one_or_none()
        if known is not None and known.base not in (None, base):
            raise SetupError(
                f"the weights in {folder} are model version {known.id} already, registered for"
                f" GLOBETAG_MODEL={known.base}; weights belong to one base"
            )
        if known is None:
            row = {"name": checkpoint.name, "version": version, "untrained": checkpoint.untrained}
            version_id = connection.execute(queries.models.ADD_WEIGHTS, row).scalar_one()
        else:
            version_id = known.id
        connection.execute(
            queries.models.REGISTER_WEIGHTS,
            {
                "id": version_id,
                "base": base,
                "folder": str(folder),
                "files": json.dumps(files),
                "card": json.dumps(checkpoint.card),
                "metrics": json.dumps(dict(metrics)),
                "parent_id": parent_id,
                "training_run_id": training_run_id,
                "curation_id": curation_id,
            },
        )
        return _read(connection, version_id)


def serving(engine: SqlEngine, base: str) -> Registered | None:
    """What is promoted for workers whose GLOBETAG_MODEL is `base`; None: the base itself serves."""
    standing = look(engine, base)
    return standing.registered if standing else None


def look(engine: SqlEngine, base: str) -> Standing | None:
    """The promotion or rollback that counts for `base`; None where there was none yet."""
    with engine.connect() as connection:
        row = connection.execute(queries.models.SERVING, {"base": base}).one_or_none()
        if row is None:
            return None
        registered = None if row.model_version_id is None else _read(connection, row.model_version_id)
    return Standing(row.promotion_id, registered, row.action, row.by, row.reason, row.since)


def promote(
    engine: SqlEngine, version_id: int, *, base: str, by: str, reason: str, evidence: Mapping[str, Any]
) -> None:
    """Lets a registered version serve the workers of `base` from now on; those that run change over by themselves.

    Reads the version's files once more: raises `SetupError`, and changes nothing, where they are not those that
    were registered, or where there is no such version for this base. Promoting what serves already is allowed:
    workers that could not load it try again.
    """
    with engine.connect() as connection:
        registered = _read(connection, version_id)
    if registered.base != base:
        belongs = f"belongs to GLOBETAG_MODEL={registered.base}" if registered.base else "is not registered"
        raise SetupError(
            f"model version {version_id} {belongs} and cannot be promoted for GLOBETAG_MODEL={base};"
            " `globetag models list` shows those that can"
        )
    check_files(registered)
    with engine.begin() as connection:
        served = _served(connection, base)
        _add(connection, base, version_id, served[-1], "promote", by, reason, evidence)


def rollback(engine: SqlEngine, *, base: str, by: str, reason: str, to_base: bool = False) -> Registered | None:
    """Lets the version before serve again, and returns it; None: the base itself, at once with `to_base`.

    A second rollback goes one further back, until the base serves. Raises `SetupError` where it does already, or
    where the files of the version before are no longer those that were registered.
    """
    with engine.begin() as connection:
        served = _served(connection, base)
        if len(served) == 1:
            raise SetupError(
                f"nothing is promoted for GLOBETAG_MODEL={base}: there is nothing to roll back to;"
                " `globetag models promote` chooses a version"
            )
        before = None if to_base else served[-2]
        registered = None if before is None else _read(connection, before)
        if registered is not None:
            check_files(registered)
        _add(connection, base, before, served[-1], "rollback", by, reason, {})
    return registered


def registered_for(engine: SqlEngine, base: str) -> list[tuple[Registered, int]]:
    """The versions that are registered for `base`, each with how many predictions it has made."""
    with engine.connect() as connection:
        rows = connection.execute(queries.models.LIST_REGISTERED, {"base": base}).all()
    return [(_registered(row), row.predictions) for row in rows]


def read_version(engine: SqlEngine, version_id: int) -> Registered:
    """One version. Raises `SetupError` where there is none with this number."""
    with engine.connect() as connection:
        return _read(connection, version_id)


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in `folder` that a loader may read, by name. Raises `SetupError` without a folder."""
    if not folder.is_dir():
        raise SetupError(f"{folder} is no folder; give the folder of a complete checkpoint")
    hashes = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in MODEL_SUFFIXES and path.is_file():
            with path.open("rb") as stream:
                hashes[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes


def check_files(registered: Registered) -> None:
    """Raises `SetupError`, which names the files, unless the folder holds exactly what was registered."""
    assert registered.folder is not None and registered.files is not None
    what = f"model version {registered.id} cannot serve"
    mend = "put the registered files back, or train again"
    if not registered.folder.is_dir():
        raise SetupError(f"{what}: its folder {registered.folder} is gone; {mend}")
    found = hash_files(registered.folder)
    wrong = [f"{name} is gone" for name in sorted(registered.files.keys() - found.keys())]
    wrong += [f"{name} was added" for name in sorted(found.keys() - registered.files.keys())]
    kept = sorted(found.keys() & registered.files.keys())
    wrong += [f"{name} has changed" for name in kept if found[name] != registered.files[name]]
    if wrong:
        raise SetupError(f"{what}: in {registered.folder} {', '.join(wrong)} since it was registered; {mend}")


def _served(connection: Connection, base: str) -> list[int | None]:
    """What has served, the base (None) first, without what was rolled back; the last one serves now.

    Holds the base's lock until the transaction ends, so that two promotions come one after the other.
    """
    connection.execute(queries.models.PROMOTION_LOCK, {"base": base})
    served: list[int | None] = [None]
    for row in connection.execute(queries.models.PROMOTIONS, {"base": base}):
        if row.action == "promote":
            if served[-1] != row.model_version_id:
                served.append(row.model_version_id)
        else:
            served.pop()
            while served[-1] != row.model_version_id:
                served.pop()
    return served


def _add(
    connection: Connection,
    base: str,
    version_id: int | None,
    previous_id: int | None,
    action: str,
    by: str,
    reason: str,
    evidence: Mapping[str, Any],
) -> None:
    connection.execute(
        queries.models.ADD_PROMOTION,
        {
            "base": base,
            "model_version_id": version_id,
            "previous_id": previous_id,
            "action": action,
            "by": by,
            "reason": reason,
            "evidence": json.dumps(dict(evidence)),
        },
    )
    connection.execute(queries.models.NOTIFY_MODELS)


def _read(connection: Connection, version_id: int) -> Registered:
    row = connection.execute(queries.models.READ_VERSION, {"id": version_id}).one_or_none()
    if row is None:
        raise SetupError(
            f"there is no model version {version_id}; `globetag models list` shows all that there are"
        )
    return _registered(row)


def _registered(row: Row[Any]) -> Registered:
    return Registered(
        id=row.id,
        kind=row.kind,
        name=row.name,
        version=row.version,
        untrained=row.untrained,
        base=row.base,
        folder=None if row.folder is None else Path(row.folder),
        files=row.files,
        parent_id=row.parent_id,
        training_run_id=row.training_run_id,
        curation_id=row.curation_id,
        metrics=row.metrics,
        created_at=row.created_at,
    )
