"""Several workers on one broker and one Postgres: does throughput grow with them, and what ends it?

Real worker processes (`benchmarks.faults.null_worker`) over a real RabbitMQ and an embedded Postgres. Their
engine sleeps, a stand-in for a GPU that a machine without one cannot give: eight photographs are in work in each
process and an answer takes a quarter of a second on average, so that a process makes about thirty images/s and a
small part of a core.

First 1, then 2, then 4 of them drain the same queue; `linear_n` is the throughput of n over n times that of one,
the median of rounds. What an image costs then stands in `paced_*` (`cpu_ms_<part>`, `commits_per_image`,
`wal_kb_per_image`), and `gpus_per_<part>_core` is what follows: so many GPUs of `--images-per-gpu` images/s, each
with a worker of its own, keep one core of that part busy.

Then the pause is taken away and processes are added until throughput grows by less than a twentieth.
`limit_per_s` is what was reached with `limit_processes`; `share_<part>` the cores that each part kept busy,
`share_others` those that something else had, so that what is used up can be seen. `fast_*` is what an image costs
where many share a transaction.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from benchmarks.faults.processes import Supervised
from benchmarks.harness import arguments, report
from benchmarks.work import write_photographs
from schema.messages import LANES
from worker import embedded
from worker.assemble import broker_ready
from worker.database import Database, open_database
from worker.errors import SetupError
from worker.intake.sources import iter_submissions
from worker.queue.app import make_app
from worker.queue.enqueue import enqueue
from worker.settings import PREFIX, Settings

_ANSWER_S = 0.25
_THREADS = 8
_FAST_THREADS = 32
_PROCESSES = (1, 2, 4)
_GROWS = 1.05
_TIMEOUT_S = 120.0
_LOOK_EVERY_S = 0.1

_COUNT = """
SELECT (SELECT count(*) FROM job WHERE state = 'done') AS done,
       extract(epoch FROM clock_timestamp())::float8 AS at_s,
       (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits,
       (SELECT wal_bytes::float8 FROM pg_stat_wal) AS wal_bytes
"""


@dataclass(frozen=True, slots=True)
class Look:
    """Where everything stood at a moment. `cpu_s` by part: worker, dispatcher, postgres, rabbitmq."""

    done: int
    at_s: float
    commits: int
    wal_bytes: float
    cpu_s: dict[str, float]
    machine_cpu_s: float = 0.0


def between(before: Look, after: Look) -> dict[str, float]:
    """Images in a second, and what each cost; cores that each part kept busy."""
    images, took_s = after.done - before.done, after.at_s - before.at_s
    if images <= 0:
        raise SetupError("nothing was done while it was measured")
    cpu_s = {part: after.cpu_s[part] - before.cpu_s[part] for part in after.cpu_s}
    return {
        "per_s": images / took_s,
        "commits_per_image": (after.commits - before.commits) / images,
        "wal_kb_per_image": (after.wal_bytes - before.wal_bytes) / images / 1e3,
        **{f"cpu_ms_{part}": used / images * 1e3 for part, used in cpu_s.items()},
        **{f"share_{part}": used / took_s for part, used in cpu_s.items()},
        "share_others": (after.machine_cpu_s - before.machine_cpu_s - sum(cpu_s.values())) / took_s,
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, help="of 1, 2, 4 processes  [default: 5, quick: 1]")
    parser.add_argument("--seconds", type=float, help="of each measurement  [default: 12, quick: 3]")
    parser.add_argument("--images-per-gpu", type=float, default=10.0, help="a second, for the arithmetic")
    parser.add_argument(
        "--amqp", default="amqp://guest:guest@localhost:5672//", help="an idle RabbitMQ, not one in use"
    )
    given = parser.parse_args()
    rounds, seconds = given.rounds or (1 if given.quick else 5), given.seconds or (3.0 if given.quick else 12.0)
    most = 2 if given.quick else 8
    with tempfile.TemporaryDirectory(prefix="globetag-scale-") as folder:
        stage = _Stage(Path(folder), given.amqp)
        try:
            with stage.opened():
                figures = _linear(stage, rounds, seconds, given.images_per_gpu) | _limit(stage, seconds, most)
        finally:
            embedded.stop(stage.home)
    report("scale", figures, {name: _unit(name) for name in figures})


class _Stage:
    """Postgres, broker and dispatcher; workers come and go."""

    def __init__(self, folder: Path, amqp: str) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self._amqp = amqp
        self._photographs = 0
        self.processes: list[Supervised] = []

    @contextmanager
    def opened(self) -> Iterator[None]:
        with ExitStack() as stack:
            self.url = embedded.start(self.home)
            self._settings = Settings(home=self.home, database_url=self.url, broker_url=self._amqp)
            self.database: Database = stack.enter_context(open_database(self._settings))
            app = make_app(self._settings, self.url)
            broker_ready(app, self._settings)
            with app.connection_for_write() as broker:
                for queue in LANES.values():
                    broker.default_channel.queue_purge(queue)
            self.dispatcher = Supervised(
                "dispatcher", ["-m", "worker", "dispatch"], self._of(_THREADS), self._log("d")
            )
            stack.callback(self.dispatcher.stop)
            self.dispatcher.tend()
            self._psycopg = stack.enter_context(psycopg.connect(self.url, autocommit=True))
            self._rabbit = [each for each in psutil.process_iter(["name"]) if each.info["name"] == "beam.smp"]
            yield

    def _of(self, threads: int) -> dict[str, str]:
        return {
            "OMP_NUM_THREADS": "1",
            PREFIX + "HOME": str(self.home / "unused"),
            PREFIX + "DATABASE_URL": self.url,
            PREFIX + "BROKER_URL": self._amqp,
            PREFIX + "THREADS": str(threads),
        }

    def _log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def feed(self, count: int) -> None:
        """More photographs to do, each with a content of its own."""
        self._photographs += 1
        folder = self.home / f"photographs-{self._photographs}"
        write_photographs(folder, count, seed=self._photographs)
        enqueue(self.database.engine, iter_submissions([str(folder)]))

    def left(self) -> int:
        """How many wait or are in work."""
        found = self._psycopg.execute("SELECT count(*) FROM job WHERE state IN ('queued', 'running')").fetchone()
        assert found is not None
        return int(found[0])

    def start(self, answer_s: float, threads: int) -> None:
        """One more worker."""
        work = ["-m", "benchmarks.faults.null_worker", str(answer_s)]
        number = len(self.processes)
        self.processes.append(Supervised(f"worker {number}", work, self._of(threads), self._log(f"w{number}")))
        self.processes[-1].tend()

    def stop(self) -> None:
        """No workers any more."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.stop()
        self.processes.clear()

    def look(self) -> Look:
        """Where everything stands."""
        row = self._psycopg.execute(_COUNT).fetchone()
        assert row is not None
        done, at_s, commits, wal_bytes = row
        machine = psutil.cpu_times()
        busy_s = sum(machine[:-2]) - machine.idle - machine.iowait  # guests are counted in user already
        return Look(done, at_s, commits, wal_bytes, self._cpu_s(), busy_s)

    def measure(self, seconds: float) -> dict[str, float]:
        """Over so many seconds in which all workers have work."""
        before = self.look()
        time.sleep(seconds)
        after = self.look()
        if self.left() == 0:
            raise SetupError("the work was done before the time was over")
        return between(before, after)

    def wait_for_all(self) -> None:
        """Returns when each worker has settled something."""
        self._wait(lambda: all(self._settled_by(each.pid) for each in self.processes))

    def _settled_by(self, pid: int | None) -> int:
        found = self._psycopg.execute(
            "SELECT count(*) FROM job WHERE state = 'done' AND worker LIKE %s", [f"%/{pid}/%"]
        ).fetchone()
        assert found is not None
        return int(found[0])

    def _wait(self, seen: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + _TIMEOUT_S
        while not seen():
            if time.monotonic() > deadline_s:
                raise SetupError(f"the workers did not begin; see {self.home}")
            time.sleep(_LOOK_EVERY_S)

    def _cpu_s(self) -> dict[str, float]:
        postmaster = psutil.Process(int((self.home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0]))
        parts = {
            "worker": [psutil.Process(each.pid) for each in self.processes if each.pid],
            "dispatcher": [psutil.Process(self.dispatcher.pid)],
            "postgres": [postmaster, *postmaster.children()],
            "rabbitmq": self._rabbit,
        }
        return {part: sum(map(_used_s, processes)) for part, processes in parts.items()}


def _used_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _linear(stage: _Stage, rounds: int, seconds: float, images_per_gpu: float) -> dict[str, float]:
    found: dict[int, list[dict[str, float]]] = {n: [] for n in _PROCESSES}
    for round_ in range(rounds):
        stage.feed(round(2 * sum(_PROCESSES) * seconds * _THREADS / _ANSWER_S) + 2000)
        for n in _PROCESSES:
            while len(stage.processes) < n:
                stage.start(_ANSWER_S, _THREADS)
            stage.wait_for_all()
            found[n].append(stage.measure(seconds))
            print(f"round {round_ + 1}: {n} processes: {found[n][-1]['per_s']:.1f}/s", flush=True)
        stage.stop()
    figures = {"per_s_1": statistics.median(each["per_s"] for each in found[1])}
    for n in _PROCESSES[1:]:
        shares = [many["per_s"] / (n * one["per_s"]) for one, many in zip(found[1], found[n], strict=True)]
        figures[f"linear_{n}"] = statistics.median(shares)
    costs = [name for name in found[_PROCESSES[-1]][0] if name.startswith("cpu_ms") or name.endswith("per_image")]
    paced = {name: statistics.median(each[name] for each in found[_PROCESSES[-1]]) for name in costs}
    for part in ("postgres", "rabbitmq", "dispatcher"):
        figures[f"gpus_per_{part}_core"] = 1000 / paced[f"cpu_ms_{part}"] / images_per_gpu
    return figures | {f"paced_{name}": value for name, value in paced.items()}


def _limit(stage: _Stage, seconds: float, most: int) -> dict[str, float]:
    """More and more processes without a pause, until it is no use."""
    best: dict[str, float] = {"per_s": 0.0}
    while len(stage.processes) < most:
        stage.start(0.0, _FAST_THREADS)
        if stage.left() < 1500 * seconds:
            stage.feed(round(3000 * seconds))
        stage.wait_for_all()
        found = stage.measure(seconds)
        used = ", ".join(f"{part[6:]} {found[part]:.2f}" for part in found if part.startswith("share_"))
        count = len(stage.processes)
        print(f"without a pause, {count} processes: {found['per_s']:.0f}/s; cores: {used}", flush=True)
        grows = found["per_s"] > _GROWS * best["per_s"]
        if found["per_s"] > best["per_s"]:
            best = found | {"processes": count}
        if not grows:
            break
    stage.stop()
    return {_named(name): value for name, value in best.items()}


def _named(name: str) -> str:
    if name in ("per_s", "processes"):
        return f"limit_{name}"
    return name if name.startswith("share_") else f"fast_{name}"


def _unit(name: str) -> str:
    if "per_s_" in name or name.endswith("per_s"):
        return "1/s"
    if "_wal_kb_" in name:
        return "kB"
    return "ms" if "_cpu_ms_" in name else "cores" if name.startswith("share_") else "1"


if __name__ == "__main__":
    main()
