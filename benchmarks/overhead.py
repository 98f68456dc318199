"""What everything but the models costs: our tasks beside bare no-op Celery tasks, same broker, same pool, one run.

Ours: queue → claim → fetch → decode → metadata → gate → answer → rows committed → acknowledged, with a gate and an
engine that do nothing, on tiny JPEGs. Bare: a task whose body is `pass`, late ack. Both drain a queue that was
filled before the clock starts, each in a fresh process with `--threads` threads. They take turns, and the median
of the ratios is reported: `ratio_rabbitmq, ratio_embedded`. Without a RabbitMQ at `--amqp` its figures are null.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.harness import arguments, report
from benchmarks.null_models import ANSWER, NullEngine, NullGate
from benchmarks.work import wait_until_settled, write_photographs
from schema.messages import LOCATE_QUEUE
from worker import embedded
from worker.assemble import Models, assemble, broker_ready
from worker.database import Database, open_database
from worker.errors import SetupError
from worker.intake.sources import iter_submissions
from worker.place.gazetteer import Gazetteer
from worker.place.resolve import resolve
from worker.queue.app import make_app
from worker.queue.dispatch import Dispatcher
from worker.queue.enqueue import enqueue
from worker.queue.runner import Runner
from worker.reason.answer import Answer, parse
from worker.settings import Settings
from worker.telemetry import Telemetry

_DEADLINE_S = 120.0


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--tasks", type=int, help="tasks in one round  [default: 4000, quick: 1000]")
    parser.add_argument("--rounds", type=int, help="rounds for each broker  [default: 5, quick: 1]")
    parser.add_argument("--threads", type=int, default=Settings.model_fields["threads"].default)
    parser.add_argument(
        "--amqp", default="amqp://guest:guest@localhost:5672//", help="an idle RabbitMQ, not one in use"
    )
    parser.add_argument(
        "--metrics", action="store_true", help="ours measures itself, as with GLOBETAG_METRICS_PORT"
    )
    parser.add_argument("--drain", choices=("bare", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.tasks = given.tasks or (1000 if given.quick else 4000)
    given.rounds = given.rounds or (1 if given.quick else 5)
    if given.drain:
        settings = Settings(home=given.home, broker_url=given.amqp or None, threads=given.threads)
        print(json.dumps({"seconds": _drain(given.drain, settings, given.tasks, metrics=given.metrics)}))
        return
    figures: dict[str, float | None] = {}
    for name, url in (("rabbitmq", given.amqp), ("embedded", "")):
        figures |= _compare(name, url, given)
    units = {key: "1" if key.startswith("ratio") else "1/s" for key in figures}
    report("overhead", figures, units)


def _compare(name: str, amqp: str, given: argparse.Namespace) -> dict[str, float | None]:
    """Takes turns, bare and ours, and returns this broker's figures."""
    bare, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            for round_ in range(given.rounds):
                bare.append(given.tasks / _in_process("bare", home, amqp, given))
                ours.append(given.tasks / _in_process("ours", home, amqp, given))
                print(f"{name}, round {round_ + 1}: bare {bare[-1]:,.0f}/s, ours {ours[-1]:,.0f}/s", flush=True)
        except SetupError as error:
            print(f"{name}: not measured: {error}", flush=True)
            return {f"ratio_{name}": None, f"bare_{name}": None, f"ours_{name}": None}
        finally:
            embedded.stop(home)
    ratios = [own / other for own, other in zip(ours, bare, strict=True)]
    return {
        f"ratio_{name}": statistics.median(ratios),
        f"bare_{name}": statistics.median(bare),
        f"ours_{name}": statistics.median(ours),
    }


def _in_process(kind: str, home: Path, amqp: str, given: argparse.Namespace) -> float:
    """Seconds that one drain took, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--drain", kind, "--home", str(home), "--amqp", amqp]
    command += ["--tasks", str(given.tasks), "--threads", str(given.threads)]
    command += ["--metrics"] if given.metrics else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * _DEADLINE_S, check=False)
    if done.returncode != 0:
        raise SetupError(done.stderr.strip().rpartition("\n")[2] or "the measuring process failed")
    return float(json.loads(done.stdout.strip().rpartition("\n")[2])["seconds"])


def _drain(kind: str, settings: Settings, tasks: int, *, metrics: bool) -> float:
    with open_database(settings) as database:
        if kind == "bare":
            return _drain_bare(settings, database, tasks)
        return _drain_ours(settings, database, tasks, Telemetry() if metrics else None)


class _Countdown:
    """Tells when `tasks` calls were made, from any thread."""

    def __init__(self, tasks: int) -> None:
        self._left = tasks
        self._lock = threading.Lock()
        self.done = threading.Event()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.done.set()


class _Idle:
    """Stands in for the service where there is none: the bare task has no work to wait for."""

    worker = "bare"

    def start(self) -> None: ...

    def stop_taking(self) -> None: ...

    def wait_until_idle(self, _: float | None = None) -> bool:
        return True

    def close(self) -> None: ...


def _drain_bare(settings: Settings, database: Database, tasks: int) -> float:
    app = make_app(settings, database.url)
    counted = _Countdown(tasks)

    @app.task(name="bare", shared=False, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
    def bare() -> None:
        counted()

    broker_ready(app, settings)
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for _ in range(tasks):
            app.send_task("bare", producer=producer, queue=LOCATE_QUEUE, ignore_result=True)
    runner = Runner(app, _Idle(), None)  # type: ignore[arg-type]
    started_s = time.perf_counter()
    runner.start()
    if not counted.done.wait(_DEADLINE_S):
        raise SetupError("the bare tasks did not end in time")
    took_s = time.perf_counter() - started_s
    runner.stop()
    return took_s


def _drain_ours(settings: Settings, database: Database, tasks: int, telemetry: Telemetry | None) -> float:
    photographs = settings.home / f"photographs-{os.getpid()}"
    write_photographs(photographs, tasks, seed=os.getpid())
    answer = parse(ANSWER)
    assert isinstance(answer, Answer)
    resolve(answer, Gazetteer.load())  # loads the names outside the clock
    models = Models(NullGate(), NullEngine(), gate_threshold=0.5)
    with assemble(settings, database, models, dispatch=False, telemetry=telemetry) as worker:
        batch = enqueue(database.engine, iter_submissions([str(photographs)]))
        with worker.app.connection_for_write() as connection:
            Dispatcher(database.engine, worker.app, depth=2 * tasks).step(connection)
        started_s = time.perf_counter()
        worker.runner.start()
        wait_until_settled(database, batch.batch_id, timeout_s=_DEADLINE_S)
        took_s = time.perf_counter() - started_s
        worker.runner.stop()
    return took_s


if __name__ == "__main__":
    main()
