"""A job that a worker died with is tried among its like, then alone, and claimed only then: no death but its own
counts for long."""

import socket
import threading

import pytest
from sqlalchemy import text, update

from benchmarks.null_models import ANSWER, NullEngine, NullGate
from schema import queries
from schema.messages import LocateRequest
from schema.tables import job
from tests.support import number_of, wait_for, write_pictures
from worker.assemble import Models, assemble
from worker.intake.sources import Submission
from worker.outcome import Job, Suspect
from worker.queue.enqueue import enqueue
from worker.queue.patience import PatientTransactions
from worker.queue.recorder import Recorder


def _make_suspects(line, *names, losses=1):
    with line.database.engine.begin() as connection:
        for name in names:
            connection.execute(update(job).where(job.c.uri.endswith(name)).values(losses=losses))


class Watch:
    """An engine's `say` that notes who is in work together, and holds the pictures that it is told to hold."""

    def __init__(self, *hold):
        self.release = threading.Event()
        self.in_work = set()
        self.company = {}
        self._hold = set(hold)
        self._lock = threading.Lock()

    def __call__(self, image):
        number = number_of(image)
        with self._lock:
            self.in_work.add(number)
            for other in self.in_work:
                self.company.setdefault(other, set()).update(self.in_work - {other})
        if number in self._hold:
            assert self.release.wait(60), "the test never released the engine"
        with self._lock:
            self.in_work.discard(number)
        return ANSWER


def test_suspects_are_worked_on_alone_and_not_even_claimed_before(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 12))
    _make_suspects(line, "0004.png", "0007.png", losses=2)
    held = job.c.uri.regexp_match("000[01].png$")
    with line.database.engine.begin() as connection:
        connection.execute(update(job).where(~held).values(due_at=text("now() + interval '1 hour'")))
    watch = Watch(0, 1)
    with line.working(watch):
        wait_for(lambda: watch.in_work == {0, 1}, "two that are held")
        with line.database.engine.begin() as connection:
            connection.execute(update(job).where(~held).values(due_at=text("now()")))
        wait_for(lambda: line.jobs()["0004.png"].published_at, "the suspect's message")
        jobs = line.jobs()
        assert {(jobs[name].state, jobs[name].attempts) for name in ("0004.png", "0007.png")} == {("queued", 0)}
        watch.release.set()
        assert line.wait_until_settled(12) == {"done": 12}
    assert watch.company[4] == watch.company[7] == set()
    assert {row.attempts for row in line.jobs().values()} == {1}


def test_suspects_of_one_death_are_among_themselves_first_one_and_then_more(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 24))
    suspects = set(range(4, 24))
    _make_suspects(line, *(f"{number:04}.png" for number in suspects))
    watch = Watch()
    floors, order, met = [], [], threading.Event()

    def say(image):
        """The first suspect waits until another is at the door, the others until two of them have met."""
        number = number_of(image)
        if number in suspects:
            order.append(number)
            if len(order) == 1:
                wait_for(lambda: floors and floors[0].waiting_few, "another suspect")
            elif len(order) == 2:
                assert met.wait(60), "no two suspects were ever in work at once"
            else:
                met.set()
        return watch(image)

    with line.working(say) as worker:
        floors.append(worker.service.floor)
        assert line.wait_until_settled(24) == {"done": 24}
    assert {(row.losses, row.attempts) for row in line.jobs().values()} == {(0, 1), (1, 1)}
    assert not any(watch.company[number] - suspects for number in suspects), "none but suspects with suspects"


def test_a_suspect_is_named_by_a_claim_and_started_by_the_other(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 1))
    _make_suspects(line, "0000.png")
    [row] = line.jobs().values()
    request = LocateRequest(uri=row.uri, job_id=row.id)
    recorder = Recorder(PatientTransactions(line.database.engine))
    try:
        assert recorder.claim(request) is recorder.claim_suspect(request) is None, "it was not published again yet"
        with line.database.engine.begin() as connection:
            connection.execute(update(job).values(published_at=text("now()")))
        assert recorder.claim(request) == Suspect(row.id, row.uri)
        assert line.jobs()["0000.png"].attempts == 0
        assert isinstance(recorder.claim_suspect(request), Job)
        assert recorder.claim(request) is recorder.claim_suspect(request) is None, "taken"
    finally:
        recorder.close()


def test_a_photograph_that_kills_the_child_process_never_gets_into_the_worker(line, tmp_path, monkeypatch):
    """The child is killed by a real signal, as soon as it starts."""
    (tmp_path / "sitecustomize.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    line.enqueue(write_pictures(tmp_path / "pictures", 2))
    _make_suspects(line, "0000.png")
    watch = Watch()
    with line.working(watch):
        assert line.wait_until_settled(2) == {"dead": 1, "done": 1}
    dead = line.jobs()["0000.png"]
    assert (dead.reason, dead.losses, dead.attempts) == ("worker_lost", 1, 1)
    assert "SIGSEGV" in dead.detail
    assert set(watch.company) == {1}, "the engine never saw it"


def test_a_worker_with_a_suspect_can_be_stopped(line, tmp_path):
    """The suspect waits for one that is in work; both are finished, and nothing hangs."""
    line.enqueue(write_pictures(tmp_path / "pictures", 2))
    _make_suspects(line, "0001.png")
    watch = Watch(0)
    models = Models(NullGate(), NullEngine(watch), gate_threshold=0.5)
    with assemble(line.settings, line.database, models, dispatch=True) as worker:
        worker.runner.start()
        wait_for(lambda: watch.in_work == {0} and line.jobs()["0001.png"].published_at, "one that is held")
        stopping = threading.Thread(target=worker.runner.stop, daemon=True)
        stopping.start()
        watch.release.set()
        stopping.join(60)
        assert not stopping.is_alive()
    assert line.jobs()["0000.png"].state == "done"
    assert line.jobs()["0001.png"].state in {"done", "queued"}


def test_a_suspect_of_a_paused_collection_is_handed_back_and_not_even_probed(line, tmp_path):
    line.enqueue(write_pictures(tmp_path / "pictures", 1))
    _make_suspects(line, "0000.png")
    with line.database.engine.begin() as connection:
        connection.execute(update(job).values(published_at=text("now()")))
        connection.execute(queries.flow.PAUSE, {"name": "default"})
    [row] = line.jobs().values()
    recorder = Recorder(PatientTransactions(line.database.engine))
    try:
        assert recorder.claim(LocateRequest(uri=row.uri, job_id=row.id)) is None
    finally:
        recorder.close()
    [row] = line.jobs().values()
    assert (row.state, row.published_at, row.attempts) == ("queued", None, 0)


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_suspect_whose_host_does_not_answer_makes_nobody_wait(line, tmp_path):
    """It is put off while others are in work: nothing of it was opened, so it needs no floor of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}/nobody.png"  # free again, and nobody listens there
    line.enqueue(write_pictures(tmp_path / "pictures", 3))
    enqueue(line.database.engine, [Submission(nobody)])
    with line.database.engine.begin() as connection:
        connection.execute(update(job).where(job.c.uri == nobody).values(losses=1))
    watch = Watch(0)

    def suspect():
        [row] = [row for row in line.jobs().values() if row.uri == nobody]
        return row

    with line.working(watch):
        wait_for(lambda: watch.in_work == {0} and suspect().reason == "unreachable", "the suspect to be put off")
        assert watch.in_work == {0}
        watch.release.set()
        wait_for(lambda: line.states().get("done") == 3, "the others")
    assert (suspect().losses, suspect().finished_at) == (1, None)
