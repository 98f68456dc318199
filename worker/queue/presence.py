"""Which workers are alive: who this process is, and which others on this machine are gone.

A lease in Postgres is what counts; it returns a lost worker's jobs after `lease_s`. On one machine the answer is
known sooner: a process that no longer exists is gone, and its jobs need not wait.
"""

import os
import socket
import uuid
from pathlib import Path


def worker_id() -> str:
    """Names this process: host, process space (boot and pid namespace), pid, and a part that never repeats."""
    return f"{socket.gethostname()}/{_process_space()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def is_gone(worker: str) -> bool:
    """True if `worker` ran in this very process space and its process no longer exists; False when unsure."""
    parts = worker.split("/")
    if len(parts) != 4 or parts[1] != _process_space() or parts[1] == "unknown":
        return False
    try:
        os.kill(int(parts[2]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, ValueError, OverflowError):
        return False
    return False


def _process_space() -> str:
    """Equal for two processes only if a pid means the same process to both. "unknown" where that can't be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        return "unknown"
    return f"{boot}-{namespace.strip('pid:[]')}"
