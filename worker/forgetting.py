"""Erasing photographs: everything that was stored of them, in one transaction, and a hash that keeps them out.

What is erased are rows. Files (originals, reports, exports, backups, models) and the memory of other systems are
not reached from here; `Erasure.taught` names the models that learnt from what goes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from schema import queries
from schema.reasons import ForgetReason
from worker.errors import SetupError

_WRITERS_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be erased: content hashes, addresses and job ids; or a whole `collection`, with `everywhere` also
    where other collections hold the same photographs."""

    hashes: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    collection: str | None = None
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class TaughtModel:
    """A model version that learnt from `photographs` of the erased ones; 0: it went on from one that did."""

    model_id: int
    name: str
    version: str
    folder: str | None
    photographs: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """What goes, by table; which models learnt from it; which training runs are learning from it now. `shared`
    photographs of the collection stay, because another collection holds them. `hashes` are refused from now on."""

    rows_by_table: dict[str, int]
    hashes: tuple[str, ...]
    shared: int
    taught: tuple[TaughtModel, ...]
    teaching_runs: tuple[int, ...]


def survey(engine: Engine, chosen: Chosen) -> Erasure:
    """What would be erased. Changes nothing, and keeps nobody waiting."""
    with engine.connect() as connection:
        erasure = _look(connection, chosen)
        connection.rollback()
        return erasure


def erase(
    engine: Engine,
    chosen: Chosen,
    *,
    forgotten_by: str,
    reason: ForgetReason,
    agree: Callable[[Erasure], bool] = lambda _: True,
    writers_timeout_s: float = _WRITERS_TIMEOUT_S,
) -> Erasure | None:
    """Erases what is chosen, all of it or nothing, and returns what went; None where `agree` said no to it.

    Workers that write meanwhile wait until the end. What they have in work and had not stored yet ends as
    `forgotten`. `agree` is asked under the locks, so what it agrees to is what goes: it must not wait for a
    person. Raises `SetupError` when writers do not pause within `writers_timeout_s`.
    """
    deadline_s = time.monotonic() + writers_timeout_s
    while True:
        try:
            with engine.begin() as connection:
                connection.execute(queries.forgetting.SHORT_WAIT)
                connection.execute(queries.forgetting.HOLD_WRITERS)
                erasure = _look(connection, chosen)
                if not agree(erasure):
                    connection.rollback()
                    return None
                _delete(connection, chosen, forgotten_by=forgotten_by, reason=reason)
                return erasure
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            if time.monotonic() > deadline_s:
                raise SetupError(
                    f"nothing was erased: for {writers_timeout_s:g} s others were always writing; stop the workers"
                    " or try again"
                ) from error


def _look(connection: Connection, chosen: Chosen) -> Erasure:
    """Fills the temporary tables, and counts."""
    connection.execute(queries.forgetting.MAKE_CHOICE)
    connection.execute(queries.forgetting.MAKE_JOB_CHOICE)
    connection.execute(queries.forgetting.MAKE_DISTILLED_CHOICE)
    shared = 0
    if chosen.collection is not None:
        shared = _choose_collection(connection, chosen)
    else:
        named = {"hashes": list(chosen.hashes), "uris": list(chosen.uris), "jobs": list(chosen.jobs)}
        connection.execute(queries.forgetting.CHOOSE_IMAGES, named)
        connection.execute(queries.forgetting.CHOOSE_JOBS, {"uris": named["uris"], "jobs": named["jobs"]})
    of_none = {"hashes": list(chosen.hashes), "uris": list(chosen.uris)}
    connection.execute(queries.forgetting.CHOOSE_DISTILLED, of_none)
    counted = connection.execute(queries.forgetting.COUNT_CHOSEN)
    found: Sequence[str] = connection.execute(queries.forgetting.CHOSEN_HASHES).scalars().all()
    return Erasure(
        rows_by_table={row.table: row.rows for row in counted},
        hashes=tuple(sorted({*found, *chosen.hashes})),
        shared=shared,
        taught=tuple(_model(row) for row in connection.execute(queries.forgetting.TAUGHT_MODELS)),
        teaching_runs=tuple(connection.execute(queries.forgetting.TEACHING_RUNS).scalars()),
    )


def _choose_collection(connection: Connection, chosen: Chosen) -> int:
    """Returns how many photographs stay."""
    found = connection.execute(queries.collections.COLLECTION_ID, {"collection": chosen.collection})
    collection_id = found.scalar_one_or_none()
    if collection_id is None:
        raise SetupError(f"there is no collection {chosen.collection!r}")
    scope = {"collection_id": collection_id, "everywhere": chosen.everywhere}
    connection.execute(queries.forgetting.CHOOSE_JOBS_OF_COLLECTION, {"collection_id": collection_id})
    connection.execute(queries.forgetting.CHOOSE_IMAGES_OF_COLLECTION, scope)
    if chosen.everywhere:
        connection.execute(queries.forgetting.CHOOSE_JOBS_ELSEWHERE)
    shared = connection.execute(queries.forgetting.SHARED_IMAGES, {"collection_id": collection_id}).scalar_one()
    return int(shared)


def _delete(connection: Connection, chosen: Chosen, *, forgotten_by: str, reason: ForgetReason) -> None:
    refused = {"hashes": list(chosen.hashes), "forgotten_by": forgotten_by, "reason": reason.value}
    connection.execute(queries.forgetting.REFUSE, refused)
    connection.execute(queries.forgetting.FORGET_EVENTS)
    connection.execute(queries.forgetting.FORGET_SUBMISSIONS)
    connection.execute(queries.forgetting.FORGET_DEAD_MESSAGES)
    connection.execute(queries.forgetting.FORGET_IDEMPOTENCY_KEYS)
    connection.execute(queries.forgetting.FORGET_SUGGESTIONS)
    connection.execute(queries.forgetting.FORGET_DISTILLED)
    connection.execute(queries.forgetting.FORGET_JOBS)
    connection.execute(queries.forgetting.FORGET_IMAGES)


def _model(row: Any) -> TaughtModel:
    return TaughtModel(row.id, row.name, row.version, row.folder, row.photographs)
