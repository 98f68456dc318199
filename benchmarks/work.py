"""Work for benchmarks: many tiny photographs, and waiting until they are settled."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from schema import queries
from worker.database import Database
from worker.errors import SetupError

_LOOK_EVERY_S = 0.1


def write_photographs(folder: Path, count: int, *, seed: int) -> None:
    """Writes `count` tiny JPEGs, each with a content of its own, without EXIF."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((64, 48), Image.Resampling.BILINEAR)
        picture.save(folder / f"{number:06}.jpg", quality=80)


def wait_until_settled(
    database: Database, batch_id: str, *, timeout_s: float, on_look: Callable[[Any], None] = lambda _: None
) -> None:
    """Returns once all jobs of the batch are done; `on_look` is told how they stand, ten times a second.

    Raises `SetupError` when that takes longer than `timeout_s` or a job failed: such a run measures nothing.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        with database.engine.connect() as connection:
            stand = connection.execute(queries.reading.BATCH_PROGRESS, {"batch_id": batch_id}).one()
        on_look(stand)
        if stand.done == stand.jobs:
            return
        if stand.settled == stand.jobs or time.monotonic() > deadline:
            raise SetupError(f"only {stand.done} of {stand.jobs} jobs were done")
        time.sleep(_LOOK_EVERY_S)
