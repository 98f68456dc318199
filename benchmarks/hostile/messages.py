"""Message fuzz: thousands of messages that mean harm, through a real broker, to a real worker with null models.

Afterwards each is accounted for: there is the job that it asks for, or a row in `dead_message`. The worker is a
process of its own; it must outlive them all and still do a good job. Figures: `messages`, `lost_messages`
(accounted for nowhere), `crashes` (the worker's death, exceptions that escaped into Celery's loop or a thread, and
a pickle that was loaded). The count goes through RabbitMQ (`--amqp`), a tenth of it through the embedded broker.
"""

import argparse
import base64
import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import amqp
import orjson
from amqp.basic_message import Message
from kombu import Connection
from sqlalchemy import select, text
from sqlalchemy.engine import make_url

from benchmarks.harness import arguments, report
from benchmarks.hostile.mutants import JUNK, PROPERTIES, Mutant, mutants
from benchmarks.null_models import NullEngine, NullGate
from benchmarks.work import write_photographs
from schema.messages import LOCATE_QUEUE, LOCATE_TASK, job_id_for
from schema.tables import dead_message, job
from worker import embedded
from worker.assemble import Models, assemble, broker_ready
from worker.database import Database, open_database
from worker.errors import SetupError
from worker.queue.app import make_app
from worker.settings import Settings

AMQP = "amqp://guest:guest@localhost:5672//"
_QUIET_S = 60.0
_READY = "ready"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, help="messages through RabbitMQ  [default: 10000, quick: 1000]")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--amqp", default=AMQP, help="a RabbitMQ; a virtual host of its own is made there")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        _work(Settings(home=given.work, broker_url=os.environ.get("GLOBETAG_BROKER_URL") or None))
        return
    figures = measure(count=given.count or (1000 if given.quick else 10_000), seed=given.seed, amqp=given.amqp)
    report("hostile_messages", figures, dict.fromkeys(figures, "1"))


def measure(*, count: int, seed: int, amqp: str = AMQP) -> dict[str, float]:
    """Returns `messages, lost_messages, crashes` of both brokers. Raises `SetupError` without a RabbitMQ."""
    with _virtual_host(amqp) as url:
        through_rabbitmq = _run(count, seed, url)
    through_postgres = _run(max(1, count // 10), seed + 1, None)
    return {name: through_rabbitmq[name] + through_postgres[name] for name in through_rabbitmq}


def _run(count: int, seed: int, broker_url: str | None) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        home, canary = Path(folder, "home"), Path(folder, "canary")
        settings = Settings(home=home, broker_url=broker_url)
        try:
            with open_database(settings) as database:
                sent = list(mutants(count, seed, canary=str(canary)))
                broker_ready(make_app(settings, database.url), settings)
                if broker_url is None:
                    _send_postgres(database, sent)
                else:
                    _send_rabbitmq(broker_url, sent)
                with _worker(settings) as worker:
                    lost = _wait_until_accounted(database, sent, worker)
                    good = _does_a_good_job(settings, database, folder, worker)
                    escaped = _end(worker)
                print(
                    f"{'RabbitMQ' if broker_url else 'embedded'}: {count} messages, lost {lost[:20]}, {escaped=}"
                )
                print(f"  {_reasons(database)}", flush=True)
                crashes = escaped + (worker.returncode != 0) + (not good) + canary.exists()
                return {"messages": count, "lost_messages": len(lost), "crashes": crashes}
        finally:
            embedded.stop(home)


# ---------------------------------------------------------------- sending


class _Raw(Message):  # type: ignore[misc]
    """A message with a property list that no library writes."""

    raw_properties: bytes

    def _serialize_properties(self) -> bytes:
        return self.raw_properties


def _send_rabbitmq(url: str, sent: list[Mutant]) -> None:
    """Publishes all, and returns when the broker has confirmed each."""
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        channel: amqp.Channel = connection.default_channel
        for mutant in sent:
            if mutant.raw_properties is not None:
                message = _Raw(mutant.body)
                message.raw_properties = mutant.raw_properties
            else:
                message = Message(mutant.body, application_headers=mutant.headers, **mutant.properties)
            channel.basic_publish(message, exchange="", routing_key=LOCATE_QUEUE)


def _send_postgres(database: Database, sent: list[Mutant]) -> None:
    """Puts all into the queue's table as kombu lays them out; those with raw properties as bare JSON."""
    send = text("SELECT pgmq.send(:queue, CAST(:payload AS jsonb))")
    with database.engine.begin() as connection:
        for number, mutant in enumerate(sent):
            properties = dict(mutant.properties)
            if number % 7 == 0:  # RabbitMQ has types for them, a table does not
                properties[PROPERTIES[number // 7 % len(PROPERTIES)]] = JUNK[number % len(JUNK)]
            payload: dict[str, Any] = {
                "body": base64.b64encode(mutant.body).decode(),
                "content-type": properties.pop("content_type", None),
                "content-encoding": properties.pop("content_encoding", None),
                "headers": mutant.headers,
                "properties": properties | {"body_encoding": "base64", "delivery_tag": "always the same"},
            }
            if mutant.raw_properties is not None:
                payload = {"uri": mutant.tag}
            # Postgres' JSON has no NUL; another control character stands in its place.
            told = orjson.dumps(payload).decode().replace("\\u0000", "\\u0001")
            connection.execute(send, {"queue": LOCATE_QUEUE.replace(".", "_"), "payload": told})


# ---------------------------------------------------------------- looking


def _wait_until_accounted(database: Database, sent: list[Mutant], worker: subprocess.Popen[str]) -> list[str]:
    """The tags of those that are accounted for nowhere when nothing moves any more, or when the worker is dead."""
    lost = _lost(database, sent)
    deadline = time.monotonic() + _QUIET_S
    while lost and time.monotonic() < deadline and worker.poll() is None:
        time.sleep(0.5)
        before, lost = len(lost), _lost(database, sent)
        if len(lost) < before:
            deadline = time.monotonic() + _QUIET_S
    return lost


def _lost(database: Database, sent: list[Mutant]) -> list[str]:
    with database.engine.connect() as connection:
        jobs = {str(found) for found in connection.execute(select(job.c.id)).scalars()}
        rows = connection.execute(
            select(dead_message.c.properties, dead_message.c.body, dead_message.c.times)
        ).all()
    tags = {row.properties.get("message_id") for row in rows}
    bodies = b"\n".join(bytes(row.body) for row in rows if "message_id" not in row.properties)
    return [
        mutant.tag
        for mutant in sent
        if mutant.tag not in tags and mutant.job_id() not in jobs and mutant.tag.encode() not in bodies
    ]


def _does_a_good_job(settings: Settings, database: Database, folder: str, worker: subprocess.Popen[str]) -> bool:
    """Is a photograph that comes after all of them still placed?"""
    photographs = Path(folder, "photographs")
    write_photographs(photographs, 1, seed=1)
    uri = next(photographs.iterdir()).as_uri()
    make_app(settings, database.url).send_task(LOCATE_TASK, kwargs={"uri": uri}, queue=LOCATE_QUEUE)
    state = select(job.c.state).where(job.c.id == str(job_id_for("default", uri)))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and worker.poll() is None:
        with database.engine.connect() as connection:
            if connection.execute(state).scalar_one_or_none() == "done":
                return True
        time.sleep(0.1)
    return False


def _reasons(database: Database) -> dict[str, int]:
    counted = text(
        "SELECT kind || ' ' || reason AS reason, count(*) AS rows FROM failure GROUP BY 1 ORDER BY 2 DESC"
    )
    with database.engine.connect() as connection:
        return {row.reason: row.rows for row in connection.execute(counted)}


# ---------------------------------------------------------------- the worker


@contextmanager
def _worker(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """The worker as a process; killed if it is still there at the end."""
    command = [sys.executable, "-m", "benchmarks.hostile.messages", "--work", str(settings.home)]
    environment = os.environ | {"GLOBETAG_BROKER_URL": settings.broker_url or ""}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    said: list[str] = []
    threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True).start()  # or it fills up
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != _READY:
            raise SetupError("the worker did not start: " + "".join(said)[-500:])
        yield process
    finally:
        process.kill()
        process.wait()


def _end(worker: subprocess.Popen[str]) -> int:
    """Lets the worker drain and stop; returns how many exceptions escaped in it."""
    try:
        said, _ = worker.communicate(timeout=120) if worker.poll() is None else ("", "")
    except (subprocess.TimeoutExpired, ValueError):
        return 1
    lines = [line for line in said.splitlines() if line.startswith("{")]
    if not lines:
        return 1
    escaped = json.loads(lines[-1])["escaped"]
    for line in escaped[:10]:
        print(f"  escaped: {line}")
    return len(escaped)


class _Escaped(logging.Handler):
    """Collects what Celery, kombu and threads report with a traceback, but for refusals that are meant."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.lines.append(
                f"{record.name}: {ascii(record.getMessage())[:200]}: {ascii(record.exc_info[1])[:200]}"
            )


def _work(settings: Settings) -> None:
    escaped = _Escaped()
    logging.basicConfig(level=logging.ERROR, handlers=[escaped])
    threading.excepthook = lambda found: escaped.lines.append(f"thread: {ascii(found.exc_value)[:200]}")
    models = Models(NullGate(), NullEngine(), gate_threshold=0.5)
    with open_database(settings) as database, assemble(settings, database, models, dispatch=False) as worker:
        worker.runner.start()
        print(_READY, flush=True)
        sys.stdin.read()  # until the parent closes it
        failure = worker.failure
        worker.runner.stop(drain_s=60)
    print(json.dumps({"escaped": escaped.lines}), flush=True)
    sys.exit(1 if failure else 0)


@contextmanager
def _virtual_host(url: str) -> Iterator[str]:
    """A virtual host of this run's own. Raises `SetupError` where `rabbitmqctl` may not make one."""
    control = shutil.which("rabbitmqctl")
    name = f"globetag-hostile-{secrets.token_hex(4)}"

    def run(*words: str) -> bool:
        return (
            control is not None
            and not subprocess.run([control, *words], capture_output=True, check=False).returncode
        )

    if not run("add_vhost", name):
        raise SetupError("this needs a RabbitMQ on this machine and the right to use rabbitmqctl")
    try:
        run("set_permissions", "-p", name, make_url(url).username or "guest", ".*", ".*", ".*")
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        run("delete_vhost", name)


if __name__ == "__main__":
    main()
