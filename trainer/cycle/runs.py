"""Runs of the trainer: one at a time, each a row of `training_run` that says at any moment how it stands.

A run holds an advisory lock in a session of its own, so that the lock goes with its process, however that ends.
The row says what the run is, the lock whether anybody works on it:

- running, lock held: at work. Whoever else comes is refused.
- running, lock free: its process died. The next one to come goes on with the run instead of beginning anew: hours
  of training are in its checkpoints, and what it learns from is chosen already. A run whose process has died three
  times ends as failed/worker_lost, since it may be the run that kills it.
- queued: its process was told to stop and left it to be gone on with.

A connection that breaks gives the lock away. The heartbeat notices and takes it again; where another run came
first, this one ends without a word to the row, which is not its own any more.

Long because a run's row is changed in this file alone: starting, living on, ending, being lost.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, Row
from sqlalchemy import Engine as SqlEngine
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.reasons import RunOutcome, RunReason, RunState
from worker.errors import GlobetagError, SetupError
from worker.queue.patience import PatientTransactions, first_line
from worker.queue.presence import worker_id

log = logging.getLogger(__name__)

MAX_LOSSES = 3
HEARTBEAT_S = 10.0
_LOOK_EVERY_S = 1.0


class Busy(SetupError):
    """Another training is at work."""


class RunCancelled(GlobetagError):
    """Somebody asked to end the run."""


class RunInterrupted(GlobetagError):
    """The process is to stop; the run is gone on with later."""


class RunTaken(GlobetagError):
    """The lock was lost with its connection, and another run may have begun."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to be run. `insists`: on this recipe and collection, so that no other run is gone on
    with. `message_id` names the message that asked, which may be delivered again."""

    asked_by: Literal["schedule", "person"]
    base: str
    recipe: str
    collection: str | None = None
    insists: bool = False
    message_id: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Run:
    """A run that this process works on. All methods but `close` may be called from any thread."""

    def __init__(
        self, engine: SqlEngine, lock: "_Lock", row: Row[Any], stopping: threading.Event, heartbeat_s: float
    ) -> None:
        self.row = row
        self.id: int = row.id
        self.engine = engine
        self._lock = lock
        self._transactions = PatientTransactions(engine)
        self._stopping = stopping
        self._heartbeat_s = heartbeat_s
        self._cancelled = threading.Event()
        self._taken = threading.Event()
        self._closed = threading.Event()
        self._looked_s = -_LOOK_EVERY_S
        self._heart = threading.Thread(target=self._beat, name="training-heartbeat", daemon=True)
        self._heart.start()

    @property
    def is_scheduled(self) -> bool:
        """Nobody waits for it."""
        return bool(self.row.asked_by == "schedule")

    def is_cancelled(self) -> bool:
        """Must the work end, for whatever cause? Asks the database at most once a second."""
        if self._stopping.is_set() or self._taken.is_set() or self._cancelled.is_set():
            return True
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            try:
                with self.engine.connect() as connection:
                    if connection.execute(
                        queries.training.TRAINING_CANCEL_REQUESTED, {"id": self.id}
                    ).scalar_one():
                        self._cancelled.set()
            except SQLAlchemyError as error:
                log.warning("run %d cannot be asked whether it is cancelled: %s", self.id, first_line(error))
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raises `RunTaken`, `RunCancelled` or `RunInterrupted` where the work must end."""
        if not self.is_cancelled():
            return
        if self._taken.is_set():
            raise RunTaken(f"run {self.id}: the lock was lost with its connection, and another run has it")
        if self._cancelled.is_set():
            raise RunCancelled(f"run {self.id} was cancelled")
        raise RunInterrupted(f"run {self.id} was interrupted")

    def progress(self, **where: Any) -> None:
        """Says where it stands (stage, step, steps, figures). A database that is away is no reason to stop."""
        try:
            with self.engine.begin() as connection:
                connection.execute(queries.training.TRAINING_PROGRESS, {"id": self.id, "progress": _json(where)})
        except SQLAlchemyError as error:
            log.warning("the progress of run %d could not be told: %s", self.id, first_line(error))

    def stage(self, name: str) -> None:
        """Begins a stage. Raises what `check` raises."""
        self.check()
        log.info("run %d: %s", self.id, name)
        self.progress(stage=name)

    def found(
        self,
        *,
        curation_id: int | None = None,
        base_version_id: int | None = None,
        model_version_id: int | None = None,
        **metrics: Any,
    ) -> None:
        """Keeps what has come of it so far. Waits for a database that is away."""
        given = {
            "id": self.id,
            "metrics": _json(metrics),
            "curation_id": curation_id,
            "base_version_id": base_version_id,
            "model_version_id": model_version_id,
        }
        self._do(lambda connection: connection.execute(queries.training.TRAINING_FOUND, given))
        self.row = self._do(
            lambda connection: connection.execute(queries.training.TRAINING_RUN, {"id": self.id}).one()
        )

    def finish(self, outcome: RunOutcome, detail: str) -> None:
        """Ends it as done."""
        self._do(lambda connection: _end(connection, self.id, RunState.DONE, outcome=outcome, detail=detail))

    def fail(self, reason: RunReason, detail: str) -> None:
        """Ends it as failed."""
        self._do(lambda connection: _end(connection, self.id, RunState.FAILED, reason=reason, detail=detail))

    def cancelled(self, detail: str) -> None:
        """Ends it as cancelled."""
        self._do(lambda connection: _end(connection, self.id, RunState.CANCELLED, detail=detail))

    def leave(self, detail: str) -> None:
        """Leaves it to whoever comes next."""
        self._do(lambda connection: _end(connection, self.id, RunState.QUEUED, detail=detail))

    def close(self) -> None:
        """Stops the heartbeat."""
        self._closed.set()
        self._heart.join()

    def _do(self, work: Callable[[Connection], Any]) -> Any:
        return self._transactions.run(work)

    def _beat(self) -> None:
        while not self._closed.wait(self._heartbeat_s):
            try:
                if not self._lock.beat(self.id, str(self.row.worker)):
                    log.error("run %d lost its lock, and another run has it", self.id)
                    self._taken.set()
                    return
            except SQLAlchemyError as error:
                log.warning("run %d cannot show that it lives: %s", self.id, first_line(error))


@contextmanager
def take(
    engine: SqlEngine,
    asked: Asked,
    *,
    stopping: threading.Event | None = None,
    heartbeat_s: float = HEARTBEAT_S,
) -> Iterator[Run | None]:
    """The run to work on: one that was left or lost, else a new one. None where the message that asks was dealt
    with before. Once `stopping` is set the run is to be left.

    Raises `Busy` where another training is at work, and `SetupError` where `asked` insists and another run waits
    to be gone on with. Whoever leaves the block without an end having been told leaves the run as lost.
    """
    lock = _Lock(engine)
    if not lock.acquire():
        lock.close()
        raise Busy(_at_work(look(engine)))
    try:
        row = PatientTransactions(engine).run(lambda connection: _choose(connection, asked))
        if row is None:
            yield None
            return
        run = Run(engine, lock, row, stopping or threading.Event(), heartbeat_s)
        try:
            yield run
        finally:
            run.close()
    finally:
        lock.close()


@dataclass(frozen=True, slots=True)
class Standing:
    """`open` is the run that is queued or running, `at_work` whether a process works on it."""

    open: Row[Any] | None
    at_work: bool


def look(engine: SqlEngine) -> Standing:
    """How training stands."""
    with engine.connect() as connection:
        row = connection.execute(queries.training.OPEN_TRAINING_RUN).one_or_none()
        return Standing(row, bool(connection.execute(queries.training.TRAINING_AT_WORK).scalar_one()))


def cancel(engine: SqlEngine) -> Standing:
    """Asks the open run to end; one that nobody works on ends at once. Returns how it stood."""
    stood = look(engine)
    if stood.open is None:
        return stood
    with engine.begin() as connection:
        connection.execute(queries.training.CANCEL_TRAINING)
    lock = _Lock(engine)
    try:
        if lock.acquire():
            with engine.begin() as connection:
                detail = "Cancelled while no process worked on it."
                _end(connection, stood.open.id, RunState.CANCELLED, detail=detail)
            return Standing(stood.open, False)
    finally:
        lock.close()
    return Standing(stood.open, True)


def history(engine: SqlEngine, limit: int = 20) -> list[Row[Any]]:
    """The latest runs, the newest first."""
    with engine.connect() as connection:
        return list(connection.execute(queries.training.LIST_TRAINING_RUNS, {"limit": limit}).all())


class _Lock:
    """The advisory lock, in a session of its own. `beat` and `close` are not to be called at the same time."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def acquire(self) -> bool:
        """False where another session holds it."""
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return bool(self._connection.execute(queries.training.TRAINING_LOCK).scalar_one())

    def beat(self, run_id: int, worker: str) -> bool:
        """Marks the run as alive through the session that holds the lock. False where it is another's by now."""
        given = {"id": run_id, "worker": worker}
        try:
            if self._connection is not None:
                return (
                    self._connection.execute(queries.training.TRAINING_HEARTBEAT, given).one_or_none() is not None
                )
        except SQLAlchemyError as error:
            log.warning("the session of run %d broke: %s", run_id, first_line(error))
            self._drop()
        if not self.acquire():
            return False
        assert self._connection is not None
        return self._connection.execute(queries.training.TRAINING_HEARTBEAT, given).one_or_none() is not None

    def close(self) -> None:
        """Gives the lock back."""
        if self._connection is None:
            return
        try:
            self._connection.execute(queries.training.TRAINING_UNLOCK)
        except SQLAlchemyError:
            log.debug("the lock is gone with its session", exc_info=True)
        self._drop()

    def _drop(self) -> None:
        """Ends the session: a pooled one must not hold a lock."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _choose(connection: Connection, asked: Asked) -> Row[Any] | None:
    found = connection.execute(queries.training.OPEN_TRAINING_RUN).one_or_none()
    if found is not None and _may_go_on(connection, found, asked):
        return _start(connection, found.id, lost=found.state == RunState.RUNNING)
    if asked.message_id is not None:
        known = connection.execute(queries.training.TRAINING_RUN_OF_MESSAGE, {"message_id": asked.message_id})
        if known.one_or_none() is not None:
            return None
    given = {
        "asked_by": asked.asked_by,
        "message_id": asked.message_id,
        "base": asked.base,
        "recipe": asked.recipe,
        "collection": asked.collection,
        "settings": _json(asked.settings),
    }
    return _start(
        connection, connection.execute(queries.training.ADD_TRAINING_RUN, given).scalar_one(), lost=False
    )


def _may_go_on(connection: Connection, found: Row[Any], asked: Asked) -> bool:
    """Whether the open run can be gone on with; it is ended where it cannot. Raises `SetupError`, see `take`."""
    if found.cancel_requested_at is not None:
        _end(connection, found.id, RunState.CANCELLED, detail="Cancelled while no process worked on it.")
        return False
    if found.base != asked.base:
        detail = f"It began for GLOBETAG_MODEL={found.base}, which is {asked.base} now."
        _end(connection, found.id, RunState.FAILED, reason=RunReason.WRONG_SETUP, detail=detail)
        return False
    if found.state == RunState.RUNNING and found.losses + 1 >= MAX_LOSSES:
        detail = f"Its process died {found.losses + 1} times, the last time {where_of(found)}."
        _end(connection, found.id, RunState.FAILED, reason=RunReason.WORKER_LOST, detail=detail)
        return False
    if asked.insists and (found.recipe, found.collection) != (asked.recipe, asked.collection):
        raise SetupError(
            f"run {found.id} (recipe {found.recipe}) is not finished: `globetag train now` without options goes on"
            " with it, `globetag train cancel` ends it"
        )
    return True


def _start(connection: Connection, run_id: int, *, lost: bool) -> Row[Any]:
    given = {"id": run_id, "worker": worker_id(), "lost": int(lost)}
    return connection.execute(queries.training.START_TRAINING_RUN, given).one()


def _end(
    connection: Connection,
    run_id: int,
    state: RunState,
    *,
    outcome: RunOutcome | None = None,
    reason: RunReason | None = None,
    detail: str,
) -> None:
    given = {"id": run_id, "state": state, "outcome": outcome, "reason": reason, "detail": detail}
    connection.execute(queries.training.END_TRAINING_RUN, given)
    connection.execute(queries.training.FORGET_EARLIER_LOOKS, {"id": run_id})


def _at_work(standing: Standing) -> str:
    if standing.open is None:
        return "another training begins or ends at this moment: try again"
    at = where_of(standing.open)
    return f"run {standing.open.id} is at work ({at}): wait, or end it with `globetag train cancel`"


def where_of(row: Row[Any]) -> str:
    """ "at step 40 of 200", or the stage."""
    if "step" in row.progress and row.progress.get("stage") == "training":
        return f"at step {row.progress['step']} of {row.progress.get('steps', '?')}"
    return f"at the stage {row.progress.get('stage', 'start')!r}"


def _json(value: Mapping[str, Any]) -> str:
    """JSON as Postgres takes it: NaN and infinity, which it does not know, become null."""
    return json.dumps(_storable(value), default=str)


def _storable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value
