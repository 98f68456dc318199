"""Makes a calibration of the archive and stores it: for the command, and for what renews by itself."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine as SqlEngine

from trainer.calibrate.archive import FromArchive, read_archive
from trainer.calibrate.check import Checked, cross_validate
from trainer.calibrate.fit import Parameters, fit
from trainer.calibrate.report import figures_of
from worker.calibrations import add
from worker.place.radius import RadiusModel
from worker.registry import Registered


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A calibration, and what it keeps on photographs that it has not seen. Not stored yet."""

    found: FromArchive
    model: RadiusModel
    checked: Checked
    parameters: Parameters
    collection: str | None


def make(
    engine: SqlEngine,
    parameters: Parameters,
    *,
    base: str,
    serving: Registered | None,
    collection: str | None,
    answers_version: str | None = None,
) -> Made:
    """Calibrates what serves with GLOBETAG_MODEL=`base` on the archive's answers, or on those of a collection.

    `answers_version`: on these answers and no others; None: on the latest. Raises `SetupError` with counts where
    they do not suffice.
    """
    found = read_archive(
        engine, base=base, serving=serving, collection=collection, answers_version=answers_version
    )
    return make_of(found, parameters, collection)


def make_of(found: FromArchive, parameters: Parameters, collection: str | None) -> Made:
    """The same of answers that were read already."""
    model = fit(found.sample, parameters)
    return Made(found, model, cross_validate(found.sample, parameters), parameters, collection)


def store(engine: SqlEngine, made: Made, *, days: int) -> int:
    """Stores it, in force from now on for `days`; running workers take it up by themselves. Returns its id."""
    told = [made.found.answers_version, made.collection, made.model.to_json(), datetime.now(UTC).isoformat()]
    return add(
        engine,
        made.model,
        version=hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16],
        model_version_id=made.found.model_version_id,
        answers_version=made.found.answers_version,
        collection=made.collection,
        photographs=made.found.sample.n,
        clusters=made.found.sample.clusters,
        figures={**figures_of(made.model, made.checked), "seed": made.parameters.seed},
        days=days,
    )
