"""Peer: Ray Data's batch inference with transformers, and a folder of CSV files at the end.

As its manual shows it: one actor that holds the model, `map_batches` over the paths, `write_csv`. Each run starts
an actor, which loads the model; the time until it has is left out, as it is for the others.
"""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import ray

from benchmarks.peers.asking import Model, files_of, read
from benchmarks.peers.datasets_map import rows_of
from benchmarks.peers.turns import serve

_BATCH = 32


class Answer:
    """The actor: loads the model when it starts, and answers batch by batch."""

    def __init__(self, ready: str) -> None:
        self._model = Model()
        Path(ready).write_text(str(time.time()))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"path": batch["path"], "text": self._model.answer([read(path) for path in batch["path"]])}


def main(home: Path) -> None:
    """Starts Ray on this machine and takes turns; the answers are in `answers` of the home."""
    ray.init(include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"OMP_NUM_THREADS": _cores()}})
    ray.data.DataContext.get_current().enable_progress_bars = False
    table = home / "answers"

    ready = home / "ready"

    def run(folder: Path) -> float:
        began_s = time.time()
        shutil.rmtree(table, ignore_errors=True)
        listed = files_of(folder)
        blocks = max(1, len(listed) // _BATCH)
        paths = ray.data.from_items([{"path": path} for path in listed], override_num_blocks=blocks)
        one = ray.data.ActorPoolStrategy(size=1)
        answered = paths.map_batches(
            Answer, fn_constructor_args=(str(ready),), batch_size=_BATCH, compute=one, num_cpus=1
        )
        answered.write_csv(str(table))
        return float(ready.read_text()) - began_s

    serve(run, run, lambda: sum(map(rows_of, table.glob("*.csv"))))
    ray.shutdown()


def _cores() -> str:
    return str(len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
