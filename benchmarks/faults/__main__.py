"""Kills, cuts, a full disk, clocks that jump, while photographs are placed: is all there at the end, and once?

Real files go through whole workers with null models, an answer of which takes a moment so that kills hit work in
hand: once with RabbitMQ (a node of this run's own) and once with Postgres as the broker. Two workers and a
dispatcher are processes of their own with a supervisor that starts them again. Faults come one after the other,
spread over the run, in an order that a seed decides. At the end the ledger is asked: N in = N out.

Figures: `kills` (all kill -9), `done, lost` (photographs), `duplicates` (rows too many), `redone` (attempts beyond
one for each photograph) beside `in_flight` (jobs in work when faults struck; no more may be redone), `dead_ends`
(failed or dead), `struck_alone` (jobs whose worker was killed a second time, while it had only that job in work),
`events_missing`, `exits` (processes that ended by themselves and were started again). A fault that this machine
cannot have is skipped and says why. `--quick` has few photographs and faults: no death of RabbitMQ, no full disk,
no hanging network, no clocks.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.faults import ledger
from benchmarks.faults.faults import KILLS, Fault, NotPossible, plan
from benchmarks.faults.stage import STANDSTILL_S, Stage, Stuck, stage
from benchmarks.harness import arguments, report
from benchmarks.work import write_photographs
from worker.errors import SetupError
from worker.intake.sources import iter_submissions
from worker.queue.enqueue import enqueue

_SEED = 20261121
_EVENTS_S = 60.0
_FIGURES = (
    *("kills", "done", "lost", "duplicates", "redone", "in_flight", "dead_ends", "struck_alone"),
    *("events_missing", "exits", "seconds"),
)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, help="photographs on each broker  [default: 5000, quick: 60]")
    parser.add_argument("--workers", type=int, help="processes  [default: 2, quick: 1]")
    parser.add_argument("--threads", type=int, help="of each worker  [default: 8, quick: 4]")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--answer-ms", type=float, help="mean time of an answer  [default: 300, quick: 150]")
    parser.add_argument("--broker", choices=("rabbitmq", "embedded"), help="only this one")
    parser.add_argument("--keep", type=Path, help="a folder for the processes' logs, to look at afterwards")
    given = parser.parse_args()
    given.images = given.images or (60 if given.quick else 5000)
    given.workers = given.workers or (1 if given.quick else 2)
    given.threads = given.threads or (4 if given.quick else 8)
    given.answer_ms = given.answer_ms or (150.0 if given.quick else 300.0)
    brokers = [given.broker] if given.broker else ["rabbitmq", "embedded"]
    figures: dict[str, float | None] = {}
    with ThreadPoolExecutor(len(brokers)) as pool:  # side by side: most of the time is waiting for processes
        for broker, each in zip(brokers, pool.map(lambda name: _measure(name, given), brokers), strict=True):
            figures |= {f"{name}_{broker}": each.get(name) for name in _FIGURES}
    for name in _FIGURES:
        measured = [value for key, value in figures.items() if key.startswith(name + "_") and value is not None]
        figures[name] = sum(measured) if measured else None
    report("faults", figures, {key: "s" if key.startswith("seconds") else "1" for key in figures})


def _measure(broker: str, given: argparse.Namespace) -> Mapping[str, float | None]:
    """One broker's figures; none where it cannot be had."""
    with tempfile.TemporaryDirectory(prefix="globetag-faults-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # Postgres and RabbitMQ may run as users of their own
        write_photographs(home / "photographs", given.images, seed=given.seed)
        try:
            with stage(
                home,
                with_rabbitmq=broker == "rabbitmq",
                workers=given.workers,
                threads=given.threads,
                answer_s=given.answer_ms / 1e3,
            ) as one:
                return _run(one, broker, given.images, random.Random(given.seed), quick=given.quick)
        except SetupError as error:
            print(f"{broker}: not measured: {error}", flush=True)
            return {}
        finally:
            if given.keep is not None:
                given.keep.mkdir(parents=True, exist_ok=True)
                for log in home.glob("*.log"):
                    shutil.copy(log, given.keep / f"{broker}-{log.name}")


def _run(
    one: Stage, broker: str, images: int, chance: random.Random, *, quick: bool
) -> Mapping[str, float | None]:
    order = plan(chance, with_rabbitmq=one.rabbitmq is not None, quick=quick)
    began_s = time.monotonic()
    found = enqueue(one.truth, iter_submissions([str(one.folder / "photographs")]))
    print(f"{broker}: {found.new} photographs, {len(order)} faults", flush=True)
    kills = in_flight = 0
    for number, (name, fault) in enumerate(order):
        due = images * (number + 1) // (len(order) + 2)
        if not _progress(one, due):
            break
        now = ledger.stand(one.truth)
        print(f"{broker}: {time.monotonic() - began_s:4.0f} s, {now.done} done: {name}", flush=True)
        try:
            struck, killed = _strike(one, name, fault, chance)
        except Stuck as error:
            print(f"{broker}: {error}: {ledger.states(one.truth)}", flush=True)
            break
        in_flight += struck
        kills += killed
    _progress(one, images)
    took_s = time.monotonic() - began_s
    end = ledger.stand(one.truth)
    exits = [(process.name, status) for process in one.processes for status in process.ended_by_itself]
    print(
        f"{broker}: {took_s:.0f} s: {ledger.states(one.truth)}; ended by themselves: {exits or 'none'}", flush=True
    )
    one.wait_for(lambda: not ledger.events_missing(one.truth), timeout_s=_EVENTS_S)
    return {
        "kills": kills,
        "done": end.done,
        "lost": images - end.done,
        "duplicates": ledger.duplicates(one.truth, images),
        "redone": end.attempts - end.jobs,
        "in_flight": in_flight,
        "dead_ends": end.settled - end.done,
        "struck_alone": end.struck_alone,
        "events_missing": ledger.events_missing(one.truth),
        "exits": len(exits),
        "seconds": took_s,
    }


def _strike(one: Stage, name: str, fault: Fault, chance: random.Random) -> tuple[int, int]:
    """Lets a fault happen; returns how many jobs were in work and how many processes were killed."""
    try:
        return fault(one, chance), KILLS.get(name, 0)
    except NotPossible as refusal:
        print(f"    SKIPPED {name}: {refusal}", flush=True)
        return 0, 0


def _progress(one: Stage, settled: int) -> bool:
    """Waits until so many photographs are settled; False where nothing has moved for minutes."""
    before = -1
    while True:
        now = ledger.stand(one.truth)
        if now.settled >= settled:
            return True
        if now.settled == before:
            print(f"    nothing moved for {STANDSTILL_S:.0f} s: {ledger.states(one.truth)}", flush=True)
            return False
        before = now.settled
        target = min(settled, before + 1)
        one.wait_for(lambda target=target: ledger.stand(one.truth).settled >= target, timeout_s=STANDSTILL_S)  # type: ignore[misc]


if __name__ == "__main__":
    main()
