"""Which calibrations of the radius are in force for a worker's answers.

A calibration is good for one version of the answers (model, gate, prompt, sampling, gazetteer, code): after a
promotion, or with other settings, those of before are not found any more, and radii are nominal until somebody
calibrates anew. The same holds once a calibration has expired. A collection's own counts before the one for all.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import Engine as SqlEngine

from schema import queries
from worker.errors import SetupError
from worker.place.radius import RadiusModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Calibrations:
    """`by_collection`: the key None has the one for collections without their own.

    `versions` name all that are in force, also one that cannot be read and so gives no radii.
    """

    versions: tuple[str, ...] = ()
    by_collection: Mapping[str | None, RadiusModel] = field(default_factory=dict)

    def of(self, collection: str | None) -> RadiusModel | None:
        """What gives the radii of a collection's photographs. None: nothing does, radii are nominal."""
        return self.by_collection.get(collection) or self.by_collection.get(None)

    @property
    def told(self) -> str:
        """For the log."""
        if not self.by_collection:
            return "none is in force, radii are nominal and state no coverage"
        named = (
            f"{model.calibration_id} for {collection or 'all others'}"
            for collection, model in self.by_collection.items()
        )
        return ", ".join(named)


NO_CALIBRATIONS = Calibrations()


@dataclass(frozen=True, slots=True)
class Standing:
    """Row of the view `calibration_standing`. `standing`: in force, superseded, expired or other answers."""

    calibration_id: int
    collection: str | None
    model: str
    coverage: float
    photographs: int | None
    clusters: int | None
    created_at: datetime
    expires_at: datetime | None
    standing: str
    predictions: int
    figures: Mapping[str, Any]


def in_force(connection: Connection, answers_version: str) -> Calibrations:
    """Those for these answers. One that this version of Globetag cannot read is left out, and the log says so."""
    models: dict[str | None, RadiusModel] = {}
    versions = []
    for row in connection.execute(queries.calibration.CALIBRATIONS_IN_FORCE, {"answers_version": answers_version}):
        versions.append(row.version)
        try:
            model = RadiusModel.from_json(row.parameters, calibration_id=row.id)
        except ValueError as error:
            log.error("calibration %d is not used: %s; calibrate anew", row.id, error)
            continue
        models[row.collection] = model
    return Calibrations(tuple(versions), models)


def versions_in_force(connection: Connection, answers_version: str) -> tuple[str, ...]:
    """Their versions alone: to see whether they have changed."""
    rows = connection.execute(queries.calibration.CALIBRATIONS_IN_FORCE, {"answers_version": answers_version})
    return tuple(row.version for row in rows)


def add(
    engine: SqlEngine,
    model: RadiusModel,
    *,
    version: str,
    model_version_id: int,
    answers_version: str,
    collection: str | None,
    photographs: int,
    clusters: int,
    figures: Mapping[str, Any],
    days: int,
) -> int:
    """Stores a calibration, which is in force from now on for `days`; running workers take it up by themselves.

    Returns its id. Raises `SetupError` for a collection that is not there.
    """
    with engine.begin() as connection:
        if (
            collection is not None
            and collection not in connection.scalars(queries.collections.COLLECTION_NAMES).all()
        ):
            raise SetupError(f"there is no collection {collection!r}")
        calibration_id = connection.execute(
            queries.calibration.ADD_CALIBRATION,
            {
                "model_version_id": model_version_id,
                "version": version,
                "coverage": model.coverage,
                "parameters": json.dumps(model.to_json(), allow_nan=False),
                "collection": collection,
                "answers_version": answers_version,
                "photographs": photographs,
                "clusters": clusters,
                "figures": json.dumps(dict(figures), allow_nan=False),
                "days": days,
            },
        ).scalar_one()
        connection.execute(queries.models.NOTIFY_MODELS)
    return int(calibration_id)


def standings(engine: SqlEngine, limit: int) -> list[Standing]:
    """All calibrations, the latest first."""
    with engine.connect() as connection:
        rows = connection.execute(queries.calibration.LIST_CALIBRATIONS, {"limit": limit}).all()
    return [Standing(**{name: getattr(row, name) for name in Standing.__slots__}) for row in rows]
