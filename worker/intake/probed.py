"""The child process of `worker.intake.probe`: tries photographs, and lives on if they let it.

    python -m worker.intake.probed FD MEMORY_BYTES

FD is its end of a `multiprocessing` pipe. It says that it is ready, then receives one photograph after the other
and says so again after each that it has survived. It ends when nothing comes any more.
"""

import re
import sys
from multiprocessing.connection import Connection

from worker.errors import JobError

READY = b"ready"
OUT_OF_MEMORY = 3
"""Exit status where the limit was too small."""

_IDLE_S = 60.0
_ALLOCATION = re.compile(r"out of memory|insufficient memory|alloc", re.IGNORECASE)


def main() -> int:
    """Returns the exit status. What no decoder is allowed to raise goes up, as a traceback."""
    descriptor, memory_bytes = map(int, sys.argv[1:])
    _limit_memory(memory_bytes)
    try:
        with Connection(descriptor) as there:
            _try_photographs(there)
    except EOFError:  # nobody is there any more
        return 0
    except (MemoryError, ImportError):  # the limit also stops libraries from being loaded
        return OUT_OF_MEMORY
    return 0


def _try_photographs(there: Connection) -> None:
    from worker.intake.metadata import read_metadata
    from worker.intake.picture import decode

    there.send_bytes(READY)
    while there.poll(_IDLE_S):
        data = there.recv_bytes()
        try:
            read_metadata(data)
            decode(data)
        except JobError as refusal:
            if _ran_out_of_memory(refusal):
                raise MemoryError from refusal
        there.send_bytes(READY)


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
    sys.exit(main())
