"""Transactions that outlast a database which is away for a while (restart, failover)."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

log = logging.getLogger(__name__)

T = TypeVar("T")


class PatientTransactions:
    """Runs work in a transaction of its own, and again while the database is away, for up to `patience_s`.

    The work must be safe to repeat: a connection that breaks during the commit leaves open whether it held.
    """

    def __init__(self, database: Engine, *, patience_s: float = 300.0) -> None:
        self._database = database
        self._patience_s = patience_s
        self._stopping = threading.Event()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Raises the last `OperationalError` when patience runs out or `give_up` was called."""
        deadline = time.monotonic() + self._patience_s
        wait_s = 0.2
        while True:
            try:
                with self._database.begin() as connection:
                    return work(connection)
            except OperationalError as error:
                if time.monotonic() + wait_s > deadline or self._stopping.is_set():
                    raise
                log.warning("the database is away, trying again in %.1f s: %s", wait_s, first_line(error))
                self._stopping.wait(wait_s * random.uniform(0.5, 1.0))  # not all workers at the same moment
                wait_s = min(wait_s * 2, 15.0)

    def give_up(self) -> None:
        """From now on a database that is away is an error at once: the process is to stop."""
        self._stopping.set()


def first_line(error: BaseException) -> str:
    """The first line of a database error's own words, without SQL and parameters."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
