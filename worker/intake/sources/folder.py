"""Walking a folder in a fixed order, one listing in memory at a time."""

import os
from collections import deque
from collections.abc import Iterator

from worker.intake.local import file_tag
from worker.intake.sources.names import may_be_photograph, may_hold_photographs
from worker.intake.sources.submission import Problem, Submission
from worker.intake.uri import file_uri, shown


def walk(folder: str, *, recursive: bool = True) -> Iterator[Submission | Problem]:
    """Every photograph below the absolute path `folder`, by name: first a folder's files, then its folders.

    Linked folders are followed after everything else, and each real folder is entered once: loops end, and a
    photograph that two ways lead to is named by the way without links. Folders that cannot be listed, links
    that lead nowhere, and pipes or devices come out as problems.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [folder]  # a stack
    linked: deque[str] = deque()
    while waiting or linked:
        current = waiting.pop() if waiting else linked.popleft()
        try:
            status = os.stat(current)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in entered:
                continue
            files, folders, links = _listing(current)
        except OSError as error:
            yield Problem(shown(current), f"This folder could not be listed: {error.strerror}.")
            continue
        entered.add((status.st_dev, status.st_ino))
        for name in files:
            yield _of_file(os.path.join(current, name))  # noqa: PTH118 - Path costs more than the listing
        if recursive:
            waiting.extend(os.path.join(current, name) for name in reversed(folders))  # noqa: PTH118
            linked.extend(os.path.join(current, name) for name in links)  # noqa: PTH118


def _listing(folder: str) -> tuple[list[str], list[str], list[str]]:
    """Sorted names in one folder: what is not a folder, folders, links to folders. Others' names left out."""
    files: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                if may_be_photograph(entry.name):
                    files.append(entry.name)
            elif may_hold_photographs(entry.name):
                (links if entry.is_symlink() else folders).append(entry.name)
    # By bytes: the same order on every machine, whatever its language.
    return tuple(sorted(names, key=os.fsencode) for names in (files, folders, links))  # type: ignore[return-value]


def _of_file(path: str) -> Submission | Problem:
    if os.path.isfile(path):  # noqa: PTH113
        return Submission(file_uri(path), file_tag(path))
    if os.path.lexists(path):
        kind = "a link that leads nowhere" if os.path.islink(path) else "a pipe, socket or device"  # noqa: PTH114
        return Problem(shown(path), f"This is {kind}, not a file.")
    return Problem(shown(path), "This file vanished while its folder was listed.")
