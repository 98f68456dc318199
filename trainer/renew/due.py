"""Which calibrations what serves is without, and how those before them were made."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from schema import queries
from trainer.calibrate.fit import Parameters
from worker.registry import Standing

Cause = Literal["promotion", "expiry", "settings"]

_DAYS = 365


@dataclass(frozen=True, slots=True)
class Serves:
    """What answers, as it is known in the database.

    `model_version_id`: None while the base itself serves and has never answered here. `answers_version`: of its
    newest answers, None while there are none.
    """

    base: str
    standing: Standing | None
    model_version_id: int | None
    untrained: bool
    answers_version: str | None

    @property
    def registered_id(self) -> int | None:
        """As the registry has it: None is the base itself."""
        registered = self.standing.registered if self.standing else None
        return None if registered is None else registered.id


@dataclass(frozen=True, slots=True)
class Due:
    """A calibration to make, in force for `days`. `collection` None: for all that have none of their own."""

    collection: str | None
    parameters: Parameters
    days: int

    @property
    def scope(self) -> str:
        """For people."""
        return self.collection or "all others"


def what_serves(connection: Connection, base: str, standing: Standing | None) -> Serves:
    """What answers with GLOBETAG_MODEL=`base`; `standing` is what the registry says of it."""
    registered = standing.registered if standing else None
    version_id: int | None
    if registered is not None:
        version_id, untrained = registered.id, registered.untrained
    else:
        row = connection.execute(queries.renewal.BASE_ITSELF, {"base": base}).one_or_none()
        version_id, untrained = (None, False) if row is None else (row.id, row.untrained)
    answers = connection.execute(queries.renewal.NEWEST_ANSWERS, {"model_version_id": version_id})
    return Serves(base, standing, version_id, untrained, answers.scalar_one_or_none())


def what_is_due(connection: Connection, serves: Serves) -> tuple[list[Due], Cause]:
    """What is to be calibrated, and why; nothing where all is in force for long enough.

    Where nothing was calibrated for this base before, one for all by the defaults is due once something has been
    promoted: until then nobody has asked for any.
    """
    given = {"base": serves.base, "answers_version": serves.answers_version}
    rows = connection.execute(queries.renewal.CALIBRATED_BEFORE, given).all()
    if not rows:
        return ([Due(None, Parameters(), _DAYS)] if serves.standing else []), "promotion"
    usual = Parameters()
    due = [
        Due(
            row.collection,
            Parameters(
                coverage=row.coverage,
                max_risk=usual.max_risk if row.max_risk is None else row.max_risk,
                seed=usual.seed if row.seed is None else row.seed,
            ),
            row.days if row.days is not None and row.days >= 1 else _DAYS,
        )
        for row in rows
        if not row.fresh
    ]
    if any(row.in_force for row in rows if not row.fresh):
        return due, "expiry"
    same_model = any(row.model_version_id == serves.model_version_id for row in rows)
    return due, "settings" if same_model and serves.answers_version else "promotion"
