"""What an unfinished training keeps on the disk, so that it can go on after a kill: complete checkpoints only."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.errors import SetupError

log = logging.getLogger(__name__)

COMPLETE = "complete"
"""Written last into a checkpoint: what lacks it was cut off by a kill and is never loaded."""

_RUN = "run.json"


@contextmanager
def checkpoints_of(output: Path, card: dict[str, Any], *, main: bool = True) -> Iterator[Path]:
    """The folder beside `output` in which a training keeps its state; removed when it is done.

    Of several processes one is `main` and writes. Raises `SetupError` where the folder holds that of another run.
    """
    folder = output.with_name(f"{output.name}.checkpoints")
    run = folder / _RUN
    if run.exists() and json.loads(run.read_bytes()) != card and last_complete(folder, main=main) is not None:
        raise SetupError(f"{folder} holds checkpoints of another run; remove it, or choose another output")
    if main:
        folder.mkdir(parents=True, exist_ok=True)
        written = run.with_suffix(".new")
        written.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        written.replace(run)
    try:
        yield folder
    except BaseException:
        if main and all(path == run for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)  # refused before anything was done
        raise
    if main:
        shutil.rmtree(folder)


def last_complete(checkpoints: Path, *, main: bool = True) -> Path | None:
    """The newest checkpoint that is marked complete; the main process removes those that are not."""
    found: dict[int, Path] = {}
    for path in checkpoints.glob("checkpoint-*"):
        if path.joinpath(COMPLETE).is_file():
            found[int(path.name.rpartition("-")[2])] = path
        elif main:
            log.warning("%s was cut off while it was written; it is removed", path)
            shutil.rmtree(path)
    return found[max(found)] if found else None


def mark_complete(checkpoint: Path) -> None:
    """Marks a checkpoint whose files are all written. They are put on the disk first: a mark must not outlive what
    it stands for."""
    for path in checkpoint.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    checkpoint.joinpath(COMPLETE).touch()
