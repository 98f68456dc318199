"""Hearing of what happens in the database (LISTEN/NOTIFY). A wake-up only: a notification may get lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Engine


@contextmanager
def listening(database: Engine, channel: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that hears of `channel`, a name from `schema.messages`; wait with its `notifies`."""
    with database.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql(f'LISTEN "{channel}"')
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        try:
            yield driver
        finally:
            connection.invalidate()  # a pooled connection must not go on listening
