"""Connections to Postgres, and bringing a database up to date."""

from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

from schema import queries

NOTICE_A_DEAD_CABLE = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,  # milliseconds
}
"""With these options of libpq a server that is gone without a word is noticed within a minute, not in hours."""


def make_engine(url: str, *, pool_size: int = 8, recycle_s: int = -1) -> Engine:
    """Returns a pooled engine for `url` (`postgresql://…`). Connects lazily; nothing is checked yet.

    `recycle_s`: a connection older than this is replaced before it is used again; -1: none is.
    """
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    return create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=8,
        pool_pre_ping=False,
        pool_recycle=recycle_s,
        hide_parameters=True,  # rows hold addresses with signatures and webhooks' secrets, and errors are logged
        connect_args={"application_name": "globetag"}
        | {name: value for name, value in NOTICE_A_DEAD_CABLE.items() if name not in parsed.query},
    )


def make_preparing_engine(url: str) -> Engine:
    """An engine with one connection, for one thread that runs the same statements over and over in transactions.

    psycopg prepares what it has run five times, and forgets all of it with the first ROLLBACK, which every look
    without a commit ends in: so this connection is shared with nobody. It is replaced each minute, since a
    prepared statement may keep the plan that was good while its tables were empty.
    """
    return make_engine(url, pool_size=1, recycle_s=60)


def upgrade(engine: Engine) -> None:
    """Brings the database to the newest schema and applies the views.

    Safe to call from many processes at once (advisory lock) and on a database that is already current. Whoever may
    not change the schema (a worker with the role `globetag_worker`) leaves a current one as it is. Raises
    `sqlalchemy.exc.SQLAlchemyError` when the database refuses; each migration is one transaction, so nothing is
    left half-done.
    """
    with as_file(files("schema") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["engine"] = engine
        if not _is_current_and_not_ours(engine, config):
            command.upgrade(config, "head")


def _is_current_and_not_ours(engine: Engine, config: Config) -> bool:
    """Is everything there already, and made by somebody whose rights this login does not have?"""
    with engine.connect() as connection:
        if connection.execute(queries.broker.MAY_CHANGE_SCHEMA).scalar_one():
            return False
        revision = MigrationContext.configure(connection).get_current_revision()
    return revision == ScriptDirectory.from_config(config).get_current_head()


def is_behind(revision: str | None) -> bool:
    """Is a database of this revision older than this code? One that this code has not heard of is newer."""
    with as_file(files("schema") / "migrations") as folder:
        script = ScriptDirectory(str(folder))
        known = {each.revision for each in script.walk_revisions()}
        return revision is None or (revision in known and revision != script.get_current_head())


def views_sql() -> str:
    """The DDL of every view, with comments, the functions that they use, and who may read and write what."""
    parts = ("precision.sql", "views.sql", "roles.sql")
    return "\n".join((files("schema") / part).read_text(encoding="utf-8") for part in parts)


MIGRATIONS_FOLDER = Path(__file__).parent / "migrations"
