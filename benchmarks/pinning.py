"""Keeps processes to cores: a stand-in for a GPU, which shares no core with what feeds it. Linux only.

`taskset` binds a process that starts; these are running, with threads that were bound to nothing when they began.
"""

import os
from collections.abc import Collection
from pathlib import Path

import psutil

FEED_CORE, ENGINE_CORE = 0, 1


def children() -> set[int]:
    """Process ids of all that this process has started, and of what these have."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def family(pid: int) -> set[int]:
    """A process and all that it has started, such as a Postgres with its backends."""
    return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}


def feeders(home: Path) -> set[int]:
    """This process, and the embedded Postgres in `home` with its backends."""
    return {os.getpid()} | family(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))


def pin(pids: Collection[int], core: int) -> None:
    """Binds all threads of these processes to one core; what they start later inherits it.

    A process or thread that has ended meanwhile is left out.
    """
    for pid in pids:
        for thread in threads_of(pid):
            try:
                os.sched_setaffinity(thread, {core})
            except ProcessLookupError:
                continue


def separate(engine_pids: Collection[int], other_pids: Collection[int]) -> None:
    """The engine to one core, what feeds it to another."""
    pin(engine_pids, ENGINE_CORE)
    pin(other_pids, FEED_CORE)


def cores_of(pids: Collection[int]) -> set[int]:
    """The cores that the threads of these processes may use."""
    cores: set[int] = set()
    for pid in pids:
        for thread in threads_of(pid):
            try:
                cores |= os.sched_getaffinity(thread)
            except ProcessLookupError:
                continue
    return cores


def threads_of(pid: int) -> list[int]:
    """Thread ids of a process; none where it has ended."""
    try:
        return [int(folder.name) for folder in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_s(pids: Collection[int]) -> float:
    """Seconds of processor time that these processes and their ended children have had so far."""
    spent = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system + times.children_user + times.children_system
    return spent
