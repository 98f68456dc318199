"""The faults, one function each. They return what was in work when they struck, so what may be done twice."""

import random
from collections.abc import Callable

from sqlalchemy import text

from benchmarks.faults import ledger
from benchmarks.faults.processes import Supervised, faketime_library
from benchmarks.faults.stage import STANDSTILL_S, Stage, has_work, wait_for_work
from worker.errors import SetupError

Fault = Callable[[Stage, random.Random], int]


class NotPossible(SetupError):
    """This machine cannot have this fault; the message says why."""


def kill_worker(one: Stage, chance: random.Random) -> int:
    """kill -9 of a worker that has work in hand, at a random moment of that work."""
    victim = chance.choice(one.workers)
    wait_for_work(one, victim)
    one.wait(chance.uniform(0, 0.5))
    return _killed(one, victim)


def kill_dispatcher(one: Stage, chance: random.Random) -> int:
    """kill -9 of the dispatcher; it is started again after a second."""
    one.wait(chance.uniform(0, 0.5))
    assert one.dispatcher is not None
    one.dispatcher.kill()
    return 0


def kill_postgres(one: Stage, chance: random.Random) -> int:
    """kill -9 of the postmaster under working workers; somebody starts it again after some seconds."""
    one.wait_for(lambda: any(has_work(one, worker) for worker in one.workers), timeout_s=STANDSTILL_S)
    at_risk = ledger.in_work(one.truth)
    one.postgres.kill()
    one.wait(chance.uniform(0.5, 3))
    one.postgres.start()
    return at_risk


def kill_broker(one: Stage, chance: random.Random) -> int:
    """kill -9 of RabbitMQ; somebody starts it again after some seconds."""
    assert one.rabbitmq is not None
    at_risk = ledger.in_work(one.truth)
    one.rabbitmq.kill()
    one.wait(chance.uniform(0.5, 3))
    one.rabbitmq.start()
    return at_risk


def lose_broker_data(one: Stage, chance: random.Random) -> int:
    """The broker forgets all: queues and messages on RabbitMQ, every message that waits on pgmq."""
    at_risk = ledger.in_work(one.truth)
    if one.rabbitmq is None:
        with one.truth.begin() as connection:
            connection.execute(text("DELETE FROM pgmq.q_geotag_locate"))
        return at_risk
    one.rabbitmq.kill()
    one.rabbitmq.lose_data()
    one.wait(chance.uniform(0, 1))
    one.rabbitmq.start()
    return at_risk


def cut_database(one: Stage, chance: random.Random) -> int:
    """Every connection to Postgres is reset."""
    one.wait(chance.uniform(0, 0.5))
    at_risk = ledger.in_work(one.truth)
    one.database_cable.cut()
    return at_risk


def cut_broker(one: Stage, chance: random.Random) -> int:
    """Every connection to RabbitMQ is reset."""
    one.wait(chance.uniform(0, 0.5))
    assert one.broker_cable is not None
    at_risk = ledger.in_work(one.truth)
    one.broker_cable.cut()
    return at_risk


def hang_database(one: Stage, chance: random.Random) -> int:
    """For some seconds nothing comes through to Postgres, then all connections are reset."""
    at_risk = ledger.in_work(one.truth)
    one.database_cable.hold()
    one.wait(chance.uniform(2, 6))
    one.database_cable.cut()
    one.database_cable.release()
    return at_risk


def hang_broker(one: Stage, chance: random.Random) -> int:
    """For some seconds nothing comes through to RabbitMQ, then it goes on as if nothing had been."""
    assert one.broker_cable is not None
    one.broker_cable.hold()
    one.wait(chance.uniform(2, 6))
    one.broker_cable.release()
    return 0


def fill_disk(one: Stage, chance: random.Random) -> int:
    """The database's disk is full for some seconds; where that ends Postgres, somebody starts it afterwards."""
    if one.postgres.disk_refusal is not None:
        raise NotPossible(f"no file system of its own for the database: {one.postgres.disk_refusal}")
    at_risk = ledger.in_work(one.truth)
    filled = one.postgres.fill_disk()
    one.wait(chance.uniform(4, 7))
    survived = one.postgres.is_running
    one.postgres.empty_disk()
    one.postgres.start()
    print(f"    disk: {filled >> 20} MiB filled; Postgres {'lived on' if survived else 'had ended'}", flush=True)
    return at_risk


def jump_clock_of_worker(one: Stage, chance: random.Random) -> int:
    """A worker's wall clock jumps an hour ahead, then two hours back, while it works."""
    victim = chance.choice(one.workers)
    at_risk = _under_faketime(one, victim)
    wait_for_work(one, victim)
    for offset in ("+1h", "-1h"):
        victim.set_clock(offset)
        one.wait(3)
    victim.real_clock()
    return at_risk + _killed(one, victim)


def jump_clock_of_dispatcher(one: Stage, chance: random.Random) -> int:
    """The dispatcher's wall clock jumps an hour ahead, then two hours back."""
    assert one.dispatcher is not None
    _under_faketime(one, one.dispatcher)
    one.wait(4)
    for offset in ("+1h", "-1h"):
        one.dispatcher.set_clock(offset)
        one.wait(chance.uniform(2, 3))
    one.dispatcher.real_clock()
    one.dispatcher.kill()
    return 0


def _under_faketime(one: Stage, process: Supervised) -> int:
    """Starts a process again with a clock that can be set."""
    if faketime_library() is None:
        raise NotPossible("libfaketime is not installed (on Debian the package faketime)")
    process.set_clock("+0")
    return _killed(one, process)


def _killed(one: Stage, process: Supervised) -> int:
    """kill -9, and how many jobs the process had claimed."""
    pid = process.pid
    if pid is None:
        return 0
    process.kill()
    return ledger.in_work(one.truth, pid)


_EVERYWHERE: dict[str, tuple[Fault, int]] = {
    "kill worker": (kill_worker, 20),
    "kill dispatcher": (kill_dispatcher, 3),
    "kill Postgres": (kill_postgres, 3),
    "lose the broker's data": (lose_broker_data, 1),
    "cut the database's network": (cut_database, 3),
    "hang the database's network": (hang_database, 2),
    "fill the database's disk": (fill_disk, 1),
    "jump a worker's clock": (jump_clock_of_worker, 1),
    "jump the dispatcher's clock": (jump_clock_of_dispatcher, 1),
}
_WITH_RABBITMQ: dict[str, tuple[Fault, int]] = {
    "kill RabbitMQ": (kill_broker, 3),
    "cut the broker's network": (cut_broker, 3),
    "hang the broker's network": (hang_broker, 2),
}
_QUICK = {"kill worker": 2, "kill dispatcher": 1, "kill Postgres": 1, "cut the database's network": 1}
KILLS = {
    "kill worker": 1,
    "kill dispatcher": 1,
    "kill Postgres": 1,
    "kill RabbitMQ": 1,
    "lose the broker's data": 1,
    "jump a worker's clock": 2,
    "jump the dispatcher's clock": 2,
}
"""How many kill -9 are in each."""


def plan(chance: random.Random, *, with_rabbitmq: bool, quick: bool) -> list[tuple[str, Fault]]:
    """The faults of a run, in an order that the seed decides."""
    faults = _EVERYWHERE | (_WITH_RABBITMQ if with_rabbitmq else {})
    counts = _QUICK if quick else {name: count for name, (_, count) in faults.items()}
    order = [(name, faults[name][0]) for name, count in counts.items() for _ in range(count)]
    chance.shuffle(order)
    return order
