"""How Alembic runs here: one advisory lock for all processes, one transaction for each migration.

Rules for a migration: the previous release's workers keep running while it is applied, so it adds before it
removes; it takes no lock for long (`lock_timeout` ends it instead); an index on a big table is built
CONCURRENTLY in an autocommit block of its own.
"""

import time
from typing import Any, Literal

from alembic import context
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import Connection, Engine

from schema.session import views_sql
from schema.tables import metadata

_ADVISORY_LOCK = 0x676C6F6265746167  # "globetag"
_AGAIN_AFTER_S = 0.1


def _render(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Writes pgvector's type by its short name into a new migration."""
    return "HALFVEC()" if kind == "type" and isinstance(item, HALFVEC) else False


def _migrate(connection: Connection) -> None:
    connection.exec_driver_sql("SET lock_timeout = '10s'")
    connection.exec_driver_sql("SET statement_timeout = '15min'")
    connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
        render_item=_render,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
    with connection.begin():  # the driver's own statements alone would not be committed
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute(views_sql())


def run() -> None:
    engine: Engine = context.config.attributes["engine"]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as guard, engine.connect() as connection:
        # Asked again and again: a statement that waits for the lock holds a snapshot, and an index that is built
        # CONCURRENTLY by the one who has the lock would wait for that snapshot in turn.
        while not guard.exec_driver_sql(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})").scalar_one():
            time.sleep(_AGAIN_AFTER_S)
        try:
            _migrate(connection)
        finally:
            connection.invalidate()  # its time-outs are meant for migrations: nobody else gets it
            guard.exec_driver_sql(f"SELECT pg_advisory_unlock({_ADVISORY_LOCK})")


run()
