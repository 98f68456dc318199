"""A worker with no more rights than the role `globetag_worker` does all of its work, and nothing beside it."""

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.engine import make_url

from tests.integration.conftest import Line
from tests.support import write_pictures
from worker.database import open_database
from worker.settings import Settings


def login_url(database, name, role):
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {name}")
        connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {role}")
    return make_url(database.url).set(username=name).render_as_string(hide_password=False)


@pytest.fixture
def worker_url(database):
    return login_url(database, "night_worker", "globetag_worker")


@pytest.mark.rabbitmq
def test_a_worker_with_the_role_alone_places_photographs(database, worker_url, rabbitmq, tmp_path):
    settings = Settings(home=tmp_path / "home", database_url=worker_url, broker_url=rabbitmq, threads=4)
    with psycopg.connect(database.url) as connection:
        connection.execute("INSERT INTO collection (name, precision_km) VALUES ('capped', 25)")
    with open_database(settings) as opened:
        line = Line(settings, opened)
        line.enqueue(write_pictures(tmp_path / "plain", 3))
        line.enqueue(write_pictures(tmp_path / "known", 2, position=(-34, 18)))
        with line.working():
            assert line.wait_until_settled(5) == {"done": 5}
    with psycopg.connect(database.url) as connection:
        assert set(connection.execute("SELECT DISTINCT outcome FROM job")) == {("located",), ("known",)}
        assert connection.execute("SELECT count(*) FROM gallery").fetchone() == (2,)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id integer)",
        "DROP TABLE job",
        "ALTER TABLE job ADD mine integer",
        "TRUNCATE job",
        "DELETE FROM label",
        "DELETE FROM prediction",
        "DELETE FROM image",
        "UPDATE label SET lat = 0",
        "UPDATE prediction SET lat = 0",
        "UPDATE collection SET precision_km = NULL",
        "INSERT INTO promotion (base, by, reason, action) VALUES ('b', 'me', '', 'rollback')",
        "DELETE FROM forgotten",
        "INSERT INTO forgotten (sha256, forgotten_by, reason) VALUES (repeat('a', 64), 'me', 'other')",
        "SELECT * FROM position_read",
        "SELECT request_positions(ARRAY['a'], 'curiosity')",
        "CREATE OR REPLACE VIEW failure AS SELECT 1",
    ],
)
def test_a_worker_is_refused_what_is_not_its_work(worker_url, statement):
    with psycopg.connect(worker_url) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)


def test_the_roles_have_no_login_of_their_own(database):
    with psycopg.connect(database.url) as connection:
        found = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'globetag\\_%' AND NOT rolcanlogin AND NOT rolsuper"
            " AND NOT rolcreaterole AND NOT rolcreatedb AND NOT rolbypassrls"
        ).fetchall()
    assert {"globetag_reader", "globetag_precise", "globetag_worker"} <= {name for (name,) in found}
