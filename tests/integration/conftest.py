"""Fixtures around a worker that is whole but for its models."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery
from PIL.Image import Image
from sqlalchemy import func, select

from benchmarks.null_models import ANSWER, NullEngine, NullGate
from schema.messages import LOCATE_QUEUE
from schema.tables import job
from tests.support import wait_for
from worker.assemble import Models, Worker, assemble, broker_ready
from worker.database import Database
from worker.intake.sources import Submission
from worker.queue.app import make_app
from worker.queue.broker import uses_pgmq
from worker.queue.enqueue import Enqueued, enqueue
from worker.settings import Settings


class Line:
    """A database and a broker, with the ways to put jobs in and to look at what became of them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.producer: Celery = make_app(settings, database.url)
        broker_ready(self.producer, settings)

    def enqueue(self, paths: Iterable[Path], *, priority: int = 0) -> Enqueued:
        """Makes jobs of files, as `globetag enqueue` does."""
        return enqueue(self.database.engine, [Submission(path.as_uri()) for path in paths], priority=priority)

    @contextmanager
    def working(
        self,
        say: Callable[[Image], str] = lambda _: ANSWER,
        *,
        dispatch: bool = True,
        settings: Settings | None = None,
    ) -> Iterator[Worker]:
        """A whole worker with null models, running; drained and stopped at the end."""
        models = Models(NullGate(), NullEngine(say), gate_threshold=0.5)
        with assemble(settings or self.settings, self.database, models, dispatch=dispatch) as worker:
            worker.runner.start()
            try:
                yield worker
            finally:
                worker.runner.stop(drain_s=30)

    def states(self) -> dict[str, int]:
        """How many jobs are in which state."""
        with self.database.engine.connect() as connection:
            rows = connection.execute(select(job.c.state, func.count()).group_by(job.c.state)).all()
        return {row.state: row[1] for row in rows}

    def jobs(self) -> dict[str, object]:
        """The jobs by the name of their file."""
        with self.database.engine.connect() as connection:
            return {row.uri.rpartition("/")[2]: row for row in connection.execute(select(job))}

    def wait_until_settled(self, count: int, timeout_s: float = 90.0) -> dict[str, int]:
        """Returns the states once `count` jobs exist and all of them are settled."""

        def settled() -> dict[str, int]:
            states = self.states()
            return states if sum(states.values()) == count and not {"queued", "running"} & set(states) else {}

        return wait_for(settled, f"{count} settled jobs, of which there are {self.states()}", timeout_s)

    def messages(self, queue: str = LOCATE_QUEUE) -> int:
        """How many messages the broker holds: waiting, and on pgmq also those that a worker has not acknowledged.

        RabbitMQ puts unacknowledged messages back when their consumer is gone, so that after a worker's end this
        counts them there too.
        """
        with self.producer.connection_for_write() as connection:
            channel = connection.default_channel
            if uses_pgmq(self.settings):
                return int(channel.pgmq.metrics(channel.canonical_queue_name(queue)).queue_length)
            return int(channel.queue_declare(queue, passive=True).message_count)


@pytest.fixture
def line(settings: Settings, database: Database) -> Line:
    """A database and a broker without rows and messages."""
    return Line(settings, database)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of the small untrained VLM and CLIP."""
    from atlas.model import build

    return build(tmp_path_factory.mktemp("tiny-models"))
