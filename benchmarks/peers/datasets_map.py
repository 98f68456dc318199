"""Peer: `datasets.map` in batches with transformers, and a CSV at the end."""

import csv
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars

from benchmarks.peers.asking import Model, files_of, read
from benchmarks.peers.turns import serve

_BATCH = 32


def main(home: Path) -> None:
    """Loads the model and takes turns; the answers are in `answers.csv` of the home once a folder is through."""
    disable_progress_bars()
    model = Model()
    table = home / "answers.csv"

    def answer(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"text": model.answer([read(path) for path in batch["path"]])}

    def run(folder: Path) -> None:
        answered = Dataset.from_dict({"path": files_of(folder)}).map(
            answer, batched=True, batch_size=_BATCH, load_from_cache_file=False
        )
        answered.to_csv(table, index=False)

    serve(run, run, lambda: rows_of(table))


def rows_of(table: Path) -> int:
    """How many answers a CSV holds; none where there is none yet."""
    if not table.exists():
        return 0
    with table.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.DictReader(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
