"""A connection that hears of something: LISTEN on a channel."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Engine


@contextmanager
def listening(database: Engine, channel: str) -> Iterator[psycopg.Connection[Any]]:
    """Within the block, the connection's `notifies()` yields what is said on `channel` (a name of ours)."""
    with database.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql(f'LISTEN "{channel}"')
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        try:
            yield driver
        finally:
            connection.invalidate()  # a pooled connection must not go on listening
