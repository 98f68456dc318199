"""What differs between the brokers: which one is meant, and how pgmq is told where the database is."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import URL

from schema.session import NOTICE_A_DEAD_CABLE
from worker.queue.broker import celery_options, pgmq_conninfo, uses_pgmq, work_queue
from worker.settings import Settings

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40)

NOTICED = {name: str(value) for name, value in NOTICE_A_DEAD_CABLE.items()}


def _as_the_pgmq_client_does(conninfo: str) -> dict[str, str]:
    """Takes the string apart, puts it together without quoting, and lets libpq take that apart again."""
    parts = conninfo_to_dict(conninfo)
    return conninfo_to_dict(" ".join(f"{key}={value}" for key, value in parts.items()))


@given(user=texts, password=texts, host=texts, database=texts, port=st.integers(1, 65535))
@example(user="o'neill", password="a b\\'c=d", host="/tmp/with space", database="x' host='evil", port=5432)
@example(user="\\", password="'", host="''", database=" ", port=1)
def test_what_a_url_says_reaches_libpq_unchanged(user, password, host, database, port):
    where = {"host": host, "port": str(port)}
    url = URL.create("postgresql", user, password, database=database, query=where)
    found = _as_the_pgmq_client_does(pgmq_conninfo(url.render_as_string(hide_password=False)))
    assert found == {**where, "user": user, "password": password, "dbname": database, **NOTICED}


def test_what_else_stands_in_the_url_reaches_libpq_too():
    url = "postgresql://postgres@/globetag?host=%2Ftmp%2Fa%20b&sslmode=verify-full&keepalives_idle=7"
    assert _as_the_pgmq_client_does(pgmq_conninfo(url)) == {
        "host": "/tmp/a b",
        "port": "5432",
        "user": "postgres",
        "password": "unset",
        "dbname": "globetag",
        **NOTICED,
        "sslmode": "verify-full",
        "keepalives_idle": "7",
    }


@pytest.mark.parametrize(
    ("broker_url", "expected"),
    [(None, True), ("pgmq://", True), ("amqp://host//", False), ("amqps://host/v", False)],
)
def test_the_database_is_the_broker_unless_another_is_named(broker_url, expected):
    assert uses_pgmq(Settings(broker_url=broker_url)) is expected


def test_a_refused_message_goes_to_the_dead_letter_queue_on_rabbitmq():
    arguments = work_queue("geotag.locate").queue_arguments
    assert arguments["x-dead-letter-routing-key"] == "geotag.locate.dead"
    assert arguments["x-queue-type"] == "quorum"


def test_rabbitmq_confirms_what_is_published():
    options = celery_options(Settings(broker_url="amqp://localhost//"), "postgresql://localhost/x")
    assert options["broker_transport_options"]["confirm_publish"] is True
