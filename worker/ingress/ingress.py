"""The whole intake: its threads, their start and their end."""

import logging
import threading
from collections.abc import Callable

from kombu import Connection
from sqlalchemy import Engine

from schema.messages import INGRESS_QUEUE
from worker.errors import SetupError
from worker.ingress.amqp import QueueReader, connect, declare
from worker.ingress.messages import Counts
from worker.ingress.parts import Collections
from worker.ingress.tables import TableReader
from worker.queue.broker import BROKER_ERRORS, celery_options, uses_pgmq
from worker.settings import Settings

log = logging.getLogger(__name__)


class Ingress:
    """Reads messages and submissions until stopped. Several may run: each message goes to one of them."""

    def __init__(self, settings: Settings, database: Engine, collections: Collections) -> None:
        self.failed = threading.Event()
        self._stopping = threading.Event()
        self._tables = TableReader(settings, database, collections, self._stopping)
        self._queue = None if uses_pgmq(settings) else QueueReader(settings, database, collections, self._stopping)
        readers: list[Callable[[], None]] = [self._tables.run]
        if self._queue is not None:
            readers.append(self._queue.run)
        self._threads = [
            threading.Thread(target=self._run, args=(reader,), name=f"ingress-{number}", daemon=True)
            for number, reader in enumerate(readers)
        ]

    def start(self) -> None:
        """Starts the threads. From now on outages are waited out."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finishes the group in hand and returns; what was only taken goes back to the broker."""
        self._stopping.set()
        for reader in (self._tables, self._queue):
            if reader is not None:
                reader.give_up()
        for thread in self._threads:
            thread.join()

    @property
    def counts(self) -> Counts:
        """What has come in so far."""
        both = [reader.counts for reader in (self._tables, self._queue) if reader is not None]
        return Counts(
            messages=sum(each.messages for each in both),
            jobs=sum(each.jobs for each in both),
            refused=sum(each.refused for each in both),
            ignored=sum(each.ignored for each in both),
        )

    def _run(self, reader: Callable[[], None]) -> None:
        try:
            reader()
        except Exception:
            log.exception("a defect ended the intake")
            self.failed.set()
            self._stopping.set()


def broker_ready(settings: Settings, database_url: str) -> None:
    """Connects to the broker and makes the queues. Raises `SetupError` with one line when that fails."""
    try:
        if uses_pgmq(settings):
            options = celery_options(settings, database_url)
            with Connection(
                options["broker_url"],
                transport=options["broker_transport"],
                transport_options=options["broker_transport_options"],
            ) as broker:
                declare(broker, settings)
        else:
            with connect(settings) as broker:
                declare(broker, settings)
    except BROKER_ERRORS as error:
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise SetupError(
            f"the queue {INGRESS_QUEUE} cannot be used ({said}): check that the broker runs, that address, user"
            " and rights are right, and that nobody else has made a queue or exchange of this name"
        ) from error
