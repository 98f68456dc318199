"""Many threads submit, one thread works in batches. Used by the gate, the transformers engine and the recorder.

Group commit, as databases do it: while one batch runs the next one gathers, so batches grow under load by
themselves and a lone item never waits (`max_wait_s` 0, the default). A resource whose small batches are as dear as
big ones may wait `max_wait_s` for company; `expected` names how many threads can come at most, and when that many
wait nobody else is waited for.

The oldest item opens each batch, so nothing starves. Where more wait than fit, those nearest to it in cost come
along, since the rows of a batch are padded to the longest: a batch costs its number times its dearest item. The
limits are `max_size` and `max_cost`; an item dearer than `max_cost` runs alone.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)

EX_SOFTWARE = 70
"""Exit status of sysexits(3) for an internal fault."""


class BatcherClosed(RuntimeError):
    """Submitted after `close()`, or to a batcher whose owner thread has died."""


class WrongBatchLength(RuntimeError):
    """`run_batch` did not return one result for each item: a bug, so no result of the batch can be trusted."""


class Fatal(BaseException):
    """Raised by `run_batch` when nothing after it can work, such as on a lost GPU. Ends the owner thread."""


@dataclass(frozen=True, slots=True)
class BatcherStats:
    """Counters since the start. `retried_items` ran a second time, alone, because their batch raised."""

    batches: int = 0
    items: int = 0
    largest_batch: int = 0
    retried_items: int = 0
    busy_s: float = 0.0


@dataclass(slots=True)
class Slot(Generic[T, R]):
    """One submitted item, what it costs, since when it waits, and where its caller looks for the result."""

    item: T
    cost: float
    since_s: float
    future: "Future[R]" = field(default_factory=Future)


def take_batch(waiting: deque[Slot[T, R]], max_size: int, max_cost: float) -> list[Slot[T, R]]:
    """Takes the next batch out: the oldest slot, then the nearest to it in cost that fit; of equals the older."""
    batch: list[Slot[T, R]] = []
    dearest = 0.0
    for slot in sorted(waiting, key=lambda slot: abs(slot.cost - waiting[0].cost)):
        with_it = max(dearest, slot.cost)
        if len(batch) < max_size and (not batch or (len(batch) + 1) * with_it <= max_cost):
            batch.append(slot)
            dearest = with_it
    taken = {id(slot) for slot in batch}
    left = [slot for slot in waiting if id(slot) not in taken]
    waiting.clear()
    waiting.extend(left)
    return batch


def exit_process(death: BaseException) -> None:
    """Ends the process at once.

    Without its owner thread a worker would accept jobs and never answer. `sys.exit` ends only the thread that
    calls it, and an orderly exit would wait for the callers, who wait for us. The jobs' leases run out and
    another worker takes them.
    """
    log.critical("a batcher's owner thread died, leaving the process", exc_info=death)
    os._exit(EX_SOFTWARE)


class Batcher(Generic[T, R]):
    """Runs `run_batch` on one thread of its own, for any number of threads that call `submit`.

    `run_batch` returns one result for each item, in order; an exception *returned* in an item's place is raised to
    that item's caller alone. When `run_batch` *raises* and `isolate_failures` is set, its items are run again one
    by one, so that only the guilty one fails: it must be safe to call again after it raised. Without
    `isolate_failures` all callers of the batch get the exception.

    `on_death` is called on the owner thread when that thread cannot go on (`Fatal`, `SystemExit`, a bug in here).
    The default ends the process, before any caller could take the failure for its item's own. Where a custom
    `on_death` returns, all waiting callers get `BatcherClosed`.
    """

    def __init__(
        self,
        run_batch: Callable[[list[T]], Sequence[R | Exception]],
        *,
        max_size: int,
        max_cost: float = float("inf"),
        cost: Callable[[T], float] = lambda _item: 0.0,
        max_wait_s: float = 0.0,
        expected: int | None = None,
        isolate_failures: bool = True,
        on_death: Callable[[BaseException], None] = exit_process,
        name: str = "batcher",
    ) -> None:
        if max_size < 1:
            raise ValueError(f"max_size must be at least 1, not {max_size}")
        self._run_batch = run_batch
        self._max_size = max_size
        self._max_cost = max_cost
        self._cost = cost
        self._max_wait_s = max_wait_s
        self._enough = max_size if expected is None else max(1, min(max_size, expected))
        self._isolate_failures = isolate_failures
        self._on_death = on_death
        self._changed = threading.Condition()
        self._waiting: deque[Slot[T, R]] = deque()
        self._running: list[Slot[T, R]] = []
        self._closed = False
        self._death: BaseException | None = None
        self._stats = BatcherStats()
        self._owner = threading.Thread(target=self._own, name=name, daemon=True)
        self._owner.start()

    def submit(self, item: T) -> R:
        """Blocks until the item's batch has run; returns its result or raises its exception."""
        return self.enqueue(item).result()

    def enqueue(self, item: T) -> "Future[R]":
        """Does not block. Cancelling the future before its batch starts takes the item out.

        Raises `BatcherClosed`, and whatever `cost` raises.
        """
        slot: Slot[T, R] = Slot(item, self._cost(item), time.monotonic())
        with self._changed:
            if self._closed:
                raise BatcherClosed("this batcher is closed") from self._death
            self._waiting.append(slot)
            if len(self._waiting) == 1 or self._wait_left_s() <= 0:  # else the owner would wake to wait on
                self._changed.notify()
        return slot.future

    @property
    def stats(self) -> BatcherStats:
        """A snapshot of the counters."""
        return self._stats

    def close(self) -> None:
        """Refuses new items, runs those already submitted, and returns when the owner thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._owner.join()

    def _own(self) -> None:
        try:
            while batch := self._next_batch():
                self._settle(batch)
                batch.clear()  # frees the items (pictures) while waiting for the next ones
        except BaseException as death:
            self._die(death)

    def _next_batch(self) -> list[Slot[T, R]]:
        """Blocks until a batch is due. Empty only when closed and drained."""
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                while self._wait_left_s() > 0:
                    self._changed.wait(self._wait_left_s())
                taken = take_batch(self._waiting, self._max_size, self._max_cost)
                self._running = [slot for slot in taken if slot.future.set_running_or_notify_cancel()]
                if self._running or not taken:
                    return self._running

    def _wait_left_s(self) -> float:
        """How long more company may be waited for; 0 when the batch is due."""
        if self._closed or not self._waiting or len(self._waiting) >= self._enough:
            return 0.0
        if len(self._waiting) * max(slot.cost for slot in self._waiting) >= self._max_cost:
            return 0.0
        return max(0.0, self._waiting[0].since_s + self._max_wait_s - time.monotonic())

    def _settle(self, batch: list[Slot[T, R]]) -> None:
        started_s = time.monotonic()
        retried = 0
        outcomes = self._attempt(batch)
        if isinstance(outcomes, Exception) and self._isolate_failures and len(batch) > 1:
            log.warning("a batch of %d raised, running its items one by one", len(batch), exc_info=outcomes)
            retried = len(batch)
            singles = [self._attempt([slot]) for slot in batch]
            outcomes = [single if isinstance(single, Exception) else single[0] for single in singles]
        if isinstance(outcomes, Exception):
            outcomes = [outcomes] * len(batch)
        self._stats = replace(
            self._stats,
            batches=self._stats.batches + 1,
            items=self._stats.items + len(batch),
            largest_batch=max(self._stats.largest_batch, len(batch)),
            retried_items=self._stats.retried_items + retried,
            busy_s=self._stats.busy_s + time.monotonic() - started_s,
        )
        for slot, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                slot.future.set_exception(outcome)
            else:
                slot.future.set_result(outcome)

    def _attempt(self, batch: list[Slot[T, R]]) -> Sequence[R | Exception] | Exception:
        """One outcome for each slot, or the one exception that the batch ended with."""
        try:
            outcomes = self._run_batch([slot.item for slot in batch])
        except Exception as error:
            return error
        if len(outcomes) == len(batch):
            return outcomes
        bug = WrongBatchLength(f"{len(batch)} items in, {len(outcomes)} results out")
        log.error("%s: %s", self._owner.name, bug)
        return [bug] * len(batch)

    def _die(self, death: BaseException) -> None:
        with self._changed:
            self._closed = True
            self._death = death
            orphans = [slot for slot in self._running if not slot.future.done()]
            orphans += [slot for slot in self._waiting if slot.future.set_running_or_notify_cancel()]
            self._waiting.clear()
        try:
            self._on_death(death)
        finally:
            for slot in orphans:
                left_behind = BatcherClosed(f"the owner thread died of {death!r}")
                left_behind.__cause__ = death
                slot.future.set_exception(left_behind)
