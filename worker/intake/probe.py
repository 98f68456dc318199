"""Tries a photograph in a process of its own, where it can do no harm.

When a worker process died, the photographs that were in flight are suspects, and one of them may be
poison: bytes that crash a codec or eat all memory. A suspect is probed before it is let into a worker again.

    python -m worker.intake.probe --memory-bytes N  <  photograph
"""

import argparse
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from schema.reasons import Reason
from worker.errors import JobError

log = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[2]
_OUT_OF_MEMORY = 3
_ALLOCATION = re.compile(r"out of memory|insufficient memory|alloc", re.IGNORECASE)


def condemn(fetch: Callable[[str], bytes], uri: str) -> JobError | None:
    """Probes what `fetch` brings; returns why it cannot or must not be let into a worker, None where it may be.

    That is also why it could not be fetched: a photograph that was not probed is not let in. A defect in `fetch`
    is left to the worker, which meets it again and reports it.
    """
    try:
        probe(fetch(uri))
    except JobError as error:
        return error
    except Exception:
        log.debug("a suspect could not be probed", exc_info=True)
    return None


def probe(data: bytes, *, timeout_s: float = 60, memory_bytes: int = 3 << 30) -> None:
    """Decodes the bytes and reads their metadata in a child process, and returns if that child survives.

    A photograph that `decode` refuses properly passes too: the caller will meet the same refusal.

    Raises `JobError` (WORKER_LOST) where the child is killed by a signal, needs more than `memory_bytes` of
    address space, more than `timeout_s`, or ends in an error that no decoder is allowed to raise.
    """
    command = [sys.executable, "-m", "worker.intake.probe", "--memory-bytes", str(memory_bytes)]
    # One thread and few arenas: address space is what the limit counts, and both reserve it freely.
    quiet = {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1", "VIPS_CONCURRENCY": "1"}
    search_path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    try:
        child = subprocess.run(  # noqa: S603 (this interpreter, this module, a number)
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **quiet, "PYTHONPATH": search_path},
        )
    except subprocess.TimeoutExpired as error:
        raise JobError(
            Reason.WORKER_LOST, f"a process that tried to read this photograph took more than {timeout_s:g} s"
        ) from error
    if child.returncode < 0:
        raise JobError(
            Reason.WORKER_LOST,
            f"a process that tried to read this photograph was killed ({_signal_name(-child.returncode)})",
        )
    if child.returncode == _OUT_OF_MEMORY:
        raise JobError(
            Reason.WORKER_LOST,
            f"a process that tried to read this photograph needed more than {memory_bytes >> 20:,} MiB of memory",
        )
    if child.returncode:
        last_line = (child.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        raise JobError(
            Reason.WORKER_LOST, f"a process that tried to read this photograph failed: {last_line[:200]}"
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--memory-bytes", type=int, required=True)
    _limit_memory(arguments.parse_args().memory_bytes)

    from worker.intake.metadata import read_metadata
    from worker.intake.picture import decode

    try:
        data = sys.stdin.buffer.read()
        read_metadata(data)
        decode(data)
    except (MemoryError, ImportError):  # the limit also stops libraries from being loaded
        return _OUT_OF_MEMORY
    except JobError as refusal:
        return _OUT_OF_MEMORY if _ran_out_of_memory(refusal) else 0
    return 0


def _ran_out_of_memory(refusal: JobError) -> bool:
    """Codecs written in C report a failed allocation as any other error, in words only."""
    cause = refusal.__cause__
    return isinstance(cause, MemoryError) or _ALLOCATION.search(str(cause)) is not None


def _limit_memory(memory_bytes: int) -> None:
    """Limits this process's address space where the system can (Linux, most of Unix)."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    sys.exit(_main())
