"""Opens the database that the settings name, embedded or given: up to date, and ready as a broker if it is one."""

import logging
from dataclasses import dataclass
from typing import Self

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from schema import queries
from schema.session import make_engine, upgrade
from worker import embedded
from worker.errors import SetupError
from worker.queue.broker import uses_pgmq
from worker.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Database:
    """An open database. `url` also works for `psql`."""

    url: str
    engine: Engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()


def url_of(settings: Settings) -> str:
    """Returns the database's URL, starting the embedded server where none is named."""
    return settings.database_url or embedded.start(settings.home)


def open_database(settings: Settings) -> Database:
    """Connects, migrates, and installs pgmq where the database is the broker.

    Raises `SetupError` with one line when the server is down, refuses, or lacks pgvector.
    """
    url = url_of(settings)
    engine = make_engine(url, pool_size=8)
    try:
        upgrade(engine)
        if uses_pgmq(settings):
            _install_pgmq(engine)
    except (SQLAlchemyError, psycopg.Error) as error:  # views and pgmq are installed by the driver itself
        engine.dispose()
        raise SetupError(_advice(settings, error)) from error
    return Database(url, engine)


def _install_pgmq(engine: Engine) -> None:
    with engine.connect() as connection:
        if connection.execute(queries.broker.PGMQ_INSTALLED).scalar_one():
            return
    from pgmq.install import get_embedded_install_sql

    with engine.begin() as connection:
        connection.execute(queries.broker.PGMQ_INSTALL_LOCK)
        if not connection.execute(queries.broker.PGMQ_INSTALLED).scalar_one():
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute(get_embedded_install_sql())


def _advice(settings: Settings, error: SQLAlchemyError | psycopg.Error) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = " ".join(str(cause).split())[:300]
    if "vector" in said and "extension" in said:
        return (
            f"the database lacks the extension pgvector ({said}): install it on the server "
            "(on Debian the package postgresql-NN-pgvector)"
        )
    where = "the embedded Postgres" if settings.is_embedded else "the database of GLOBETAG_DATABASE_URL"
    return f"{where} cannot be used ({said}): check that it runs and that the address, user and rights are right"
