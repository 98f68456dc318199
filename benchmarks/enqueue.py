"""A million photographs at once: how fast they become jobs, in how much memory, and how deep the broker gets then.

A CSV manifest of `--rows` web addresses goes through the code of `globetag enqueue` into an embedded Postgres.
Then three dispatchers publish, at first into a queue that nobody reads; then a whole worker with null models takes
up what they publish, on each broker for a while: it refuses each address, which lies on this machine, so that a
photograph costs only its way through the queue.

Figures: `rows_per_s` and `peak_mb` (the resident set of the enqueueing process; `growth_mb`: after the first
tenth), `cpu_rows_per_s` (rows for each second that this process computed: what other work on the machine does not
change), `again_rows_per_s` for rows that are known; `take_ms`, the quickest round of the dispatcher's statement
while all are queued; `depth_max`, the most messages that waited in one lane (bound: `depth`), with three
dispatchers; and `urgent_wait_ms`, from the row of an interactive photograph to its start behind all others, the
longest of some.
Without a RabbitMQ at `--amqp` its figures are null.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import psutil
from sqlalchemy import select, text

from benchmarks.harness import arguments, report
from benchmarks.null_models import NullEngine, NullGate
from schema import queries
from schema.messages import LANES
from schema.tables import job
from worker import embedded
from worker.assemble import Models, Worker, assemble
from worker.database import Database, open_database
from worker.errors import SetupError
from worker.intake.sources import Submission, iter_submissions
from worker.queue.broker import waiting
from worker.queue.dispatch import Dispatcher
from worker.queue.enqueue import enqueue
from worker.settings import Settings

_ADDRESS = "https://127.0.0.1/plates"
_DISPATCHERS = 3
_ROUNDS = 20
_AGAIN = 100_000
_LOOK_EVERY_S = 0.01


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, help="how many  [default: 1000000, quick: 100000]")
    parser.add_argument("--seconds", type=float, help="of draining on each broker  [default: 60, quick: 6]")
    parser.add_argument(
        "--amqp", default="amqp://guest:guest@localhost:5672//", help="an idle RabbitMQ, not one in use"
    )
    given = parser.parse_args()
    rows = given.rows or (100_000 if given.quick else 1_000_000)
    seconds = given.seconds or (6.0 if given.quick else 60.0)
    with tempfile.TemporaryDirectory(prefix="globetag-enqueue-") as folder:
        home = Path(folder, "home")
        try:
            figures = _measure(home, rows, seconds, given.amqp)
        finally:
            embedded.stop(home)
    units = {name: _unit(name) for name in figures}
    report("enqueue", figures, units)


def _measure(home: Path, rows: int, seconds: float, amqp: str) -> dict[str, float | None]:
    settings = Settings(home=home)
    figures: dict[str, float | None] = {"rows": rows, "depth": settings.queue_depth}
    home.mkdir()
    manifest = _write_manifest(home / "manifest.csv", rows)
    with open_database(settings) as database:
        figures |= _enqueue(database, manifest, rows)
        figures |= _take(database, settings)
        for name, url in (("embedded", None), ("rabbitmq", amqp)):
            of_broker = settings.model_copy(update={"broker_url": url})
            figures |= _drain(name, of_broker, database, seconds)
    depths = [figures[f"depth_max_{name}"] for name in ("embedded", "rabbitmq")]
    figures["depth_max"] = max(depth for depth in depths if depth is not None)
    return figures


def _write_manifest(path: Path, rows: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("uri,text\n")
        file.writelines(f"{_ADDRESS}/{n // 1000:04}/{n:07}.jpg,Glass plate {n}\n" for n in range(rows))
    return path


def _enqueue(database: Database, manifest: Path, rows: int) -> dict[str, float | None]:
    me = psutil.Process()
    rss_mb: list[float] = []
    done = 0

    def look(count: int) -> None:
        nonlocal done
        done += count
        rss_mb.append(me.memory_info().rss / 1e6)
        if done % (rows // 10) < count:
            print(
                f"{done:,} rows, {done / (time.perf_counter() - began_s):,.0f}/s, {rss_mb[-1]:,.0f} MB", flush=True
            )

    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    result = enqueue(database.engine, iter_submissions([str(manifest)]), on_progress=look)
    took_s, took_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    if result.new != rows:
        raise SetupError(f"of {rows:,} rows {result.new:,} became new jobs")
    again = min(_AGAIN, rows)
    began_s = time.perf_counter()
    known = enqueue(database.engine, islice(iter_submissions([str(manifest)]), again)).waiting
    if known != again:
        raise SetupError(f"of {again:,} rows {known:,} were known")
    return {
        "rows_per_s": rows / took_s,
        "cpu_rows_per_s": rows / took_cpu_s,
        "again_rows_per_s": again / (time.perf_counter() - began_s),
        "peak_mb": max(rss_mb),
        "growth_mb": max(rss_mb) - max(rss_mb[: max(len(rss_mb) // 10, 1)]),
    }


def _take(database: Database, settings: Settings) -> dict[str, float | None]:
    """How long the dispatcher's statement takes while everything is queued; each round is taken back."""
    asked = {"lane": 0, "room": settings.queue_depth, "least": 8, "last_chance": 2}
    took_ms = []
    with database.engine.connect() as connection:
        for _ in range(_ROUNDS):
            connection.execute(queries.flow.BEGIN_ROUND)
            began_s = time.perf_counter()
            taken = connection.execute(queries.flow.TAKE_DUE, asked).all()
            took_ms.append((time.perf_counter() - began_s) * 1000)
            connection.rollback()
            if len(taken) != settings.queue_depth:
                raise SetupError(f"{len(taken)} rows were taken instead of {settings.queue_depth}")
    print(f"one round: {min(took_ms):.1f} to {max(took_ms):.1f} ms for {settings.queue_depth} rows", flush=True)
    return {"take_ms": min(took_ms)}


def _drain(name: str, settings: Settings, database: Database, seconds: float) -> dict[str, float | None]:
    """Dispatches and works for a while; tells how deep the broker got and how long urgent photographs waited."""
    figures: dict[str, float | None] = {
        f"depth_max_{name}": None,
        f"drained_per_s_{name}": None,
        f"urgent_wait_ms_{name}": None,
    }
    models = Models(NullGate(), NullEngine(), gate_threshold=0.5)
    try:
        with (
            assemble(settings, database, models, dispatch=True) as worker,
            _more_dispatchers(worker, database, settings),
        ):
            filled, _ = _watch(worker, database, seconds / 3, urgent_too=False)
            before = _settled(database)
            worker.runner.start()
            began_s = time.perf_counter()
            deepest, urgent = _watch(worker, database, seconds)
            deepest = max(deepest, filled)
            took_s = time.perf_counter() - began_s
            drained = _settled(database) - before
            worker.runner.stop()
    except SetupError as error:
        print(f"{name}: not measured: {error}", flush=True)
        return figures
    waits_ms = _waits_ms(database, urgent)
    print(f"{name}: {drained / took_s:,.0f}/s, at most {deepest} messages, urgent ones {waits_ms} ms", flush=True)
    return {
        f"depth_max_{name}": deepest,
        f"drained_per_s_{name}": drained / took_s,
        f"urgent_wait_ms_{name}": max(waits_ms),
    }


def _watch(
    worker: Worker, database: Database, seconds: float, *, urgent_too: bool = True
) -> tuple[int, list[str]]:
    """Looks at both lanes all the time, and puts an urgent photograph in at each tenth of it, if `urgent_too`."""
    deepest = 0
    urgent: list[str] = []
    until_s = time.perf_counter() + seconds
    with worker.app.connection_for_write() as broker:
        while (left_s := until_s - time.perf_counter()) > 0:
            deepest = max(deepest, *(waiting(broker, queue) for queue in LANES.values()))
            if urgent_too and len(urgent) < 9 and left_s < seconds * (1 - (len(urgent) + 1) / 10):
                urgent.append(f"{_ADDRESS}/urgent/{time.time_ns()}.jpg")
                enqueue(database.engine, [Submission(urgent[-1])], priority=1)
            time.sleep(_LOOK_EVERY_S)
    return deepest, urgent


@contextmanager
def _more_dispatchers(worker: Worker, database: Database, settings: Settings) -> Iterator[None]:
    """Beside the worker's own."""
    others = [Dispatcher(database.engine, worker.app, depth=settings.queue_depth) for _ in range(_DISPATCHERS - 1)]
    threads = [threading.Thread(target=other.run, daemon=True) for other in others]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for other in others:
            other.stop()
        for thread in threads:
            thread.join(10)


def _settled(database: Database) -> int:
    with database.engine.connect() as connection:
        counted = connection.execute(text("SELECT count(*) FROM job WHERE state IN ('done', 'failed', 'dead')"))
        return int(counted.scalar_one())


def _waits_ms(database: Database, uris: list[str]) -> list[int]:
    with database.engine.connect() as connection:
        asked = select(job.c.started_at, job.c.created_at).where(job.c.uri.in_(uris))
        rows = connection.execute(asked).all()
    if any(row.started_at is None for row in rows):
        raise SetupError("an urgent photograph was not begun in all the time")
    return [round((row.started_at - row.created_at).total_seconds() * 1000) for row in rows]


def _unit(name: str) -> str:
    if "per_s" in name:
        return "1/s"
    return next((unit for unit in ("mb", "ms") if name.endswith("_" + unit) or f"_{unit}_" in name), "1").replace(
        "mb", "MB"
    )


if __name__ == "__main__":
    main()
