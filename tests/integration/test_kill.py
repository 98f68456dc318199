"""Processes that die at the worst moment: nothing is lost or stored twice, and poison harms itself only."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from schema.session import make_engine
from schema.tables import image, job, label, prediction
from tests.integration.poison_worker import POISON, TOO_DEEP, TOO_MUCH_MEMORY
from tests.support import Command, wait_for, write_pictures
from worker import embedded
from worker.queue.dispatch import MAX_LOSSES

ROOT = Path(__file__).parents[2]


@pytest.mark.models
def test_killed_three_times_at_any_moment_it_finishes_and_stores_everything_once(home, tiny_models, tmp_path):
    count = 300
    pictures = tmp_path / "pictures"
    write_pictures(pictures, count, position=(48, 2))  # known places: the engine is not asked
    globetag = Command(home, tiny_models, GLOBETAG_THREADS="8")
    globetag.run("db", "upgrade")
    engine = make_engine(embedded.start(home))

    def done():
        with engine.connect() as connection:
            return connection.execute(select(func.count()).where(job.c.state == "done")).scalar_one()

    try:
        chance = random.Random(20261120)
        for kill in range(3):
            at = (kill * 90) + chance.randint(5, 85)
            process = globetag.start("run", pictures)
            wait_for(lambda at=at: done() >= at, f"{at} settled photographs")
            process.kill()
            process.wait(30)
            assert done() < count, "it was killed too late to prove anything"
        last = globetag.run("run", pictures)
        assert last.returncode == 0, last.stderr
        with engine.connect() as connection:
            rows = connection.execute(select(job)).all()
            counts = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (image, label, prediction)
            }
            labelled = connection.execute(select(func.count(label.c.image_id.distinct()))).scalar_one()
    finally:
        engine.dispose()
    assert len(rows) == len({row.uri for row in rows}) == count
    assert {(row.state, row.outcome) for row in rows} == {("done", "known")}
    assert max(row.losses for row in rows) <= 2
    assert counts == {"image": count, "label": count, "prediction": 0}
    assert labelled == count


@pytest.mark.timeout(900)  # as many processes one after the other as there are deaths
def test_photographs_that_kill_the_process_are_given_up_and_none_of_their_neighbours(line, tmp_path):
    count = 500
    line.enqueue(write_pictures(tmp_path / "pictures", count))
    command = [sys.executable, "-m", "tests.integration.poison_worker", line.database.url]
    command.append(line.settings.broker_url or "")
    deaths = 0
    while (ended := _run(command)).returncode == -signal.SIGKILL:
        deaths += 1
        assert deaths <= MAX_LOSSES * len(POISON), line.states()
    assert ended.returncode == 0, ended.stderr
    jobs = line.jobs()
    poison = [jobs.pop(f"{number:04}.png") for number in sorted(POISON)]
    assert {(row.state, row.reason, row.losses) for row in poison} == {("dead", "worker_lost", MAX_LOSSES)}
    memory, depth = (jobs.pop(f"{number:04}.png") for number in (TOO_MUCH_MEMORY, TOO_DEEP))
    assert (memory.state, memory.reason) == ("failed", "too_large"), "it ended by itself and killed nobody"
    assert (depth.state, depth.reason) == ("failed", "internal_error")
    assert {(row.state, row.outcome) for row in jobs.values()} == {("done", "located")}
    assert max(row.losses for row in jobs.values()) <= 2, "once in any company, once among suspects, then alone"


def _run(command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
