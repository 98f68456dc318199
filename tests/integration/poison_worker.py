"""A worker with null models whose process dies on one picture: the one that is numbered `POISON`.

    python -m tests.integration.poison_worker DATABASE_URL BROKER_URL

It works until every job is settled. BROKER_URL is empty for the database as broker.
"""

import os
import sys
from pathlib import Path

from PIL.Image import Image
from sqlalchemy import func, select

from benchmarks.null_models import ANSWER, NullEngine, NullGate
from schema.tables import job
from tests.support import number_of, wait_for
from worker.assemble import Models, assemble
from worker.database import open_database
from worker.settings import Settings

POISON = 13
DIED = 70


def say(image: Image) -> str:
    """Ends the process without a word, as a fault inside a native library does."""
    if number_of(image) == POISON:
        os._exit(DIED)
    return ANSWER


def main(database_url: str, broker_url: str) -> None:
    settings = Settings(home=Path("unused"), database_url=database_url, broker_url=broker_url or None, threads=8)
    models = Models(NullGate(), NullEngine(say), gate_threshold=0.5)
    with open_database(settings) as database, assemble(settings, database, models, dispatch=True) as worker:
        worker.runner.start()

        def is_settled() -> bool:
            left = select(func.count()).where(job.c.state.in_(["queued", "running"]))
            with database.engine.connect() as connection:
                return connection.execute(left).scalar_one() == 0

        wait_for(is_settled, "every job to be settled", timeout_s=120)
        worker.runner.stop(drain_s=30)


if __name__ == "__main__":
    main(*sys.argv[1:])
