"""All that takes part in one run: Postgres, a broker, the cables between, a dispatcher and workers."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from benchmarks.faults import ledger
from benchmarks.faults.postgres import Postgres
from benchmarks.faults.processes import Supervised
from benchmarks.faults.proxy import Proxy
from benchmarks.faults.rabbitmq import RabbitMQ, url_at
from worker.database import open_database
from worker.errors import SetupError
from worker.settings import PREFIX, Settings

LEASE_S = 15.0
STANDSTILL_S = 240.0
"""A start of a worker takes seconds, and a minute on a machine that has too much else to do."""
_DEPTH = 64
_LOOK_EVERY_S = 0.1
_ONE_AT_A_TIME = threading.Lock()  # Alembic's context is one for the whole process


class Stuck(SetupError):
    """Nothing moves any more, which is what the benchmark looks for."""


@dataclass(slots=True)
class Stage:
    """What runs. `truth` reaches Postgres directly, never through a proxy."""

    folder: Path
    postgres: Postgres
    rabbitmq: RabbitMQ | None
    database_cable: Proxy
    broker_cable: Proxy | None
    truth: Engine
    workers: list[Supervised] = field(default_factory=list)
    dispatcher: Supervised | None = None

    @property
    def processes(self) -> list[Supervised]:
        """Workers and dispatcher."""
        return [*self.workers, *([self.dispatcher] if self.dispatcher else [])]

    def tend(self) -> None:
        """Starts what has ended."""
        for process in self.processes:
            process.tend()

    def wait_for(self, seen: Callable[[], bool], *, timeout_s: float) -> bool:
        """Tends the processes until `seen`; False when that takes longer than `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while not self.ask(seen, otherwise=False):
            if time.monotonic() > deadline_s:
                return False
            self.tend()
            time.sleep(_LOOK_EVERY_S)
        return True

    def wait(self, seconds: float) -> None:
        """Lets a fault last, while the processes are tended."""
        self.wait_for(lambda: False, timeout_s=seconds)

    def ask(self, look: Callable[[], bool], *, otherwise: bool) -> bool:
        """A look at the database, which may be away at the moment."""
        try:
            return look()
        except (DBAPIError, psycopg.Error):
            return otherwise


@contextmanager
def stage(folder: Path, *, with_rabbitmq: bool, workers: int, threads: int, answer_s: float) -> Iterator[Stage]:
    """Everything started but the workers; all of it is ended afterwards. Raises `SetupError` without RabbitMQ."""
    with ExitStack() as stack:
        rabbitmq = broker_cable = None
        if with_rabbitmq:
            rabbitmq = RabbitMQ(folder / "rabbitmq")
            stack.callback(rabbitmq.remove)
            rabbitmq.start()
            broker_cable = stack.enter_context(Proxy(("127.0.0.1", rabbitmq.port)))
        postgres = Postgres(folder / "home")
        stack.callback(postgres.remove)
        postgres.start()
        database_cable = stack.enter_context(Proxy(postgres.socket))
        broker_url = url_at(broker_cable.port) if broker_cable else None
        with (
            _ONE_AT_A_TIME,
            open_database(Settings(home=postgres.home, database_url=postgres.url, broker_url=broker_url)),
        ):
            pass  # migrations, once, before the clock starts
        direct = make_url(postgres.url).set(drivername="postgresql+psycopg")
        truth = create_engine(direct, poolclass=NullPool)  # no connection that died with an earlier fault
        one = Stage(folder, postgres, rabbitmq, database_cable, broker_cable, truth)
        _processes(one, broker_url, workers, threads, answer_s)
        for process in one.processes:
            stack.callback(process.stop)
        stack.callback(lambda: [process.terminate() for process in one.processes])
        yield one


def _processes(one: Stage, broker_url: str | None, workers: int, threads: int, answer_s: float) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {
        "OMP_NUM_THREADS": "1",
        PREFIX + "HOME": str(one.folder / "unused"),
        PREFIX + "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{one.database_cable.port}/globetag",
        PREFIX + "BROKER_URL": broker_url or "",
        PREFIX + "THREADS": str(threads),
        PREFIX + "QUEUE_DEPTH": str(_DEPTH),
        PREFIX + "LEASE_S": str(LEASE_S),
        PREFIX + "EVENTS": "on",
    }
    work = ["-m", "benchmarks.faults.null_worker", str(answer_s)]
    one.workers = [
        Supervised(f"worker {n}", work, environment, one.folder / f"worker-{n}.log") for n in range(workers)
    ]
    dispatch = ["-m", "worker", "dispatch"]
    one.dispatcher = Supervised("dispatcher", dispatch, environment, one.folder / "dispatcher.log")


def wait_for_work(one: Stage, process: Supervised) -> None:
    """Returns when this worker has work in hand. Raises `Stuck` when it gets none for minutes."""
    if not one.wait_for(lambda: has_work(one, process), timeout_s=STANDSTILL_S):
        raise Stuck(f"{process.name} had no work for {STANDSTILL_S:.0f} s")


def has_work(one: Stage, process: Supervised) -> bool:
    """Has this worker claimed jobs that it has not finished?"""
    return process.pid is not None and ledger.in_work(one.truth, process.pid) > 0
