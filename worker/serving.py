"""What answers now: one model with its versions, leased to jobs, and exchanged for another while the worker runs.

A job leases what serves for its whole way, from the look-up of earlier answers to the stored row, so that all of
it belongs to one version. When another version is promoted, no more leases are handed out, those that are out are
waited for, the old model is closed and only then the new one is loaded: memory never holds two. Meanwhile jobs
wait; their leases in Postgres are kept alive, nothing is lost and nothing fails.

A model that cannot be loaded harms nobody: the old one is loaded again, the failure is stored with the promotion,
and the worker tries again only when something is promoted anew.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy import Engine as SqlEngine
from sqlalchemy.exc import SQLAlchemyError

from schema.messages import MODEL_CHANNEL
from worker.checkpoints import one_line
from worker.errors import SetupError
from worker.outcome import Job, Settled
from worker.queue.listening import hears, listening
from worker.queue.patience import first_line
from worker.reason.engines import Engine
from worker.registry import Registered, Standing
from worker.versions import Versions

log = logging.getLogger(__name__)

_POLL_S = 30.0  # how soon a promotion is seen whose notification got lost
_JOIN_S = 10.0  # loading cannot be interrupted; a process that stops does not wait for its end

Load = Callable[[Registered | None], Engine]
"""Loads a registered model, or the base itself for None. Raises `SetupError` with one line when it cannot."""


class ServingClosed(RuntimeError):
    """Nothing serves and nothing will: the worker stops, or has no model left. The job is to be given back."""


@dataclass(frozen=True, slots=True)
class Line:
    """One version of the worker: its model, the versions that its rows keep, and what works on a job.

    `settle` takes a job from its address to its outcome and `save` stores that as this version's. `registered` is
    None where the model is the base itself.
    """

    engine: Engine
    versions: Versions
    registered: Registered | None
    settle: Callable[[Job], Settled]
    save: Callable[[Settled], None]


class Serving:
    """Hands out leases on the line that serves, and exchanges it. Thread-safe; `change_over` is for one thread.

    The lock is held to count leases, never while anything works.
    """

    def __init__(
        self,
        line: Line,
        *,
        load: Load,
        record: Callable[[Engine], Versions],
        build: Callable[[Engine, Versions, Registered | None], Line],
    ) -> None:
        """`line` serves first. `record` writes a loaded model's versions, `build` makes its line."""
        self._load = load
        self._record = record
        self._build = build
        self._changed = threading.Condition()
        self._line: Line | None = line
        self._latest = line
        self._leases = 0
        self._halted = False  # leases must come back, and none goes out
        self._stopping = False
        self._closed = False
        self._failure: BaseException | None = None

    @property
    def now(self) -> Line:
        """What serves; while models are exchanged, what served last."""
        return self._latest

    @property
    def is_changing(self) -> bool:
        """While leases are called back or a model is loaded: nothing is handed out."""
        return self._halted or self._line is None

    @property
    def failure(self) -> BaseException | None:
        """Why this worker has no model left, where that is so: it must end."""
        return self._failure

    @contextmanager
    def lease(self) -> Iterator[Line]:
        """What serves, as it is until the lease ends. Waits while another model is loaded.

        Raises `ServingClosed` where nothing will serve any more.
        """
        line = self._lend()
        try:
            yield line
        finally:
            self._take_back()

    def change_over(self, wanted: Registered | None) -> str | None:
        """Lets another version serve (None: the base). Returns why it cannot be loaded, None where all is well.

        Returns once it serves, or the old one serves again, or the worker stops.
        """
        if is_same(wanted, self._latest.registered):
            return None
        old = self._withdraw()
        if old is None:
            return None
        began_s = time.monotonic()
        log.warning("changing over from %s to %s", name_of(old.registered), name_of(wanted))
        old.engine.close()
        problem = self._try(wanted)
        if problem is None:
            log.warning("%s serves, after %.1f s", name_of(wanted), time.monotonic() - began_s)
            return None
        if self._stopping:
            return None
        log.error("%s cannot serve, %s goes on: %s", name_of(wanted), name_of(old.registered), problem)
        gc.collect()  # what was loaded by half may hang in reference cycles
        try:
            engine = self._load_checked(old.registered)
            same = engine.identity == old.engine.identity
            versions = old.versions if same else self._record(engine)
            self._put(self._build(engine, versions, old.registered))
        except Exception as error:
            self.fail(error)
        return problem

    def renew(self) -> None:
        """The same model goes on with its versions recorded anew, for the jobs that come from now on.

        Does not wait: jobs in work keep the line that they have. For the thread that changes over.
        """
        old = self._latest
        renewed = self._build(old.engine, self._record(old.engine), old.registered)
        with self._changed:
            if self._line is old:
                self._line = self._latest = renewed

    def fail(self, error: BaseException) -> None:
        """There is no model left: whoever waits for one is told, and the process must end."""
        log.critical("no model serves: %s", one_line(error), exc_info=error)
        with self._changed:
            self._failure = error
            self._stopping = True
            self._changed.notify_all()

    def stop(self) -> None:
        """No exchange begins any more, and one that waits for leases is called off. Does not wait.

        Jobs in work go on. Those that wait for a model that is being loaded get `ServingClosed`.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def close(self) -> None:
        """Frees the model. One that is still being loaded is freed as soon as it is there."""
        self.stop()
        with self._changed:
            self._closed = True
            line, self._line = self._line, None
        if line is not None:
            line.engine.close()

    def _lend(self) -> Line:
        with self._changed:
            while self._line is None or self._halted:
                if self._line is None and self._stopping:
                    raise ServingClosed("the worker stops, and no model serves")
                self._changed.wait()
            self._leases += 1
            return self._line

    def _take_back(self) -> None:
        with self._changed:
            self._leases -= 1
            if self._halted:
                self._changed.notify_all()

    def _withdraw(self) -> Line | None:
        """Takes the line away once every lease has come back. None where the worker stops before."""
        with self._changed:
            self._halted = True
            self._changed.wait_for(lambda: self._leases == 0 or self._stopping)
            self._halted = False
            if self._stopping:
                self._changed.notify_all()
                return None
            old, self._line = self._line, None
            return old

    def _try(self, wanted: Registered | None) -> str | None:
        """Loads a version and lets it serve, or returns why that cannot be.

        A function of its own: the error, and with it what was loaded by half, is gone when it returns.
        """
        try:
            engine = self._load_checked(wanted)
            self._put(self._build(engine, self._record(engine), wanted))
        except Exception as error:
            log.debug("the promoted model cannot serve", exc_info=True)
            return str(error) if isinstance(error, SetupError) else one_line(error)
        return None

    def _load_checked(self, wanted: Registered | None) -> Engine:
        engine = self._load(wanted)
        try:
            check_weights(engine, wanted)
        except SetupError:
            engine.close()
            raise
        return engine

    def _put(self, line: Line) -> None:
        with self._changed:
            closed = self._closed
            if not closed:
                self._line = self._latest = line
                self._changed.notify_all()
        if closed:
            line.engine.close()


class Watcher:
    """Sees to it that what is promoted serves, and with the calibrations that are in force.

    Hears of promotions and calibrations, and looks now and then all the same.
    """

    def __init__(
        self,
        serving: Serving,
        database: SqlEngine,
        *,
        look: Callable[[], Standing | None],
        on_problem: Callable[[Standing, str], None],
        is_current: Callable[[Versions], bool] = lambda _: True,
    ) -> None:
        """`look` tells what is promoted; `on_problem` stores why a promoted model cannot serve here.

        `is_current`: are the calibrations of these versions still those that are in force?
        """
        self._serving = serving
        self._database = database
        self._look = look
        self._on_problem = on_problem
        self._is_current = is_current
        self._refused: int | None = None  # the promotion whose model cannot serve here
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="promotions", daemon=True)

    def start(self) -> None:
        """Begins to watch, with a look at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the watching; an exchange that has not begun to load is called off. Does not wait."""
        self._stopping.set()
        self._serving.stop()

    def close(self) -> None:
        """Stops, and waits a few seconds for the thread's end."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            log.warning("a model is still being loaded; the worker stops without it")

    def check(self) -> None:
        """Looks once, and changes over where something else is promoted. A failed promotion is tried once only.

        A model that was just loaded has its calibrations by that; what serves on gets those that are new.
        """
        self._follow_promotions()
        if not self._stopping.is_set() and not self._is_current(self._serving.now.versions):
            self._serving.renew()

    def _follow_promotions(self) -> None:
        standing = self._look()
        if standing is None or standing.promotion_id == self._refused:
            return
        problem = self._serving.change_over(standing.registered)
        if problem is not None:
            self._refused = standing.promotion_id
            try:
                self._on_problem(standing, problem)
            except SQLAlchemyError as error:
                log.warning("the failure could not be stored with the promotion: %s", first_line(error))

    def _run(self) -> None:
        wait_s = 1.0
        while not self._stopping.is_set():
            try:
                with listening(self._database, MODEL_CHANNEL) as notifications:
                    while not self._stopping.is_set():
                        self.check()
                        wait_s = 1.0
                        hears(notifications, self._stopping, _POLL_S)
            except (SQLAlchemyError, psycopg.Error) as error:
                log.warning("promotions are not heard of for %.0f s: %s", wait_s, first_line(error))
                self._stopping.wait(wait_s)
                wait_s = min(wait_s * 2, _POLL_S)
            except BaseException as error:  # a defect: without a watcher a job might wait for ever
                self._serving.fail(error)
                return


def check_weights(engine: Engine, registered: Registered | None) -> None:
    """Raises `SetupError` where a model was not loaded from the weights that are registered."""
    if registered is not None and engine.identity.version != registered.version:
        raise SetupError(
            f"the files in {registered.folder} are no longer those of model version {registered.id};"
            " put them back, or roll back with `globetag models rollback`"
        )


def is_same(one: Registered | None, other: Registered | None) -> bool:
    """Are these the same version, or both the base?"""
    return (one.id if one else None) == (other.id if other else None)


def name_of(registered: Registered | None) -> str:
    """As a person calls it."""
    return f"model version {registered.id} ({registered.folder})" if registered else "the base model"
