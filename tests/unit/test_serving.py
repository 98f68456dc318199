"""What serves and how it is exchanged, with engines that are known beforehand: no torch, no database.

Long because every way to exchange a model is played on the same small house.
"""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from benchmarks.null_models import NullEngine
from schema.reasons import JobState, Outcome
from tests.support import wait_for
from worker.calibrations import Calibrations
from worker.errors import SetupError
from worker.identity import ModelIdentity
from worker.outcome import Job, Settled
from worker.registry import Registered, Standing
from worker.serving import Line, Serving, ServingClosed, Watcher
from worker.versions import Versions

BASE = "base"


class House:
    """Makes engines and lines, and keeps what happened to them in order."""

    def __init__(self):
        self.events = []
        self.alive = set()
        self.most_alive = 0
        self.broken = set()
        self.calibrated = []
        self.stored = []
        self.allow = threading.Event()
        self.allow.set()
        self._lock = threading.Lock()

    def load(self, registered):
        version = registered.version if registered else BASE
        self.note(f"load {version}")
        assert self.allow.wait(60)
        if version in self.broken:
            raise SetupError(f"{version} is broken")
        engine = Engine(self, version)
        with self._lock:
            self.alive.add(engine)
            self.most_alive = max(self.most_alive, len(self.alive))
        return engine

    def record(self, engine):
        calibrations = Calibrations(tuple(self.calibrated))
        named = " ".join([engine.identity.version, *calibrations.versions])
        return Versions(f"pipeline {named}", 1, 2, 2, "prompt", {}, "atlas", "0", calibrations=calibrations)

    def build(self, engine, versions, registered):
        def settle(job):
            engine.used()
            return Settled(job.id, JobState.DONE, Outcome.LOCATED, detail=engine.identity.version)

        def save(settled):
            with self._lock:
                self.stored.append((settled.job_id, settled.detail, versions.pipeline_version))

        return Line(engine, versions, registered, settle, save)

    def serving(self):
        engine = self.load(None)
        first = self.build(engine, self.record(engine), None)
        return Serving(first, load=self.load, record=self.record, build=self.build)

    def note(self, event):
        with self._lock:
            self.events.append(event)

    def gone(self, engine):
        with self._lock:
            self.alive.discard(engine)


class Engine(NullEngine):
    """Knows its version, and that it must not be used once it is closed."""

    def __init__(self, house, version):
        super().__init__()
        self._house = house
        self._version = version
        self.closed = False

    @property
    def identity(self):
        return ModelIdentity("lvlm", "null", self._version, untrained=True)

    def used(self):
        assert not self.closed, f"{self._version} was used after it had been closed"

    def close(self):
        if not self.closed:
            self.closed = True
            self._house.gone(self)
            self._house.note(f"close {self._version}")


@pytest.fixture
def house():
    return House()


@pytest.fixture
def serving(house):
    serving = house.serving()
    yield serving
    house.allow.set()
    serving.close()
    assert house.alive == set(), "every model was freed"


def version(number):
    return Registered(
        id=number,
        kind="lvlm",
        name=f"v{number}",
        version=f"v{number}",
        untrained=True,
        base=BASE,
        folder=Path(f"/models/v{number}"),
        files={},
        parent_id=None,
        training_run_id=None,
        curation_id=None,
        metrics={},
        created_at=datetime.now(UTC),
    )


def serves(serving):
    with serving.lease() as line:
        return line.engine.identity.version


def work(serving, name):
    with serving.lease() as line:
        line.save(line.settle(Job(str(name), "file:///1.png")))


def in_thread(call, *arguments):
    """Runs it in a thread; returns the thread, and the list that its result or exception will be in."""
    ended = []

    def run():
        try:
            ended.append(call(*arguments))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, ended


# --- an exchange ---


def test_the_first_model_serves_whoever_comes(serving):
    with serving.lease() as one, serving.lease() as other:
        assert one is other is serving.now
    assert serves(serving) == BASE


def test_another_version_serves_after_a_change_over_and_the_old_one_was_closed_before_it_was_loaded(
    house, serving
):
    assert serving.change_over(version(1)) is None
    assert (serves(serving), serving.now.registered.id) == ("v1", 1)
    assert serving.change_over(None) is None
    assert (serves(serving), serving.now.registered) == (BASE, None)
    assert house.events == ["load base", "close base", "load v1", "close v1", "load base"]
    assert house.most_alive == 1


def test_what_serves_already_is_not_loaded_again(house, serving):
    serving.change_over(version(1))
    serving.change_over(version(1))
    assert house.events.count("load v1") == 1


def test_an_exchange_waits_for_the_leases_that_are_out_and_lends_none_meanwhile(house, serving):
    with serving.lease() as line:
        changing, _ = in_thread(serving.change_over, version(1))
        wait_for(lambda: serving.is_changing, "the exchange to begin")
        asking, got = in_thread(serves, serving)
        assert house.events == ["load base"], "the old model is in use"
        assert not line.engine.closed
        assert (changing.is_alive(), got) == (True, [])
    changing.join(60)
    asking.join(60)
    assert got == ["v1"]


def test_no_row_mixes_versions_however_many_threads_work_and_models_change(house, serving):
    threads, changes = 16, 12
    names = itertools.count()
    enough = threading.Event()

    def work_on():
        done = []
        while not enough.is_set():
            done.append(str(next(names)))
            work(serving, done[-1])
        return done

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work_on) for _ in range(threads)]
        try:
            for number in range(1, changes + 1):
                served = len(house.stored)
                wait_for(lambda served=served: len(house.stored) > served, "work between two changes")
                assert serving.change_over(version(number)) is None
        finally:
            enough.set()
        done = [name for future in futures for name in future.result(60)]
    assert sorted(name for name, _, _ in house.stored) == sorted(done), "each once"
    assert [row for row in house.stored if row[2] != f"pipeline {row[1]}"] == []
    seen = [answered for _, answered, _ in house.stored]
    order = [BASE] + [f"v{number}" for number in range(1, changes + 1)]
    assert [one for one, before in zip(seen, [None, *seen], strict=False) if one != before] == order
    assert house.most_alive == 1


# --- models that cannot be loaded ---


def test_when_the_new_one_cannot_be_loaded_the_old_one_serves_on(house, serving):
    house.broken.add("v2")
    serving.change_over(version(1))
    assert serving.change_over(version(2)) == "v2 is broken"
    assert (serves(serving), serving.now.registered.id, serving.failure) == ("v1", 1, None)
    assert house.events[-3:] == ["close v1", "load v2", "load v1"]
    assert serving.change_over(version(3)) is None
    assert serves(serving) == "v3"


def test_jobs_that_wait_while_a_load_fails_are_done_by_the_old_one(house, serving):
    house.broken.add("v1")
    house.allow.clear()
    changing, problem = in_thread(serving.change_over, version(1))
    wait_for(lambda: "load v1" in house.events, "the load to begin")
    waiting = [in_thread(work, serving, name)[0] for name in range(8)]
    assert house.stored == []
    house.allow.set()
    for thread in (changing, *waiting):
        thread.join(60)
    assert problem == ["v1 is broken"]
    assert [row[1:] for row in house.stored] == [(BASE, "pipeline base")] * 8


def test_weights_that_are_not_those_that_were_registered_do_not_serve(house, serving):
    honest = serving._load
    serving._load = lambda registered: honest(version(9) if registered and registered.id == 1 else registered)
    assert "no longer those of model version 1" in serving.change_over(version(1))
    assert serves(serving) == BASE
    assert house.events == ["load base", "close base", "load v9", "close v9", "load base"]


def test_without_any_model_left_the_worker_is_told_and_nobody_waits_for_ever(house, serving):
    house.broken |= {"v1", BASE}
    with serving.lease():
        changing, problem = in_thread(serving.change_over, version(1))
        wait_for(lambda: serving.is_changing, "the exchange to begin")
        asking, got = in_thread(serves, serving)
    changing.join(60)
    asking.join(60)
    assert problem == ["v1 is broken"]
    assert str(serving.failure) == "base is broken"
    assert isinstance(got[0], ServingClosed)


def test_a_base_that_has_changed_meanwhile_gets_versions_of_its_own(house, serving):
    house.broken.add("v1")
    honest = serving._load
    serving._load = lambda registered: honest(registered) if registered else honest(version(7))
    assert serving.change_over(version(1)) == "v1 is broken"
    work(serving, "a")
    assert house.stored == [("a", "v7", "pipeline v7")]


# --- the end, whenever it comes ---


def test_a_stop_calls_off_an_exchange_that_waits_for_leases(house, serving):
    with serving.lease() as line:
        changing, _ = in_thread(serving.change_over, version(1))
        wait_for(lambda: serving.is_changing, "the exchange to begin")
        asking, got = in_thread(serves, serving)
        serving.stop()
        changing.join(60)
        asking.join(60)
        assert not line.engine.closed
    assert got == [BASE], "what waited is done by the old model"
    assert serving.change_over(version(1)) is None
    assert serves(serving) == BASE
    assert house.events == ["load base"]


def test_a_stop_while_a_model_is_loaded_gives_back_the_jobs_that_wait(house, serving):
    house.allow.clear()
    changing, _ = in_thread(serving.change_over, version(1))
    wait_for(lambda: "load v1" in house.events, "the load to begin")
    asking, got = in_thread(serves, serving)
    serving.stop()
    asking.join(60)
    assert isinstance(got[0], ServingClosed)
    serving.close()
    house.allow.set()
    changing.join(60)
    assert house.events[-1] == "close v1", "it came too late and was freed"
    with pytest.raises(ServingClosed), serving.lease():
        pass


def test_a_closed_one_lends_nothing(house, serving):
    serving.close()
    serving.close()
    with pytest.raises(ServingClosed), serving.lease():
        pass
    assert house.events == ["load base", "close base"]


# --- the watcher ---


def standing(promotion, registered):
    return Standing(promotion, registered, "promote", "me", "", datetime.now(UTC))


@pytest.fixture
def watch(house, serving):
    """Makes a watcher that sees what the list holds last, and keeps the problems that it stores."""
    promoted, problems = [None], []
    nowhere = create_engine("postgresql+psycopg://nowhere")

    def store(seen, problem):
        problems.append((seen.promotion_id, problem))

    def is_current(versions):
        return versions.calibrations.versions == tuple(house.calibrated)

    watcher = Watcher(serving, nowhere, look=lambda: promoted[-1], on_problem=store, is_current=is_current)
    return watcher, promoted, problems


def test_what_is_promoted_is_loaded_once(house, serving, watch):
    watcher, promoted, problems = watch
    watcher.check()
    assert house.events == ["load base"]
    promoted.append(standing(1, version(1)))
    watcher.check()
    watcher.check()
    promoted.append(standing(2, version(1)))
    watcher.check()
    assert (serves(serving), problems) == ("v1", [])
    assert house.events.count("load v1") == 1
    promoted.append(standing(3, None))
    watcher.check()
    assert serves(serving) == BASE


def test_a_promotion_that_fails_is_stored_and_tried_again_only_when_it_is_made_again(house, serving, watch):
    watcher, promoted, problems = watch
    house.broken.add("v1")
    promoted.append(standing(1, version(1)))
    for _ in range(3):
        watcher.check()
    assert problems == [(1, "v1 is broken")]
    assert house.events.count("load v1") == 1
    house.broken.clear()
    watcher.check()
    assert serves(serving) == BASE
    promoted.append(standing(2, version(1)))
    watcher.check()
    assert (serves(serving), problems) == ("v1", [(1, "v1 is broken")])


def test_a_failure_that_cannot_be_stored_is_no_reason_to_end(house, serving, watch, caplog):
    def away(*_):
        raise OperationalError("INSERT", {}, Exception("the server closed the connection"))

    watcher, promoted, _ = watch
    watcher._on_problem = away
    house.broken.add("v1")
    promoted.append(standing(1, version(1)))
    watcher.check()
    assert "could not be stored" in caplog.text
    assert (serves(serving), serving.failure) == (BASE, None)


def test_a_calibration_is_taken_up_without_a_load_and_without_a_wait(house, serving, watch):
    watcher, _, _ = watch
    with serving.lease() as before:
        house.calibrated.append("first")
        watcher.check()
        with serving.lease() as after:
            assert after.versions.calibrations.versions == ("first",)
            assert after.engine is before.engine
            assert before.versions.calibrations.versions == (), "a job in work keeps what it has"
    renewed = serving.now
    watcher.check()
    assert serving.now is renewed, "nothing has changed since"
    assert house.events == ["load base"]


def test_an_exchange_waits_for_jobs_of_a_line_that_was_renewed_too(house, serving, watch):
    watcher, promoted, _ = watch
    with serving.lease() as line:
        house.calibrated.append("first")
        watcher.check()
        promoted.append(standing(1, version(1)))
        changing, _ = in_thread(watcher.check)
        wait_for(lambda: serving.is_changing, "the exchange to begin")
        line.engine.used()
        assert house.events == ["load base"]
    changing.join(60)
    assert house.events == ["load base", "close base", "load v1"]
    assert serving.now.versions.pipeline_version == "pipeline v1 first"


def test_a_model_that_cannot_serve_is_no_reason_to_keep_an_old_calibration(house, serving, watch):
    watcher, promoted, _ = watch
    house.broken.add("v1")
    promoted.append(standing(1, version(1)))
    house.calibrated.append("first")
    watcher.check()
    assert serves(serving) == BASE
    assert serving.now.versions.calibrations.versions == ("first",)


def test_a_closed_one_is_not_renewed_into_life(house, serving):
    serving.close()
    serving.renew()
    with pytest.raises(ServingClosed), serving.lease():
        pass
