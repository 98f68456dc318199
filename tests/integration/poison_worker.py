"""A worker with null models whose process is killed by some pictures, and which others give other trouble.

    python -m tests.integration.poison_worker DATABASE_URL BROKER_URL

It works until every job is settled. BROKER_URL is empty for the database as broker.
"""

import os
import signal
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

POISON = frozenset({13, 14, 400})
"""Two neighbours, so that one is in work when the other kills, and one far from them."""
TOO_MUCH_MEMORY = 200
TOO_DEEP = 300


def say(image: Image) -> str:
    """Ends the process without a word, as a fault inside a native library or the kernel's OOM killer does."""
    number = number_of(image)
    if number in POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == TOO_MUCH_MEMORY:
        return str(bytearray(1 << 62))
    if number == TOO_DEEP:
        return say(image)  # for ever
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
