"""Circuit breakers: who answers nobody is not called by everybody, and who is slow does not take all threads.

One `Breakers` for each kind of thing that is called over a network (web hosts, buckets, model servers), with a
circuit for each one of them, told apart by a key:

    closed ──`failures` in a row──> open ──`open_s` later──> half open: one call may try
       ^                              ^                          │
       └────────── it succeeds ───────┼──────────────────────────┤
                                      └── it fails: twice as long ┘

The bulkhead: at most `most_calls` at once for a key. One more waits while the calls before it are quick, and is
turned away when one of them has lasted `slow_s`: then they may be hanging, and all threads would end up there.

Everything is per process; workers do not tell each other. The clock is passed in.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MOST_KEYS = 10_000
"""Circuits that are remembered. Those that are closed and idle are forgotten first, the longest unused before."""


class Refused(Exception):
    """The call was not made. `retry_in_s`: it makes no sense before; `why` goes on after the key's name."""

    def __init__(self, why: str, retry_in_s: float) -> None:
        super().__init__(why)
        self.why = why
        self.retry_in_s = retry_in_s


@dataclass(frozen=True, slots=True)
class Limits:
    """`failures` in a row open a circuit for `open_s`, twice as long after each failed trial, up to `longest_s`.

    At most `most_calls` run at once for a key; a call that lasts `slow_s` may be hanging.
    """

    failures: int = 5
    open_s: float = 30.0
    longest_s: float = 600.0
    most_calls: int = 24
    slow_s: float = 5.0


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until_s: float | None = None  # None: closed
    trials_failed: int = 0
    on_trial: bool = False
    began_s: dict[int, float] = field(default_factory=dict)  # of each running call


class Breakers:
    """The circuits of one kind of thing. Thread-safe; the lock is never held during a call."""

    def __init__(
        self,
        limits: Limits,
        *,
        is_failure: Callable[[BaseException], bool],
        pause_of: Callable[[BaseException], float | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_failure`: does an error mean that nobody gets an answer? Others are answers, such as "not found".

        `pause_of`: for how long the other side asks not to be called, if it does: the circuit opens at once.
        """
        self._limits = limits
        self._is_failure = is_failure
        self._pause_of = pause_of
        self._clock = clock
        self._circuits: OrderedDict[str, _Circuit] = OrderedDict()
        self._changed = threading.Condition()
        self._calls = 0

    @contextmanager
    def call(self, key: str) -> Iterator[None]:
        """Around one call. Raises `Refused` instead of making it; what the call raises goes on to the caller."""
        number, is_trial = self._begin(key)
        try:
            yield
        except BaseException as error:
            failed = self._is_failure(error)
            self._end(key, number, is_trial, failed=failed, pause_s=self._pause_of(error) if failed else None)
            raise
        self._end(key, number, is_trial, failed=False, pause_s=None)

    def state(self, key: str) -> str:
        """`closed`, `open` or `half-open`."""
        with self._changed:
            circuit = self._circuits.get(key)
            if circuit is None or circuit.open_until_s is None:
                return "closed"
            return "open" if self._clock() < circuit.open_until_s else "half-open"

    def _begin(self, key: str) -> tuple[int, bool]:
        """Numbers the call, and tells whether it is the trial of a half-open circuit."""
        with self._changed:
            circuit = self._circuit(key)
            while len(circuit.began_s) >= self._limits.most_calls and circuit.open_until_s is None:
                left_s = min(circuit.began_s.values()) + self._limits.slow_s - self._clock()
                if left_s <= 0:
                    raise Refused("is slow and has as many calls as it may have", self._limits.slow_s)
                self._changed.wait(left_s)
                circuit = self._circuit(key)
            now_s = self._clock()
            is_trial = circuit.open_until_s is not None
            if circuit.open_until_s is not None:
                if now_s < circuit.open_until_s:
                    raise Refused("has not answered lately", circuit.open_until_s - now_s)
                if circuit.on_trial:
                    raise Refused("has not answered lately and is being tried", self._limits.slow_s)
                circuit.on_trial = True
            self._calls += 1
            circuit.began_s[self._calls] = now_s
            return self._calls, is_trial

    def _end(self, key: str, number: int, is_trial: bool, *, failed: bool, pause_s: float | None) -> None:
        with self._changed:
            circuit = self._circuit(key)
            circuit.began_s.pop(number, None)
            if is_trial:
                circuit.on_trial = False
            if not failed:
                # A late answer to a call from before does not close a circuit: only a trial does.
                if is_trial or circuit.open_until_s is None:
                    circuit.failures = circuit.trials_failed = 0
                    circuit.open_until_s = None
            elif is_trial:
                circuit.trials_failed += 1
                self._open(circuit, pause_s)
            elif circuit.open_until_s is None:
                circuit.failures += 1
                if circuit.failures >= self._limits.failures or pause_s is not None:
                    self._open(circuit, pause_s)
            self._changed.notify_all()

    def _open(self, circuit: _Circuit, pause_s: float | None) -> None:
        for_s = min(self._limits.open_s * 2.0 ** min(circuit.trials_failed, 60), self._limits.longest_s)
        circuit.open_until_s = self._clock() + (for_s if pause_s is None else min(pause_s, self._limits.longest_s))

    def _circuit(self, key: str) -> _Circuit:
        """The key's circuit, as the most recently used."""
        if key not in self._circuits:
            self._circuits[key] = _Circuit()
            if len(self._circuits) > MOST_KEYS:
                self._forget_one(spared=key)
        self._circuits.move_to_end(key)
        return self._circuits[key]

    def _forget_one(self, spared: str) -> None:
        idle = (
            key for key, c in self._circuits.items() if not c.began_s and c.open_until_s is None and key != spared
        )
        forgotten = next(idle, None) or next(
            (key for key, c in self._circuits.items() if not c.began_s and key != spared), None
        )
        if forgotten is not None:
            del self._circuits[forgotten]
