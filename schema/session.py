"""Connections to Postgres, and bringing a database up to date."""

from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

_NOTICE_A_DEAD_CABLE = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,  # milliseconds
}
"""A server that is gone without a word is noticed within a minute (the kernel's own defaults are hours)."""


def make_engine(url: str, *, pool_size: int = 8, connect_timeout_s: int = 5) -> Engine:
    """Returns a pooled engine for `url` (`postgresql://…`). Connects lazily; nothing is checked yet."""
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    return create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=8,
        pool_pre_ping=False,
        connect_args={"connect_timeout": connect_timeout_s, "application_name": "globetag"} | _NOTICE_A_DEAD_CABLE,
    )


def upgrade(engine: Engine) -> None:
    """Brings the database to the newest schema and applies the views.

    Safe to call from many processes at once (advisory lock) and on a database that is already current.
    Raises `sqlalchemy.exc.SQLAlchemyError` when the database refuses; each migration is one transaction, so
    nothing is left half-done.
    """
    with as_file(files("schema") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["engine"] = engine
        command.upgrade(config, "head")


def views_sql() -> str:
    """The DDL of every view, with comments and grants."""
    return (files("schema") / "views.sql").read_text(encoding="utf-8")


MIGRATIONS_FOLDER = Path(__file__).parent / "migrations"
