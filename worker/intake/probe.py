"""Tries photographs in processes of their own, where they can do no harm.

When a worker process died, the photographs that were in flight are suspects, and one of them may be
poison: bytes that crash a codec or eat all memory. A suspect is probed before it is let into a worker again.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Pipe
from pathlib import Path

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake.probed import OUT_OF_MEMORY

log = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[2]
_MODULE = "worker.intake.probed"


class Prober:
    """Probes photographs in child processes. Thread-safe; a child has one photograph at a time.

    A child takes half a second to start, so it goes on with the next photograph. What one that has tried others
    before finds fault with is tried again in a new one: no photograph is blamed for what another has done.
    """

    def __init__(self, *, children: int = 2, timeout_s: float = 60.0, memory_bytes: int = 3 << 30) -> None:
        """`children`: the most that run at once; `memory_bytes` of address space for each."""
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._may_run = threading.Semaphore(children)
        self._idle: deque[_Child] = deque()

    def condemn(self, fetch: Callable[[str], bytes], uri: str) -> JobError | None:
        """Probes what `fetch` brings; returns why it cannot or must not be let into a worker, or None.

        That is also why it could not be fetched: a photograph that was not probed is not let in. A defect in
        `fetch` is left to the worker, which meets it again and reports it.
        """
        try:
            self.probe(fetch(uri))
        except JobError as error:
            return error
        except Exception:
            log.debug("a suspect could not be probed", exc_info=True)
        return None

    def probe(self, data: bytes) -> None:
        """Decodes the bytes and reads their metadata in a child process, and returns if that child survives.

        A photograph that `decode` refuses properly passes too: the caller will meet the same refusal.

        Raises `JobError` (WORKER_LOST) where the child is killed by a signal, needs more than `memory_bytes` of
        address space, more than `timeout_s`, or ends in an error that no decoder is allowed to raise.
        """
        with self._may_run:
            child = self._idle.pop() if self._idle else None
            if child is None or not child.survives(data):
                child = _Child(self._memory_bytes, self._timeout_s)
                child.must_survive(data)
            self._idle.append(child)

    def close(self) -> None:
        """Ends the children. Call it when nobody probes any more."""
        while self._idle:
            self._idle.pop().end()


class _Child:
    """A process that tries one photograph after the other, and tells of each that it has survived it."""

    def __init__(self, memory_bytes: int, timeout_s: float) -> None:
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._is_started = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the child)
        # One thread and few arenas: address space is what the limit counts, and both reserve it freely.
        quiet = {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1", "VIPS_CONCURRENCY": "1"}
        search_path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._here, there = Pipe()
        with there:
            self._process = subprocess.Popen(  # noqa: S603 (this interpreter, a module of ours, two numbers)
                [sys.executable, "-m", _MODULE, str(there.fileno()), str(memory_bytes)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[there.fileno()],
                env={**os.environ, **quiet, "PYTHONPATH": search_path},
            )

    def survives(self, data: bytes) -> bool:
        """Tries a photograph. False, and the child has ended, where it did not survive, whosever fault that is."""
        try:
            self.must_survive(data)
        except JobError as error:
            log.debug("a suspect is probed again in a new process: %s", error)
            return False
        return True

    def must_survive(self, data: bytes) -> None:
        """Tries a photograph. Raises `JobError`, and the child has ended, where it did not survive."""
        try:
            if not self._is_started:
                self._hear()
                self._is_started = True
            self._here.send_bytes(data)
            self._hear()
        except (EOFError, OSError) as end:  # a TimeoutError is one too
            what = self._too_late if isinstance(end, TimeoutError) else self._cause_of_death()
            self.end()
            detail = f"a process that tried to read this photograph {what}"
            raise JobError(Reason.WORKER_LOST, detail) from end

    @property
    def _too_late(self) -> str:
        return f"took more than {self._timeout_s:g} s"

    def _hear(self) -> None:
        """Returns once the child is ready for the next. Raises `TimeoutError`, `EOFError` where it is no more."""
        if not self._here.poll(self._timeout_s):
            raise TimeoutError
        self._here.recv_bytes()

    def _cause_of_death(self) -> str:
        try:
            status = self._process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:  # it says nothing any more, and does not end
            return self._too_late
        if status < 0:
            return f"was killed ({_signal_name(-status)})"
        if status == OUT_OF_MEMORY:
            return f"needed more than {self._memory_bytes >> 20:,} MiB of memory"
        self._errors.seek(0)
        last_line = (self._errors.read().decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        return f"failed: {last_line[:200]}"

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._here.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
