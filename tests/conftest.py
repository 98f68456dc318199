"""Fixtures: a real Postgres for the session with a fresh database for each test, and both brokers."""

import itertools
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from kombu import Connection, Queue
from psycopg import sql
from sqlalchemy.engine import make_url

from schema.messages import DEAD_SUFFIX, INGRESS_QUEUE, LANES, LOCATE_QUEUE
from tests.support import AMQP_URL, own_home, require
from worker import embedded
from worker.database import Database, open_database
from worker.queue.broker import BROKER_ERRORS
from worker.settings import PREFIX, Settings

_TEMPLATE = "template_globetag"
_numbers = itertools.count()
OUR_QUEUES = [*LANES.values(), INGRESS_QUEUE, LOCATE_QUEUE + DEAD_SUFFIX, INGRESS_QUEUE + DEAD_SUFFIX]

hypothesis.settings.register_profile("without the clock", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("without the clock")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an embedded Postgres of this session's own."""
    with own_home() as home:
        url = embedded.start(home)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # tests kill processes, never the machine
            connection.execute("SELECT pg_reload_conf()")
        yield url


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty folder for GLOBETAG_HOME; a Postgres that was started in it is stopped at the end."""
    with own_home() as folder:
        yield folder


@pytest.fixture(scope="session")
def template(postgres: str) -> str:
    """The name of a database that is up to date, also as a broker, and has no rows."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
    with open_database(Settings(database_url=_url(postgres, _TEMPLATE))):
        return _TEMPLATE


@pytest.fixture
def empty_database_url(postgres: str) -> Iterator[str]:
    """The URL of a database of this test's own, without any tables."""
    yield from _fresh_database(postgres, "template1")


@pytest.fixture
def database(postgres: str, template: str) -> Iterator[Database]:
    """A database of this test's own, up to date and without rows."""
    for url in _fresh_database(postgres, template):
        with open_database(Settings(database_url=url)) as opened:
            yield opened


@pytest.fixture(params=["pgmq", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker_url(request: pytest.FixtureRequest) -> str | None:
    """What GLOBETAG_BROKER_URL is set to: None for the database as broker, else RabbitMQ with empty queues."""
    if request.param == "pgmq":
        return None
    url: str = request.getfixturevalue("rabbitmq")
    return url


@pytest.fixture
def settings(tmp_path: Path, database: Database, broker_url: str | None) -> Settings:
    """Settings for a small worker on this test's own database and broker."""
    return Settings(
        home=tmp_path / "home",
        database_url=database.url,
        broker_url=broker_url,
        threads=8,
        retry_backoff_s=0.05,
        allow_private_addresses=True,
    )


@pytest.fixture
def rabbitmq(rabbitmq_vhost: str) -> Iterator[str]:
    """The URL of a RabbitMQ that holds none of our queues."""
    yield rabbitmq_vhost
    with Connection(rabbitmq_vhost) as connection:
        for name in OUR_QUEUES:
            Queue(name, channel=connection.default_channel).delete()


@pytest.fixture(scope="session")
def rabbitmq_vhost() -> Iterator[str]:
    """A virtual host of this session's own; the one of the URL where `rabbitmqctl` may not be used."""
    try:
        with Connection(AMQP_URL, connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            refusal = ""
    except BROKER_ERRORS as error:
        refusal = f"RabbitMQ is not to be had at GLOBETAG_TEST_AMQP_URL ({error})"
    require(not refusal, refusal)
    name = f"globetag-test-{secrets.token_hex(4)}"
    if not _rabbitmqctl("add_vhost", name):
        _refuse_foreign_messages()
        yield AMQP_URL
        return
    try:
        user = make_url(AMQP_URL).username or "guest"
        assert _rabbitmqctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
        yield make_url(AMQP_URL).set(database=name).render_as_string(hide_password=False)
    finally:
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*arguments: str) -> bool:
    command = shutil.which("rabbitmqctl")
    if command is None:
        return False
    return subprocess.run([command, *arguments], capture_output=True, timeout=60, check=False).returncode == 0


def _refuse_foreign_messages() -> None:
    """These tests delete their queues: they must not be somebody's."""
    with Connection(AMQP_URL) as connection:
        for name in OUR_QUEUES:
            try:
                found = connection.channel().queue_declare(name, passive=True).message_count
            except connection.channel_errors:
                continue
            if found:
                pytest.fail(
                    f"{AMQP_URL} has a queue {name} with {found} messages; give the tests another RabbitMQ"
                )


def _fresh_database(server_url: str, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        yield _url(server_url, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(server_url: str, database: str) -> str:
    return make_url(server_url).set(database=database).render_as_string(hide_password=False)
