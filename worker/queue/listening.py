"""Hearing of what happens in the database (LISTEN/NOTIFY). A wake-up only: a notification may get lost."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Engine

_TICK_S = 0.1


@contextmanager
def listening(database: Engine, channel: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that hears of `channel`, a name from `schema.messages`; wait with `hears`."""
    with database.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql(f'LISTEN "{channel}"')
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        try:
            yield driver
        finally:
            connection.invalidate()  # a pooled connection must not go on listening


def hears(notifications: psycopg.Connection[Any], stopping: threading.Event, timeout_s: float) -> bool:
    """Waits for a notification: was there one? Returns after `timeout_s` and soon after `stopping` is set, too."""
    end_s = time.monotonic() + timeout_s
    while not stopping.is_set() and (left_s := end_s - time.monotonic()) > 0:
        if next(notifications.notifies(timeout=min(left_s, _TICK_S), stop_after=1), None) is not None:
            return True
    return False
