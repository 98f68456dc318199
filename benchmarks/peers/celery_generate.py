"""Peer: a plain Celery task that calls `model.generate` for one image and writes one row into Postgres.

As manuals show it: prefork, a process for each core, the model loaded when a process starts, Celery's defaults for
acknowledging (before the work). RabbitMQ as broker.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
from celery import Celery
from celery.signals import worker_process_init

from benchmarks.peers.asking import Model, files_of, read
from benchmarks.peers.turns import serve
from worker import embedded

_LOOK_EVERY_S = 0.05
_STILL_S = 15.0
"""After so long without a new row and without a waiting message, what is missing does not come any more."""
QUEUE = os.environ.get("PEERS_QUEUE", "peers")
BROKER = os.environ.get("PEERS_AMQP", "amqp://guest:guest@localhost:5672//")

app = Celery("peers", broker=BROKER)
app.conf.update(
    task_default_queue=QUEUE, broker_connection_retry_on_startup=False, worker_hijack_root_logger=False
)
_of_process: dict[str, Any] = {}


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _load(**_: object) -> None:
    _of_process["model"] = Model()
    _of_process["rows"] = psycopg.connect(os.environ["PEERS_DATABASE"], autocommit=True)


@app.task(name="peers.answer", ignore_result=True)  # type: ignore[untyped-decorator]
def answer(path: str) -> None:
    """One image, one row."""
    [text] = _of_process["model"].answer([read(path)])
    _of_process["rows"].execute("INSERT INTO answer (path, text) VALUES (%s, %s)", (path, text))


def main(home: Path) -> None:
    """Starts Postgres and Celery's worker, and takes turns."""
    url = embedded.start(home)
    with psycopg.connect(url, autocommit=True) as rows:
        rows.execute("CREATE TABLE IF NOT EXISTS answer (path text, text text)")

        def stored() -> int:
            found = rows.execute("SELECT count(DISTINCT path) FROM answer").fetchone()
            return int(found[0]) if found else 0

        command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_generate", "worker"]
        command += ["--concurrency", str(len(os.sched_getaffinity(0))), "--loglevel", "ERROR"]
        process = subprocess.Popen(command, stdout=sys.stderr, env={**os.environ, "PEERS_DATABASE": url})
        threading.Thread(target=_end_with, args=(process,), daemon=True).start()
        while not app.control.ping(timeout=1):
            if process.poll() is not None:
                raise SystemExit("Celery's worker does not start: is there a RabbitMQ?")

        def run(folder: Path) -> None:
            paths = files_of(folder)
            goal = stored() + len(paths)
            for path in paths:
                answer.delay(path)
            while stored() < goal:
                time.sleep(_LOOK_EVERY_S)

        def rest(folder: Path) -> None:  # noqa: ARG001 (the broker knows what is left)
            last, since_s = stored(), time.monotonic()
            while time.monotonic() - since_s < _STILL_S:
                time.sleep(_LOOK_EVERY_S)
                if (now := stored()) != last:
                    last, since_s = now, time.monotonic()

        serve(run, rest, stored)
        process.terminate()
        process.wait()
        with app.connection_for_write() as connection:
            connection.default_channel.queue_delete(QUEUE)
    embedded.stop(home)


def _end_with(process: "subprocess.Popen[bytes]") -> None:
    """Where Celery's worker ends, so does this process: nobody would answer."""
    if process.wait() not in (0, -15):
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
