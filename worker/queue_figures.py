"""What is measured of the whole, for Prometheus: jobs by state, how old the queue is, what waits in the broker.

These are read from Postgres and the broker when somebody asks, at most once in some seconds. Each process that
tells them tells the same, so a query takes `max` over them, not `sum`.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from celery import Celery
from kombu import Connection
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.reasons import JobState
from schema.session import is_behind
from worker.database import Database
from worker.errors import SetupError
from worker.queue.app import declare_queues
from worker.queue.broker import BROKER_ERRORS, dead_name, waiting
from worker.queue.patience import first_line
from worker.settings import Settings

log = logging.getLogger(__name__)

LANES = {0: "bulk", 1: "interactive"}
_KEPT_S = 10.0


class BrokerLook:
    """How many messages wait in which queue. Thread-safe; keeps one connection, as long as it holds."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def depths(self) -> dict[str, int]:
        """Messages by queue, dead-letter queues included. Raises one of `BROKER_ERRORS`."""
        with self._lock:
            try:
                if self._connection is None:
                    declare_queues(self._app, self._settings)
                    self._connection = self._app.connection_for_write()
                    self._connection.ensure_connection(max_retries=1, timeout=3)
                names = [queue.name for queue in self._app.conf.task_queues]
                names += sorted({dead_name(name) for name in names})
                return {name: waiting(self._connection, name) for name in names}
            except BROKER_ERRORS:
                self._drop()
                raise

    def close(self) -> None:
        """Gives the connection back."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.release()
            except BROKER_ERRORS as error:
                log.debug("a broken connection could not be closed: %s", error)


def problems(database: Engine, broker: BrokerLook) -> dict[str, str]:
    """What stands between this process and its work, by what is missing: database, schema, broker. Empty: nothing.

    The words are for anybody; the particulars are logged.
    """
    found = {}
    try:
        with database.begin() as connection:
            connection.execute(queries.watching.BOUND_LOOK)
            if is_behind(connection.execute(queries.watching.REVISION).scalar_one_or_none()):
                found["schema"] = "is not up to date"
    except SQLAlchemyError as error:
        log.warning("the database does not answer: %s", first_line(error))
        found["database"] = "does not answer"
    try:
        broker.depths()
    except (*BROKER_ERRORS, SetupError) as error:
        log.warning("the broker does not answer: %s", first_line(error))
        found["broker"] = "does not answer"
    return found


def in_words(found: dict[str, str]) -> str | None:
    """What `problems` found as one line; None where it found nothing."""
    return "; ".join(f"the {part} {what}" for part, what in found.items()) or None


@contextmanager
def queue_figures(
    settings: Settings, database: Database, app: Celery, registry: CollectorRegistry | None
) -> Iterator[BrokerLook]:
    """Tells them in a registry (None: nowhere) while the context lasts."""
    broker = BrokerLook(app, settings)
    if registry is not None:
        registry.register(QueueFigures(database.engine, broker))
    try:
        yield broker
    finally:
        broker.close()


class QueueFigures(Collector):
    """Collects them. What cannot be read is left out, and `globetag_up` says what that is."""

    def __init__(self, database: Engine, broker: BrokerLook, *, kept_s: float = _KEPT_S) -> None:
        """`kept_s`: so old may a figure be."""
        self._database = database
        self._broker = broker
        self._kept_s = kept_s
        self._lock = threading.Lock()
        self._read_at_s = float("-inf")
        self._kept: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        """The names alone: nothing is asked while it is registered."""
        return _Families().all

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape."""
        with self._lock:
            if time.monotonic() - self._read_at_s > self._kept_s:
                self._kept = self._read().all
                self._read_at_s = time.monotonic()
            kept = list(self._kept)
        yield from kept

    def _read(self) -> "_Families":
        families = _Families()
        for part, read in (("database", self._read_database), ("broker", self._read_broker)):
            try:
                read(families)
                families.up.add_metric([part], 1)
            except (SQLAlchemyError, *BROKER_ERRORS) as error:
                log.warning("no figures of the %s: %s", part, first_line(error))
                families.up.add_metric([part], 0)
        return families

    def _read_database(self, families: "_Families") -> None:
        with self._database.begin() as connection:
            connection.execute(queries.watching.BOUND_LOOK)
            counted = connection.execute(queries.watching.JOBS_BY_STATE).all()
            oldest = {row.priority: row.age_s for row in connection.execute(queries.watching.OLDEST_DUE)}
            refused = connection.execute(queries.watching.OPEN_DEAD_MESSAGES).all()
        by_state = dict.fromkeys(JobState, 0)
        for row in counted:
            by_state[JobState(row.state)] += row.jobs
            if row.state in (JobState.FAILED, JobState.DEAD):
                families.failed.add_metric([row.state, row.reason], row.jobs)
        for state, jobs in by_state.items():
            families.jobs.add_metric([state], jobs)
        for priority, lane in LANES.items():
            families.oldest.add_metric([lane], oldest.get(priority, 0.0))
        for row in refused:
            families.refused.add_metric([row.queue, row.reason], row.messages)

    def _read_broker(self, families: "_Families") -> None:
        for queue, messages in self._broker.depths().items():
            families.messages.add_metric([queue], messages)


class _Families:
    """One reading's metrics."""

    def __init__(self) -> None:
        self.jobs = GaugeMetricFamily("globetag_jobs", "Jobs by state", labels=["state"])
        self.failed = GaugeMetricFamily(
            "globetag_failed_jobs", "Jobs that ended without an answer, by reason", labels=["state", "reason"]
        )
        self.oldest = GaugeMetricFamily(
            "globetag_oldest_due_job_seconds", "For how long the longest waiting job has been due", labels=["lane"]
        )
        self.messages = GaugeMetricFamily(
            "globetag_broker_messages", "Messages that wait in the broker; *.dead: refused ones", labels=["queue"]
        )
        self.refused = GaugeMetricFamily(
            "globetag_dead_messages",
            "Refused messages that are kept for somebody to replay or drop",
            labels=["queue", "reason"],
        )
        self.up = GaugeMetricFamily("globetag_up", "1: it answers; 0: its figures are missing", labels=["part"])

    @property
    def all(self) -> list[Metric]:
        return [self.jobs, self.failed, self.oldest, self.messages, self.refused, self.up]
