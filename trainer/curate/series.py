"""Which photographs were taken in one go: the same folder, and shortly after each other.

A photographer's walk, a roll, a burst: pictures that share light, people, vehicles and the photographer's hand, in
whatever place they were taken. Who took a picture is not stored with it, so that the folder stands for the
photographer. Undated pictures of a folder are tied together only where whole folders are, since an archive of
scans may lie in a single one.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta

from trainer.curate.labels import Known
from worker.intake.uri import folder


def series(rows: Sequence[Known], *, gap_minutes: float, whole_folders: bool = False) -> Iterator[list[int]]:
    """Series of two and more, as indices of `rows`. One photograph is in as many as it has addresses in folders.

    Within a folder a series goes on while the next picture was taken at most `gap_minutes` after the last.
    `whole_folders`: each folder is one series, whatever the times.
    """
    in_folder: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        for name in {folder(uri) for uri in row.uris}:
            in_folder[name].append(index)
    for members in in_folder.values():
        runs = [members] if whole_folders else _runs(rows, members, timedelta(minutes=gap_minutes))
        yield from (run for run in runs if len(run) > 1)


def _runs(rows: Sequence[Known], members: list[int], gap: timedelta) -> Iterator[list[int]]:
    dated = [(taken_at, rows[index].sha256, index) for index in members if (taken_at := rows[index].taken_at)]
    run: list[int] = []
    last = None
    for taken_at, _, index in sorted(dated):
        if last is not None and taken_at - last > gap:
            yield run
            run = []
        run.append(index)
        last = taken_at
    yield run
