"""Ours: a running worker with its dispatcher, on the embedded Postgres, which is the broker too.

It does what it does for an archive (gate, search for similar photographs, places by name, traces, rows); only
further answers in doubt are switched off, so that all contenders draw one answer for each image.
"""

import os
import sys
import time
from pathlib import Path

from sqlalchemy import func, select

from benchmarks.line import CLIP, warm_names
from benchmarks.peers.asking import MODEL
from benchmarks.peers.turns import serve
from benchmarks.pinning import children, feeders, separate
from benchmarks.work import wait_until_settled
from schema.tables import job, prediction
from worker import embedded
from worker.assemble import Models, assemble
from worker.database import open_database
from worker.gate.clip import load_gate
from worker.intake.sources import iter_submissions
from worker.queue.enqueue import enqueue
from worker.reason.engines.choose import engine_loader
from worker.settings import Settings

_DEADLINE_S = 600.0
_LOOK_EVERY_S = 0.1


def main(home: Path) -> None:
    """Loads the models, starts the worker and takes turns."""
    settings = Settings.model_validate(
        {
            "home": home,
            "model": str(MODEL),
            "clip": str(CLIP),
            "engine": os.environ.get("PEERS_ENGINE", "vllm"),
            "device": "cpu",
            "most_answers": 1,
            "threads": 384,
            "model_batch": 256,  # as many at once as `LLM.chat` takes
            "lease_s": 15.0,
        }
    )
    warm_names()
    with open_database(settings) as database:
        gate = load_gate(settings.clip, device="cpu")
        before = children()
        models = Models(gate, engine_loader(settings)(settings.model), 0.0)
        if settings.engine == "vllm":
            separate(children() - before, feeders(home))
        with assemble(settings, database, models, dispatch=True) as worker:
            worker.runner.start()

            def run(folder: Path) -> None:
                batch = enqueue(database.engine, iter_submissions([str(folder)]))
                wait_until_settled(database, batch.batch_id, timeout_s=_DEADLINE_S)

            def stored() -> int:
                with database.engine.connect() as connection:
                    return int(connection.execute(select(func.count()).select_from(prediction)).scalar_one())

            def rest(folder: Path) -> None:  # noqa: ARG001 (the database knows what is left)
                open_jobs = select(func.count()).select_from(job).where(job.c.state.in_(("queued", "running")))
                deadline_s = time.monotonic() + _DEADLINE_S
                while time.monotonic() < deadline_s:
                    with database.engine.connect() as connection:
                        if connection.execute(open_jobs).scalar_one() == 0:
                            return
                    time.sleep(_LOOK_EVERY_S)

            serve(run, rest, stored)
            worker.runner.stop()
    embedded.stop(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
