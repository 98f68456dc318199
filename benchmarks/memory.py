"""Does a worker's memory stay flat? The resident set of one process over many photographs, with null models.

Figures: `rss_tenth_mb`, after a tenth of the photographs (caches are warm), `rss_end_mb`, and `growth_mb` between.
"""

import tempfile
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from benchmarks.harness import arguments, report
from benchmarks.null_models import NullEngine, NullGate
from benchmarks.work import wait_until_settled, write_photographs
from worker import embedded
from worker.assemble import Models, assemble
from worker.commands.progress import working
from worker.database import open_database
from worker.intake.sources import iter_submissions
from worker.queue.enqueue import enqueue
from worker.settings import Settings

_TIMEOUT_S = 3600.0


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--photographs", type=int, help="how many  [default: 20000, quick: 2000]")
    given = parser.parse_args()
    count = given.photographs or (2000 if given.quick else 20_000)
    rss_mb: list[tuple[int, float]] = []
    me = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        write_photographs(settings.home / "photographs", count, seed=0)
        models = Models(NullGate(), NullEngine(), gate_threshold=0.5)
        try:
            with (
                open_database(settings) as database,
                assemble(settings, database, models, dispatch=True) as worker,
                working(Console(stderr=True)) as progress,
            ):
                batch = enqueue(database.engine, iter_submissions([str(settings.home / "photographs")]))
                bar = progress.add_task("placing", total=count, note="")

                def look(stand: Any) -> None:
                    rss_mb.append((stand.done, me.memory_info().rss / 1e6))
                    progress.update(bar, completed=stand.done, note=f"{rss_mb[-1][1]:,.0f} MB")

                worker.runner.start()
                wait_until_settled(database, batch.batch_id, timeout_s=_TIMEOUT_S, on_look=look)
                worker.runner.stop()
        finally:
            embedded.stop(settings.home)
    tenth_mb = next(mb for done, mb in rss_mb if done >= count / 10)
    end_mb = rss_mb[-1][1]
    figures = {
        "photographs": count,
        "rss_tenth_mb": tenth_mb,
        "rss_end_mb": end_mb,
        "growth_mb": end_mb - tenth_mb,
    }
    report("memory", figures, {"photographs": "1"} | dict.fromkeys(list(figures)[1:], "MB"))


if __name__ == "__main__":
    main()
